"""Where messages go, and how often."""

from edgeclassifier.compose.broker import device_id
from edgeclassifier.config import Config
from edgeclassifier.mqtt.messages import Topics
from edgeclassifier.publisher import PublisherSettings


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
