"""What was changed on request, over what the configuration's files say."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeclassifier.config import Config
from edgeclassifier.config.changeable import changed, is_there, key_parts, value_of
from edgeclassifier.config.contradictions import contradictions
from edgeclassifier.config.render import quoted
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import ConfigError
from edgeclassifier.host.durable import read_json, reason, write_text

_FILE = "overrides.json"

log = logging.getLogger(__name__)


@plain_data
class Change(Plain):
    """A key that was changed on request."""

    key: str
    value: Any
    configured: Any
    """What the configuration says instead."""
    command: str
    """The request that changes it, and takes the change back with `null`."""
    argument: str
    view: str | None
    """Of which view the key is; None if of none by name."""

    @property
    def origin(self) -> str:
        """Where the value comes from, for people."""
        return f"set on request ({self.command}); the configuration has {_shown(self.configured)}"

    def __str__(self) -> str:
        """Say it for people."""
        return f"{self.key} is {_shown(self.value)}, {self.origin}"


@dataclass(frozen=True, slots=True)
class _Override:
    value: Any
    instead_of: Any
    """What the files said: a change there wins over this one."""


class Overrides:
    """Values of single keys, kept over a restart until they are taken back or the files change."""

    def __init__(self, directory: Path | None) -> None:
        """Read what is kept in `directory`; without one nothing outlives the process."""
        self._directory = directory
        self._entries: Mapping[str, _Override] = dict(_read(directory))
        self._kept: Mapping[str, _Override] = self._entries
        self._earlier: dict[str, _Override] = {}
        """By key, what the newest change of each took the place of."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that were saved, by key."""
        return {key: each.value for key, each in self._kept.items()}

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was saved, for people."""
        return _changes(self._kept)

    def set(self, configured: Config, key: str, value: Any) -> None:
        """Change a key, or take its change back with None. Then save() or undo() has to follow."""
        entries = {name: each for name, each in self._entries.items() if name != key}
        if value is not None:
            entries[key] = _Override(value, value_of(configured, key))
        self._entries = entries

    def save(self) -> None:
        """Keep the changes, where there is a place for them."""
        if self._entries != self._kept:
            for key, each in self._kept.items():
                if self._entries.get(key) != each:
                    self._earlier[key] = each
            self._keep(self._entries)

    def undo(self) -> None:
        """Go back to what was saved last."""
        self._entries = self._kept

    def take_back(self, key: str, *, in_force: Any = None) -> None:
        """Take back the change of one key, unless it is to the value that is in force.

        Where that value was asked for before, it is what the key goes back to.
        """
        known = (self._kept.get(key), self._earlier.get(key))
        right = next((each for each in known if each and each.value == in_force), None)
        # A change that waits to be saved is not for this to save.
        self._entries = _with(self._entries, key, right)
        if (kept := _with(self._kept, key, right)) != self._kept:
            self._keep(kept)

    def clear(self) -> None:
        """Take back all changes."""
        self._entries = {}
        self.save()

    def apply(self, configured: Config) -> Config:
        """Return the configuration with the changes in it, and forget those that are outdated.

        Raises ConfigError if they contradict the rest.
        """
        self._entries = _valid(self._entries, configured)
        if (kept := _valid(self._kept, configured)) != self._kept:
            self._keep(kept)
        config = configured
        for key, each in self._entries.items():
            config = changed(config, key, each.value)
        if self._entries and (problems := contradictions(config)):
            raise ConfigError(problems)
        return config

    def _keep(self, entries: Mapping[str, _Override]) -> None:
        self._kept = entries
        if self._directory is None:
            return
        content = {key: asdict(each) for key, each in entries.items()}
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_text(self._directory / _FILE, json.dumps(content) + "\n")
        except OSError as error:
            log.warning("the change will not outlive a restart: %s", reason(error))


def kept_changes(directory: Path | None, configured: Config) -> tuple[Change, ...]:
    """List what the daemon that keeps its state in `directory` changes of the configuration.

    Writes nothing. Raises PermissionError if this user may not read it.
    """
    return _changes(_valid(dict(_read(directory, closed=PermissionError)), configured))


def with_changes(configured: Config, changes: Iterable[Change]) -> Config:
    """Return the configuration as it is with the changes."""
    for each in changes:
        configured = changed(configured, each.key, each.value)
    return configured


def _changes(entries: Mapping[str, _Override]) -> tuple[Change, ...]:
    return tuple(
        Change(
            key=key,
            value=each.value,
            configured=each.instead_of,
            command=what.command,
            argument=what.argument,
            view=view,
        )
        for key, each in entries.items()
        for view, what in (key_parts(key),)
    )


def _shown(value: Any) -> str:
    if value is None:
        return "none of its own"
    if isinstance(value, tuple):
        return f"[{', '.join(f'{each:g}' for each in value)}]"
    return quoted(value) if isinstance(value, str) else f"{value:g}"


def _with(
    entries: Mapping[str, _Override], key: str, other: _Override | None
) -> Mapping[str, _Override]:
    """Replace an entry, where there is one; None: by nothing."""
    if key not in entries:
        return entries
    rest = {name: each for name, each in entries.items() if name != key}
    return rest if other is None else {**rest, key: other}


def _valid(entries: Mapping[str, _Override], configured: Config) -> Mapping[str, _Override]:
    return {
        key: each
        for key, each in entries.items()
        if is_there(configured, key) and value_of(configured, key) == each.instead_of
    }


def _read(
    directory: Path | None, *, closed: type[BaseException] | tuple[()] = ()
) -> Iterator[tuple[str, _Override]]:
    if directory is None:
        return
    try:
        content = read_json(directory / _FILE)
        for key, entry in content.items():
            value, before = entry["value"], entry["instead_of"]
            before = tuple(before) if isinstance(before, list) else before
            yield key, _Override(key_parts(key)[1].reads(value), before)
    except FileNotFoundError:
        return
    except closed:
        raise
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        log.warning("%s: damaged: what was changed on request is forgotten", directory / _FILE)
