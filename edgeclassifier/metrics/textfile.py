"""Writes the metrics to a file, for the textfile collector of the node exporter."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from edgeclassifier.errors import ConfigError
from edgeclassifier.host.durable import reason

_SUFFIX = ".prom"
_FOR_ALL = 0o644
"""The node exporter is another user, and the service's umask keeps others out."""

log = logging.getLogger(__name__)


class Textfile:
    """Writes a file again and again, from a thread of its own; the reader sees it whole.

    A disk that is full or read-only costs the numbers only: it is tried again each time. There is
    no flush to the disk, because old numbers are of no use after a power cut.
    """

    def __init__(
        self,
        *,
        path: Path,
        interval_s: float,
        render: Callable[[], bytes],
        render_end: Callable[[], bytes],
    ) -> None:
        """Take what the file holds while the daemon runs, and afterwards.

        Raises ConfigError for a name that the node exporter would not read.
        """
        if problem := name_problem(path):
            raise ConfigError([f"metrics.textfile: {problem}"])
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._interval_s = interval_s
        self._render = render
        self._render_end = render_end
        self._fails = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="textfile", daemon=True)

    def start(self) -> None:
        """Write now, and at the interval."""
        self._thread.start()

    def stop(self) -> None:
        """Leave word that the daemon has ended: its last numbers would look alive for ever."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
            self._write(self._render_end())

    def _run(self) -> None:
        while True:
            self._write(self._render())
            if self._stopping.wait(self._interval_s):
                return

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
        with self._part.open("wb") as file:
            os.fchmod(file.fileno(), _FOR_ALL)
            file.write(content)
        self._part.replace(self._path)


def name_problem(path: Path) -> str | None:
    """Say why the node exporter would not read a file of this name; None where it would."""
    if path.suffix == _SUFFIX:
        return None
    return (
        f"{path}: the node exporter reads files that end in {_SUFFIX}: name it {path.stem}{_SUFFIX}"
    )
