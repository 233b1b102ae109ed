"""The configuration: what can be set, and how it is read from TOML."""

from edgeclassifier.config.broker import MqttConfig
from edgeclassifier.config.loader import load_config
from edgeclassifier.config.render import masked, to_toml
from edgeclassifier.config.schema import (
    CameraConfig,
    Config,
    DeviceConfig,
    ImageConfig,
    ModelConfig,
    PreprocessConfig,
    StateConfig,
)

__all__ = [
    "CameraConfig",
    "Config",
    "DeviceConfig",
    "ImageConfig",
    "ModelConfig",
    "MqttConfig",
    "PreprocessConfig",
    "StateConfig",
    "load_config",
    "masked",
    "to_toml",
]
