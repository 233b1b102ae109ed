"""The keys of what runs beside the daemon, and without which it works."""

from dataclasses import field

from edgeclassifier.config.options import (
    START,
    at_least,
    between,
    each,
    frame_ancestor,
    matching,
    option,
    topic_root,
    words_of,
)
from edgeclassifier.contract.kept import KINDS
from edgeclassifier.contract.plain import Plain, plain_data

_per_hour, _per_day = between(1, 3600), between(1, 86_400)


@plain_data
class UncertainConfig(Plain):
    """Pictures of which the model was not sure."""

    lowest: float = option(0.3, between(0, 1), applies=START)
    highest: float = option(0.7, between(0, 1), applies=START)
    margin: float = option(0.1, between(0, 1), applies=START)
    per_hour: int = option(4, _per_hour, applies=START)
    per_day: int = option(20, _per_day, applies=START)


@plain_data
class ChangedConfig(Plain):
    """The frames that decided a change of the stable label."""

    per_hour: int = option(6, _per_hour, applies=START)
    per_day: int = option(30, _per_day, applies=START)


@plain_data
class RandomConfig(Plain):
    """Pictures at random, spread over the day."""

    per_hour: int = option(2, _per_hour, applies=START)
    per_day: int = option(5, _per_day, applies=START)


@plain_data
class KeepConfig(Plain):
    """Pictures that are worth a look."""

    kinds: tuple[str, ...] = option((), words_of(*KINDS), applies=START)
    max_mib: float = option(256.0, between(0.1, 1_000_000), applies=START)
    path: str = option("", path=True, applies=START)
    quality: int = option(90, between(1, 95), applies=START)
    uncertain: UncertainConfig = field(default_factory=UncertainConfig)
    changed: ChangedConfig = field(default_factory=ChangedConfig)
    random: RandomConfig = field(default_factory=RandomConfig)


@plain_data
class HomeAssistantConfig(Plain):
    """The device in Home Assistant, by MQTT discovery."""

    enabled: bool = option(False, applies=START)
    prefix: str = option("homeassistant", topic_root, applies=START)


@plain_data
class WebConfig(Plain):
    """The page to aim the camera by."""

    enabled: bool = option(False, applies=START)
    host: str = option(
        "127.0.0.1", matching(r"[^\s/:@]+|[0-9a-fA-F:]+", "a host name or address"), applies=START
    )
    port: int = option(8080, between(0, 65535), applies=START)
    password_file: str = option("", path=True, applies=START)
    frame_ancestors: tuple[str, ...] = option((), each(frame_ancestor), applies=START)


@plain_data
class MetricsConfig(Plain):
    """Numbers for Prometheus, besides those of the page."""

    textfile: str = option("", path=True, applies=START)
    interval_s: float = option(15.0, at_least(1), applies=START)
