"""The real command in a process of its own, away from this machine's files and settings."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

REPOSITORY = Path(__file__).parents[2]
SAMPLES = REPOSITORY / "edgeclassifier" / "samples"
PATIENCE_S = 30.0
"""Upper bound of every wait; nothing takes nearly as long unless it is broken."""

_COMMAND = (sys.executable, "-m", "edgeclassifier")
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL")


def isolated(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment that knows no configuration and no model but the bundled one.

    `folder` becomes the home and the working directory. `more` is added; a PYTHONPATH among it
    comes before the repository.
    """
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = os.pathsep.join([part for part in (more.pop("PYTHONPATH", ""), str(REPOSITORY)) if part])
    return {
        **kept,
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "EDGECLASSIFIER_MODELS": str(folder / "models"),
        "EDGECLASSIFIER_CONFIG": os.devnull,
        "PYTHONPATH": path,
        **more,
    }


def run_cli(
    *arguments: str | Path,
    env: Mapping[str, str],
    timeout_s: float = 60,
    stdout: int | IO[bytes] = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end in the environment that isolated() makes."""
    return subprocess.run(
        [*_COMMAND, *map(str, arguments)],
        env=env,
        cwd=env["HOME"],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=timeout_s,
    )


class Daemon:
    """`edgeclassifier run`, from entering the context until, at the latest, leaving it."""

    def __init__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str],
        config: Path | None = None,
        settings: Mapping[str, str | int | float] | None = None,
    ) -> None:
        """Take `settings` as KEY: VALUE for --set, a string without its quotes."""
        self._command = [*_COMMAND, "run", "--config", str(config or os.devnull)]
        for key, value in (settings or {}).items():
            self._command += ["--set", f"{key}={value}"]
        self._command += map(str, arguments)
        self._env = env
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread(target=self._read, name="stderr")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            cwd=self._env["HOME"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._running
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        if process.stderr is not None:
            process.stderr.close()

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def lines(self) -> list[str]:
        """What it has written to stderr so far."""
        with self._changed:
            return list(self._lines)

    def wait_for_line(self, text: str, timeout_s: float = PATIENCE_S) -> bool:
        """Wait for a line with `text` in it; return whether it came before the end of stderr."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or any(text in line for line in self._lines), timeout_s
            )
            return any(text in line for line in self._lines)

    def handles(self, number: signal.Signals) -> bool:
        """Tell whether the program has a handler for a signal, as the kernel sees it.

        Python has one for SIGINT from its start, and none for SIGTERM.
        """
        status = Path(f"/proc/{self.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        self._running.send_signal(number)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Return the exit code, -N after signal N; `lines` are complete then."""
        code = self._running.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "not started"
        return self._process

    def _read(self) -> None:
        stderr = self._running.stderr
        assert stderr is not None
        for line in stderr:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
