"""Reads the configuration again while the daemon runs, and takes it only as a whole."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeclassifier.contract.payloads import timestamp
from edgeclassifier.contract.status import Reload
from edgeclassifier.errors import EdgeclassifierError

if TYPE_CHECKING:
    from edgeclassifier.config import Config

Apply = Callable[[], None]
"""One change, prepared so that it cannot fail."""
Version = tuple[str, int, int]
"""Of a file, to be compared: its path, when it was written, and how large it is."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files whose content counts as if it were in the configuration, by the keys that name them."""

    read: Mapping[str, Path]
    hidden: Mapping[str, Path]
    """In place of these, something is read that is renewed at the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A configuration that was validated, and what is to be done to get there."""

    config: "Config"
    outcome: Reload
    apply: tuple[Apply, ...] = ()
    waiting: frozenset[str] = frozenset()
    """Keys of hidden files with another content."""


class Reloader:
    """Reads and prepares in a thread of its own, so that frames go on."""

    def __init__(
        self,
        config: "Config",
        *,
        reread: Callable[[], "Config"],
        files: Callable[["Config"], Files],
        prepare: Callable[["Config", "Config", frozenset[str]], list[Apply]],
    ) -> None:
        """Take the configuration in use.

        A key has changed, too, where `files` names another file for it, or that has another
        content. `prepare` gets the old and the new one and the keys that differ. It and `reread`
        may raise what the command line reports without a traceback.
        """
        self._files = files
        found = files(config)
        self._read_versions, self._hidden_versions = _versions(found.read), _versions(found.hidden)
        self._reread = reread
        self._prepare = prepare
        self._thread: threading.Thread | None = None
        self._prepared: Prepared | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or waits to be taken."""
        return self._thread is not None

    def request(self, config: "Config") -> None:
        """Begin to read again; `config` is the one in use. Not while busy."""
        self._thread = threading.Thread(
            target=self._run, args=(config,), name="reload", daemon=True
        )
        self._thread.start()

    def take(self) -> Prepared | None:
        """Return the outcome, once, when it is there."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        prepared, self._prepared = self._prepared, None
        return prepared

    def _run(self, config: "Config") -> None:
        problem = "a fault in this program, see the log"
        try:
            self._prepared = self._read(config)
        except EdgeclassifierError as error:
            problem = "; ".join(str(error).splitlines())
            log.warning("the configuration is kept as it was: %s", problem)
        finally:
            if self._prepared is None:
                outcome = Reload(timestamp=_now(), status="refused", problem=problem)
                self._prepared = Prepared(config=config, outcome=outcome)

    def _read(self, config: "Config") -> Prepared:
        new = self._reread()
        files = self._files(new)
        read, hidden = _versions(files.read), _versions(files.hidden)
        changed = changed_keys(config, new) | _differing(self._read_versions, read)
        waiting = _differing(self._hidden_versions, hidden) - changed
        if not changed | waiting:
            log.info("the configuration has not changed")
            return Prepared(config=config, outcome=Reload(timestamp=_now(), status="unchanged"))
        apply = tuple(self._prepare(config, new, changed))
        self._read_versions, self._hidden_versions = read, hidden
        outcome = Reload(
            timestamp=_now(), status="applied", changed=tuple(sorted(changed | waiting))
        )
        return Prepared(config=new, outcome=outcome, apply=apply, waiting=waiting)


def changed_keys(old: "Config", new: "Config") -> frozenset[str]:
    """Name the keys, such as "mqtt.host", that have other values."""
    before, after = dict(_flat(old, "")), dict(_flat(new, ""))
    return frozenset(key for key, value in after.items() if before[key] != value)


def _versions(files: Mapping[str, Path]) -> dict[str, Version]:
    return {key: version for key, path in files.items() if (version := _version(path))}


def _differing(before: Mapping[str, Version], after: Mapping[str, Version]) -> frozenset[str]:
    return frozenset(key for key in before.keys() | after if before.get(key) != after.get(key))


def _version(path: Path) -> Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_size


def _flat(table: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(table):
        value, key = getattr(table, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _now() -> str:
    return timestamp(datetime.now(UTC))
