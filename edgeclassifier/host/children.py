"""Child processes: programs with an end, and modules of this package as programs.

Few runs of the daemon have one, and all want to start soon: functions import what is large.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

if TYPE_CHECKING:
    import subprocess

_MOST_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_POLL_S = 0.1
_DEATH_S = 1.0
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}

# The package need not be installed. Once it is imported, it finds its modules by itself, and what
# lies beside it hides nothing.
_RUN_MODULE = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
import edgeclassifier
del sys.path[0], sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a program."""

    end: Literal["answered", "crashed", "killed", "late", "stopped", "absent"]
    """How it ended.

    answered: by itself, with an exit code. crashed: by a signal that its own doing raises. killed:
    by a signal that was sent to it, for lack of memory, say. late: it did not end in time, or wrote
    too much. stopped: it was no longer wanted. absent: it could not be started.
    """
    code: int = 0
    """The exit code, if it answered."""
    signal: int = 0
    """The signal, if it crashed or was killed."""
    output: str = ""
    errors: str = ""
    """What it wrote to standard error, or why it could not be started."""

    @property
    def succeeded(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.end == "answered" and self.code == 0

    @property
    def last_words(self) -> str:
        """The last line of its errors."""
        return (self.errors.strip().splitlines() or [""])[-1]


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    given: str | BinaryIO = "",
    into: BinaryIO | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run a program with `given` as its standard input, and read up to 1 MiB of what it writes.

    A file is handed over as it is, and read from where it stands; `into` is a file that takes
    the place of Outcome.output.

    Raises nothing, and returns in time even if the program cannot be killed. `stopped` is asked ten
    times a second; once it is true, or the time is up, the program is killed with all it started.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        process = _start(command, given, into)
    except (OSError, ValueError) as error:
        return Outcome(end="absent", errors=getattr(error, "strerror", None) or str(error))
    reader = _Reader(process)
    is_stopped = False
    try:
        while not (reader.is_done or reader.is_full or is_stopped):
            if (left_s := deadline_s - time.monotonic()) <= 0:
                break
            reader.wait(min(left_s, _POLL_S))
            is_stopped = stopped()
        code = process.returncode
    finally:
        reader.close()
        if process.returncode is None:
            _kill(process)
    *outputs, errors = reader.texts()
    output = "".join(outputs)
    if code is None:
        return Outcome(end="stopped" if is_stopped else "late", output=output, errors=errors)
    if code < 0:
        end: Literal["crashed", "killed"] = "crashed" if -code in _CRASHES else "killed"
        return Outcome(end=end, signal=-code, output=output, errors=errors)
    return Outcome(end="answered", code=code, output=output, errors=errors)


@contextlib.contextmanager
def daemon(
    settings: Mapping[str, Any], *, stop_timeout_s: float
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the daemon on `settings` alone, without a configuration file, while the context lasts.

    Its state directory is temporary: it leaves nothing to the daemon that is installed here.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="edgeclassifier-") as state:
        command = own_command("run", {"device.state_directory": state, **settings})
        # In a session of its own, so that Ctrl-C reaches it once, by way of this process.
        process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own program
        try:
            yield process
        finally:
            end(process, timeout_s=stop_timeout_s)


def module_command(module: str, *, python: str = sys.executable) -> list[str]:
    """Return the command that runs a module of this package; its arguments follow.

    `python -m` would look into the current folder first, and run whatever has the name there.
    """
    return [python, "-P", "-c", _RUN_MODULE, str(Path(__file__).parents[2]), module]


def own_command(name: str, settings: Mapping[str, Any]) -> list[str]:
    """Return a command of this program, on settings by dotted key and no configuration file."""
    import json

    command = [*module_command("edgeclassifier"), name, "--config", os.devnull]
    for key, value in settings.items():
        # TOML has the strings, numbers and lists of JSON.
        command += ["--set", f"{key}={json.dumps(value, ensure_ascii=False)}"]
    return command


def end(process: "subprocess.Popen[bytes]", *, timeout_s: float) -> None:
    """Ask a process to end, and kill it if it has not within `timeout_s`."""
    import subprocess

    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Reader:
    """Reads both streams of a process until it has ended."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        import selectors

        self._process = process
        self._pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
        self._content = {pipe.fileno(): bytearray() for pipe in self._pipes}
        self._open = selectors.DefaultSelector()
        for fd in self._content:
            self._open.register(fd, selectors.EVENT_READ)

    @property
    def is_done(self) -> bool:
        """Whether the streams and the process have come to their end."""
        return self._process.returncode is not None

    @property
    def is_full(self) -> bool:
        return sum(map(len, self._content.values())) > _MOST_BYTES

    def wait(self, timeout_s: float) -> None:
        """Take what comes next."""
        if not self._open.get_map():
            import subprocess

            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        for key, _ in self._open.select(timeout_s) if self._open.get_map() else ():
            if data := os.read(key.fd, _CHUNK_BYTES):
                self._content[key.fd] += data
            else:
                self._open.unregister(key.fd)

    def texts(self) -> list[str]:
        return [bytes(each).decode(errors="replace") for each in self._content.values()]

    def close(self) -> None:
        self._open.close()
        for pipe in self._pipes:
            pipe.close()


def _start(
    command: Sequence[str | Path], given: str | BinaryIO, into: BinaryIO | None
) -> "subprocess.Popen[bytes]":
    import subprocess

    with contextlib.ExitStack() as stack:
        if isinstance(given, str):
            stdin: BinaryIO = stack.enter_context(os.fdopen(os.memfd_create("stdin"), "w+b"))
            stdin.write(given.encode(errors="backslashreplace"))
            stdin.seek(0)
        else:
            stdin = given
        return subprocess.Popen(  # noqa: S603 - fixed programs, never a shell
            list(command),
            stdin=stdin,
            stdout=into or subprocess.PIPE,
            stderr=subprocess.PIPE,
            # For the words that are looked for in what they say.
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            # Whatever it starts is killed together with it.
            start_new_session=True,
        )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    import subprocess

    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
    try:
        process.wait(_DEATH_S)
    except subprocess.TimeoutExpired:
        # In the kernel, waiting for a device: nothing can end it, so it is left behind.
        process.returncode = -signal.SIGKILL
