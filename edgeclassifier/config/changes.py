"""What differs between two configurations, and where that acts."""

import dataclasses
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from edgeclassifier.config.options import START, Place
from edgeclassifier.config.schema import Config


def declared(table: type[Any], prefix: str) -> Iterator[tuple[str, tuple[Place, ...]]]:
    """List the keys of a table with where each acts. Raises TypeError for one that says nothing."""
    hints = typing.get_type_hints(table)
    for field in dataclasses.fields(table):
        key = prefix + field.name
        if dataclasses.is_dataclass(hints[field.name]):
            yield from declared(typing.cast("type[Any]", hints[field.name]), f"{key}.")
        elif "applies" not in field.metadata:
            raise TypeError(f"{key}: declare it with option(), and say where it applies")
        else:
            yield key, field.metadata["applies"]


PLACES: Mapping[str, tuple[Place, ...]] = dict(declared(Config, ""))
"""Where each key acts when its value changes, by its name, such as "mqtt.host"."""


def changed_keys(old: Config, new: Config) -> frozenset[str]:
    """Name the keys that have other values."""
    return frozenset(key for key in PLACES if _value(old, key) != _value(new, key))


def at(place: Place, keys: Collection[str]) -> frozenset[str]:
    """Select those of the keys that act at `place`."""
    return frozenset(key for key in keys if place in PLACES[key])


def at_next_start(keys: Collection[str]) -> frozenset[str]:
    """Select those of the keys that are read only when the daemon starts."""
    return at(START, keys)


def _value(table: Any, key: str) -> Any:
    for name in key.split("."):
        table = getattr(table, name)
    return table
