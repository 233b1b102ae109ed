"""Why the daemon ended last time: kept in a file, because the journal may be gone by then."""

import faulthandler
import json
import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from edgeclassifier.contract.status import Crash
from edgeclassifier.host.boot import kernel_boot
from edgeclassifier.host.durable import read_json, reason, write_text
from edgeclassifier.host.files import create, open_regular

RECORD = "last-exit.json"
"""What the file is called."""
_FAULT = "fault.txt"
_LONGEST = 500

log = logging.getLogger(__name__)


class ExitRecord:
    """Remembers in `directory` that the daemon runs, and how it ended."""

    def __init__(self, directory: Path | None) -> None:
        """Without a directory, or if it cannot be written, nothing is remembered."""
        self._directory = directory
        self._fault_file: BinaryIO | None = None
        self._lock = threading.Lock()
        self._ended = False

    def previous(self) -> Crash | None:
        """Tell why the run before ended; None if it ended in order, or is not known."""
        if self._directory is None:
            return None
        try:
            record = read_json(self._directory / RECORD)
        except (OSError, ValueError):
            return None
        fault = _first_line(self._directory / _FAULT)
        return _crash(record, fault) if isinstance(record, dict) else None

    def begin(self) -> None:
        """Note that this run has started; from now on a native crash leaves a note, too."""
        if self._directory is None:
            return
        with self._lock:
            if self._ended:
                return  # a short run
            try:
                _make(self._directory)
                # Open until the end, because a crash is no time to open anything.
                self._fault_file = create(self._directory / _FAULT)
            except OSError as error:
                log.warning("the reason of a crash will not be known: %s", reason(error))
                self._directory = None
                return
            faulthandler.enable(self._fault_file, all_threads=False)
            self._write({"state": "running", "kernel_boot": kernel_boot()})

    def end(self, why: str, *, code: int) -> None:
        """Note how this run ended; code 0 is an end in order."""
        with self._lock:
            self._ended = True
            self._write({"state": "ended", "reason": why[:_LONGEST], "exit_code": code})
            if self._fault_file is not None:
                faulthandler.disable()
                self._fault_file.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._directory is None:
            return
        stamped = {**record, "timestamp": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            _make(self._directory)
            write_text(self._directory / RECORD, json.dumps(stamped) + "\n")
        except OSError as error:
            log.warning("the reason of the end is not recorded: %s", reason(error))


def _crash(record: Mapping[str, Any], fault: str) -> Crash | None:
    when = str(record.get("timestamp", ""))
    if record.get("state") == "running":
        if "Aborted" in fault:
            why = "aborted: by the watchdog because nothing moved, or by a native library"
        elif fault:
            why = f"crashed: {fault}"
        elif record.get("kernel_boot") != kernel_boot():
            why = "the device was switched off or restarted while the daemon ran"
        else:
            why = "killed: for lack of memory, or by a person or another program"
        return Crash(reason=why, exit_code=None, timestamp=when)
    code = record.get("exit_code")
    if not isinstance(code, int) or code == 0:
        return None
    return Crash(reason=str(record.get("reason", "")), exit_code=code, timestamp=when)


def _make(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def _first_line(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.readline(_LONGEST).decode(errors="replace").strip()
    except OSError:
        return ""
