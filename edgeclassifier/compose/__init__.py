"""Builds the parts from the configuration. Only this package knows both."""

from edgeclassifier.compose.broker import (
    broker_access,
    build_session,
    device_id,
    probe_broker,
)
from edgeclassifier.compose.camera import build_camera, camera_settings
from edgeclassifier.compose.engine import Engine, around_interpreter_nice, build_engine
from edgeclassifier.compose.golden import GOLDEN_PICTURES, GOLDEN_TOP_K, judge, try_model
from edgeclassifier.compose.idle import idle_settings
from edgeclassifier.compose.inference import build_inference
from edgeclassifier.compose.model import (
    BUNDLED_MODEL,
    PREFERRED_MODEL,
    ModelFile,
    configured_model_name,
    find_model,
    model_names,
    model_store,
)
from edgeclassifier.compose.publisher import publisher_settings, state_rules
from edgeclassifier.compose.start import state_directory

__all__ = [
    "BUNDLED_MODEL",
    "GOLDEN_PICTURES",
    "GOLDEN_TOP_K",
    "PREFERRED_MODEL",
    "Engine",
    "ModelFile",
    "around_interpreter_nice",
    "broker_access",
    "build_camera",
    "build_engine",
    "build_inference",
    "build_session",
    "camera_settings",
    "configured_model_name",
    "device_id",
    "find_model",
    "idle_settings",
    "judge",
    "model_names",
    "model_store",
    "probe_broker",
    "publisher_settings",
    "state_directory",
    "state_rules",
    "try_model",
]
