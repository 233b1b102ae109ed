"""Where messages go, how often, when the label changes, and what Home Assistant is told."""

from edgeclassifier import __version__
from edgeclassifier.compose.model import model_names
from edgeclassifier.compose.names import topics_of
from edgeclassifier.config import Config, StateConfig
from edgeclassifier.contract.messages import Message
from edgeclassifier.daemon.publisher import PublisherSettings
from edgeclassifier.daemon.stable_label import StateRules

_LEAVE_FRACTION = 2 / 3


def publisher_settings(config: Config) -> PublisherSettings:
    """Take them from the configuration."""
    image = config.image
    return PublisherSettings(
        topics=topics_of(config),
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


def discovery(config: Config) -> Message:
    """Describe the device for Home Assistant."""
    from edgeclassifier.homeassistant import COMPILED, discovery_message

    return discovery_message(
        topics=publisher_settings(config).topics,
        prefix=config.homeassistant.prefix,
        version=__version__,
        models=[name for name in model_names(config.model) if not name.endswith(COMPILED)],
        threshold_range=(config.state.leave_threshold, 1.0),
        heartbeat_s=config.state.heartbeat_s,
        health_interval_s=config.mqtt.health_interval_s,
        controls=config.commands.allow,
        image_enabled=config.image.enabled,
    )


def discovery_removal(config: Config) -> Message:
    """Take the device out of Home Assistant."""
    from edgeclassifier.homeassistant import removal_message

    return removal_message(
        topics=publisher_settings(config).topics, prefix=config.homeassistant.prefix
    )
