"""Where messages go, how often, when the label changes, and what Home Assistant is told."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from edgeclassifier import __version__
from edgeclassifier.compose.identity import topics_of
from edgeclassifier.compose.model import model_names
from edgeclassifier.compose.names import named
from edgeclassifier.config import Config, StateConfig
from edgeclassifier.config.views import views_of
from edgeclassifier.contract.messages import Message
from edgeclassifier.daemon.publisher import PublisherSettings
from edgeclassifier.daemon.stable_label import StateRules

if TYPE_CHECKING:
    from edgeclassifier.engine.names import Names

_LEAVE_FRACTION = 2 / 3


def publisher_settings(config: Config, view: str | None = None) -> PublisherSettings:
    """Take those of a view from the configuration; None: of the first one."""
    image, topics = config.image, topics_of(config, view)
    own = views_of(config)[topics.view]
    return PublisherSettings(
        topics=topics,
        max_rate_hz=own.mqtt.max_rate_hz,
        heartbeat_s=own.state.heartbeat_s,
        image_max_rate_hz=image.max_rate_hz if image.enabled else None,
        image_quality=image.quality,
        image_on=image.on,
        prediction_expiry_s=config.mqtt.expiry_s.predictions,
        event_expiry_s=config.mqtt.expiry_s.event,
        cool_down_s=own.state.cool_down_s,
    )


def state_rules(config: StateConfig, names: "Names") -> StateRules:
    """Say when the label changes, of a model with these names: others are passed over."""
    return StateRules(
        threshold=config.threshold,
        leave_threshold=config.leave_threshold or config.threshold * _LEAVE_FRACTION,
        window_s=config.window_s,
        hold_s=config.hold_s,
        thresholds={
            name: threshold
            for word, threshold in config.thresholds.items()
            for name in named((word,), names)
        },
        exclude=named(config.exclude, names),
    )


def discovery(config: Config, gone: Collection[str] = ()) -> Message:
    """Describe the device for Home Assistant; views that are `gone` are taken out of it."""
    from edgeclassifier.homeassistant import COMPILED, ViewEntities, discovery_message

    return discovery_message(
        topics=topics_of(config),
        prefix=config.homeassistant.prefix,
        version=__version__,
        views=[
            ViewEntities(
                topics=topics_of(config, view),
                heartbeat_s=own.state.heartbeat_s,
                threshold_range=(own.state.leave_threshold, 1.0),
            )
            for view, own in views_of(config).items()
        ],
        gone=gone,
        models=[name for name in model_names(config.model) if not name.endswith(COMPILED)],
        health_interval_s=config.mqtt.health_interval_s,
        controls=config.commands.allow,
        image_enabled=config.image.enabled,
    )


def retained_topics(config: Config) -> tuple[str, ...]:
    """Name the topics on which the broker is told to retain something."""
    topics = topics_of(config)
    states = (topics_of(config, view).state for view in views_of(config))
    device = (topics.availability, topics.info, topics.health, *states)
    return (*device, discovery_removal(config).topic) if config.homeassistant.enabled else device


def discovery_removal(config: Config) -> Message:
    """Take the device out of Home Assistant."""
    from edgeclassifier.homeassistant import removal_message

    return removal_message(topics=topics_of(config), prefix=config.homeassistant.prefix)
