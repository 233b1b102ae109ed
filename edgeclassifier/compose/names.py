"""Which classes the configuration means, once the model is known."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeclassifier.config import Config, StateConfig
from edgeclassifier.config.views import views_of
from edgeclassifier.errors import ConfigError

if TYPE_CHECKING:
    from edgeclassifier.engine.names import Names


def check_view(config: Config, view: str, names: "Names") -> None:
    """Raise ConfigError if a class is named for a view that its model does not have."""
    if problems := [*view_problems(config, view, names)]:
        raise ConfigError(problems)


def view_problems(config: Config, view: str, names: "Names") -> Iterator[str]:
    """Say what is wrong with the classes that are named for a view.

    The section [state] is about the model of the section [model]: what it names is asked of no
    other.
    """
    state = views_of(config)[view].state
    if not view:
        yield from name_problems(state, names)
        return
    own = config.views[view]
    if own.model not in (None, config.model.name):
        state = replace(
            state, exclude=own.state.exclude or (), thresholds=own.state.thresholds or {}
        )
    yield from (f"view {view}: {problem}" for problem in name_problems(state, names))


def class_problems(config: Config, names: "Names") -> Iterator[str]:
    """Say what is wrong with the classes that are named of the model of the section [model]."""
    yield from name_problems(config.state, names)
    for view, own in config.views.items():
        named = own.state.exclude or own.state.thresholds
        if named and own.model in (None, config.model.name):
            yield from view_problems(config, view, names)


def name_problems(config: StateConfig, names: "Names") -> Iterator[str]:
    """Say what is wrong with the classes that the configuration names."""
    for key, words in (("exclude", config.exclude), ("thresholds", config.thresholds)):
        for word in words:
            if not names.find(word):
                yield f"state.{key}: {names.unknown(word)}"
    chosen: dict[int, str] = {}
    for word, threshold in config.thresholds.items():
        for class_id in names.find(word):
            other = chosen.setdefault(class_id, word)
            if config.thresholds[other] != threshold:
                one, two, both = map(_quoted, (other, word, names.all[class_id]))
                yield f"state.thresholds: {one} and {two} both mean {both}: set one threshold"
                break


def _quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)


def named(words: tuple[str, ...], names: "Names") -> frozenset[str]:
    """Return the names of the classes that `words` mean; unknown ones mean none."""
    return frozenset(names.all[class_id] for word in words for class_id in names.find(word))
