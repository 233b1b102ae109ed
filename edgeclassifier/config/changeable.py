"""The keys of the configuration that can be changed on request, and how."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edgeclassifier.config.options import view_region
from edgeclassifier.config.schema import Config
from edgeclassifier.config.views import with_model
from edgeclassifier.contract.plain import Plain, plain_data


def _with_threshold(config: Config, value: float) -> Config:
    return replace(config, state=replace(config.state, threshold=value))


def _with_region(config: Config, value: tuple[float, ...]) -> Config:
    return replace(config, preprocess=replace(config.preprocess, region=value))


@plain_data
class Key(Plain):
    """A key that can be changed on request."""

    set: Callable[[Config, Any], Config]
    reads: Callable[[Any], Any]
    """Return the value that JSON has, as the configuration has it. Raises TypeError, ValueError."""
    in_view: str
    """What the key is called in the table of a view."""
    command: str
    argument: str


def _number(value: Any) -> float:
    if type(value) is not float:
        raise TypeError
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _region(value: Any) -> tuple[float, ...]:
    found = tuple(map(float, value))
    if view_region(found) is not None:
        raise ValueError
    return found


_KEYS: Mapping[str, Key] = {
    "state.threshold": Key(
        set=_with_threshold,
        reads=_number,
        in_view="threshold",
        command="set_threshold",
        argument="threshold",
    ),
    "model.name": Key(
        set=with_model, reads=_name, in_view="model", command="set_model", argument="model"
    ),
    "preprocess.region": Key(
        set=_with_region, reads=_region, in_view="region", command="set_region", argument="region"
    ),
}
"""The keys that can be changed, and by which argument of which command."""
_VIEWS = "views."


def override_key(config: Config, view: str, key: str) -> str:
    """Name the key that is changed for a view, "" being the only one of a camera."""
    return f"{_VIEWS}{view}.{_KEYS[key].in_view}" if config.views else key


def key_parts(key: str) -> tuple[str | None, Key]:
    """Return of which view a key is, None for all, and what it is. Raises KeyError."""
    if not key.startswith(_VIEWS):
        return None, _KEYS[key]
    view, _, name = key.removeprefix(_VIEWS).partition(".")
    for each in _KEYS.values():
        if each.in_view == name:
            return view, each
    raise KeyError(key)


def changed(config: Config, key: str, value: Any) -> Config:
    """Return the configuration with another value of a key."""
    view, found = key_parts(key)
    if view is None:
        return found.set(config, value)
    if view not in config.views:
        return config
    own = config.views[view]
    # As with_model() has it: the labels of another model are others.
    more = {"labels": None} if found.in_view == "model" else {}
    changed = replace(own, **{found.in_view: value, **more})
    return replace(config, views={**config.views, view: changed})


def is_there(config: Config, key: str) -> bool:
    """Tell whether the view is there that a key is of, or that there are none."""
    view, _ = key_parts(key)
    return not config.views if view is None else view in config.views


def value_of(config: Config, key: str) -> Any:
    """Return the value of a key; None if a view has none of its own."""
    view, found = key_parts(key)
    if view is not None:
        return getattr(config.views.get(view), found.in_view, None)
    table, _, name = key.partition(".")
    return getattr(getattr(config, table), name)
