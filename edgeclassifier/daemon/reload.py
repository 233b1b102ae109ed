"""Reads the configuration again while the daemon runs, and takes it only as a whole."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.mqtt.messages import timestamp

if TYPE_CHECKING:
    from edgeclassifier.config import Config

Apply = Callable[[], None]
"""One change, prepared so that it cannot fail."""
Version = tuple[str, int, int]
"""Of a file, to be compared: its path, when it was written, and how large it is."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """What became of the newest request to read the configuration again."""

    timestamp: str
    status: Literal["applied", "unchanged", "refused"]
    changed: tuple[str, ...] = ()
    """The keys whose values are other ones now."""
    problem: str | None = None
    """Why the old configuration is kept, or a part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A configuration that was validated, and what is to be done to get there."""

    config: "Config"
    outcome: Reload
    apply: tuple[Apply, ...] = ()


class Reloader:
    """Reads and prepares in a thread of its own, so that frames go on."""

    def __init__(
        self,
        config: "Config",
        *,
        reread: Callable[[], "Config"],
        files: Callable[["Config"], Mapping[str, Path | None]],
        prepare: Callable[["Config", "Config", frozenset[str]], list[Apply]],
    ) -> None:
        """Take the configuration in use.

        `files` names the file that is read because of a key: where that is another one, or has new
        content, the key has changed. `prepare` gets the old and the new one and the keys that
        differ. It and `reread` may raise what the command line reports without a traceback.
        """
        self._files = files
        self._versions = _versions(files(config))
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
        versions = _versions(self._files(new))
        changed = changed_keys(config, new)
        changed |= {key for key, version in versions.items() if self._versions[key] != version}
        if not changed:
            log.info("the configuration has not changed")
            return Prepared(config=config, outcome=Reload(timestamp=_now(), status="unchanged"))
        apply = tuple(self._prepare(config, new, changed))
        self._versions = versions
        outcome = Reload(timestamp=_now(), status="applied", changed=tuple(sorted(changed)))
        return Prepared(config=new, outcome=outcome, apply=apply)


def changed_keys(old: "Config", new: "Config") -> frozenset[str]:
    """Name the keys, such as "mqtt.host", that have other values."""
    before, after = dict(_flat(old, "")), dict(_flat(new, ""))
    return frozenset(key for key, value in after.items() if before[key] != value)


def _versions(files: Mapping[str, Path | None]) -> dict[str, Version | None]:
    return {key: None if path is None else _version(path) for key, path in files.items()}


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
