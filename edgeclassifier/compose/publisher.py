"""Where messages go, how often, and when the label changes."""

from edgeclassifier.compose.broker import device_id
from edgeclassifier.config import Config, StateConfig
from edgeclassifier.contract.payloads import Topics
from edgeclassifier.daemon.publisher import PublisherSettings
from edgeclassifier.daemon.stable_label import StateRules

_LEAVE_FRACTION = 2 / 3


def publisher_settings(config: Config) -> PublisherSettings:
    """Take them from the configuration."""
    image = config.image
    return PublisherSettings(
        topics=Topics(
            root=config.mqtt.root, device=device_id(config.device.id), camera=config.camera.id
        ),
        max_rate_hz=config.mqtt.max_rate_hz,
        heartbeat_s=config.state.heartbeat_s,
        image_max_rate_hz=image.max_rate_hz if image.enabled else None,
        image_quality=image.quality,
    )


def state_rules(config: StateConfig) -> StateRules:
    """Say when the label changes."""
    return StateRules(
        threshold=config.threshold,
        leave_threshold=config.leave_threshold or config.threshold * _LEAVE_FRACTION,
        window_s=config.window_s,
        hold_s=config.hold_s,
        thresholds=config.thresholds,
        exclude=frozenset(config.exclude),
    )
