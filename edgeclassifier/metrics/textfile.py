"""Writes the metrics to a file, for the textfile collector of the node exporter."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from edgeclassifier.errors import ConfigError
from edgeclassifier.host import threads
from edgeclassifier.host.durable import reason
from edgeclassifier.host.files import create
from edgeclassifier.host.threads import OnDeath

_SUFFIX = ".prom"
_FOR_ALL = 0o644
"""The node exporter runs as another user, whom the service's umask would keep out."""

log = logging.getLogger(__name__)


class Textfile:
    """Rewrites a file periodically, in its own thread; a reader never sees a part of it.

    A disk that is full or read-only costs only the metrics: each interval tries again. There is no
    flush to the disk, because old metrics are useless after a power cut.
    """

    def __init__(
        self,
        *,
        path: Path,
        interval_s: float,
        render: Callable[[], bytes],
        render_end: Callable[[], bytes],
        on_death: OnDeath | None = None,
    ) -> None:
        """Take what renders the file while the daemon runs, and afterwards.

        Raises ConfigError for a name that the node exporter would not read.
        """
        if problem := name_problem(path):
            raise ConfigError([f"metrics.textfile: {problem}"])
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._interval_s = interval_s
        self._render = render
        self._render_end = render_end
        self._on_death = on_death
        self._fails = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write now, and at the interval."""
        self._thread = threads.start(self._run, name="textfile", on_death=self._on_death)

    def stop(self) -> None:
        """Write that the daemon has ended, because its last metrics would look current."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        self._write(self._render())
        while not self._stopping.wait(self._interval_s):
            self._write(self._render())
        self._write(self._render_end())

    def _write(self, content: bytes) -> None:
        try:
            try:
                self._replace(content)
            finally:
                self._part.unlink(missing_ok=True)
        except OSError as error:
            if not self._fails:
                log.warning("metrics are not written: %s: trying again", reason(error))
            self._fails = True
        else:
            if self._fails:
                log.info("metrics are written again: %s", self._path)
            self._fails = False

    def _replace(self, content: bytes) -> None:
        with create(self._part) as file:
            os.fchmod(file.fileno(), _FOR_ALL)
            file.write(content)
        self._part.replace(self._path)


def name_problem(path: Path) -> str | None:
    """Say why the node exporter would not read a file of this name; None if it would."""
    if path.suffix == _SUFFIX:
        return None
    return (
        f"{path}: the node exporter reads files that end in {_SUFFIX}: name it {path.stem}{_SUFFIX}"
    )
