"""What Home Assistant is told of the device that the configuration describes."""

from edgeclassifier import __version__
from edgeclassifier.compose.model import model_names
from edgeclassifier.compose.publisher import publisher_settings
from edgeclassifier.config import Config
from edgeclassifier.contract.message import Message
from edgeclassifier.homeassistant import COMPILED, discovery_message, removal_message


def discovery(config: Config) -> Message:
    """Describe the device."""
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
    """Take it out of Home Assistant."""
    return removal_message(
        topics=publisher_settings(config).topics, prefix=config.homeassistant.prefix
    )
