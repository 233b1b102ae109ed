"""What differs between two configurations, and where that acts."""

import dataclasses
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from edgeclassifier.config.options import START, Place
from edgeclassifier.config.schema import Config
from edgeclassifier.config.views import ViewConfig


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


_TABLES = "views"
_VIEW_KEYS = tuple(key for key, _ in declared(ViewConfig, ""))


def changed_keys(old: Config, new: Config) -> frozenset[str]:
    """Name the keys that have other values, and the views that have come or gone."""
    plain = {key for key in PLACES if key != _TABLES and _value(old, key) != _value(new, key)}
    return frozenset(plain) | frozenset(_changed_views(old.views, new.views))


def _changed_views(old: Mapping[str, ViewConfig], new: Mapping[str, ViewConfig]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        if name not in old or name not in new:
            yield f"{_TABLES}.{name}"
            continue
        for key in _VIEW_KEYS:
            if _value(old[name], key) != _value(new[name], key):
                yield f"{_TABLES}.{name}.{key}"
    if [*old] != [*new] and old.keys() == new.keys():
        yield _TABLES  # their order says which is the first


def places(key: str) -> tuple[Place, ...]:
    """Say where a key acts that changed_keys() may name."""
    return PLACES[_TABLES if key.startswith(f"{_TABLES}.") else key]


def at(place: Place, keys: Collection[str]) -> frozenset[str]:
    """Select those of the keys that act at `place`."""
    return frozenset(key for key in keys if place in places(key))


def at_next_start(keys: Collection[str]) -> frozenset[str]:
    """Select those of the keys that are read only when the daemon starts."""
    return at(START, keys)


def _value(table: Any, key: str) -> Any:
    for name in key.split("."):
        table = getattr(table, name)
    return table
