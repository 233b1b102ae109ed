"""Runs other programs for so long, and reads so much of what they say."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

_MOST_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_DEATH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What became of a program."""

    end: Literal["exit", "absent", "hung"]
    """hung: it was killed, because it did not end in time or did not stop talking."""
    code: int = 0
    """The exit code, -N after signal N; means something only after an exit."""
    output: str = ""
    errors: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it ended as programs do that have done what they were asked for."""
        return self.end == "exit" and self.code == 0


class Run(Protocol):
    """What runs a program; tests answer from records."""

    def __call__(self, command: Sequence[str], *, timeout_s: float, given: str = "") -> Said:
        """Run `command` with `given` on its standard input, for at most `timeout_s`."""


def run_command(
    command: Sequence[str],
    *,
    timeout_s: float,
    given: str = "",
    environment: Mapping[str, str] | None = None,
) -> Said:
    """Run a program. Raises nothing; comes back in time even where the program cannot be killed."""
    deadline_s = time.monotonic() + timeout_s
    stdin = os.memfd_create("stdin")
    try:
        os.write(stdin, given.encode(errors="backslashreplace"))
        os.lseek(stdin, 0, os.SEEK_SET)
        process = subprocess.Popen(  # noqa: S603 - fixed programs, never a shell
            list(command),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # For the words that are looked for in what they say.
            env={**(os.environ if environment is None else environment), "LC_ALL": "C.UTF-8"},
            # Whatever it starts is killed together with it.
            start_new_session=True,
        )
    except (OSError, ValueError):
        return Said(end="absent")
    finally:
        os.close(stdin)
    texts, complete = _read(process, deadline_s)
    try:
        code = process.wait(max(0.0, deadline_s - time.monotonic()) if complete else 0)
        ended = complete
    except subprocess.TimeoutExpired:
        code, ended = 0, False
    if not ended:
        _kill(process)
    return Said(end="exit" if ended else "hung", code=code, output=texts[0], errors=texts[1])


def _read(process: "subprocess.Popen[bytes]", deadline_s: float) -> tuple[list[str], bool]:
    """Read both streams to their end; say whether that came before the deadline and the limit."""
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    content = {pipe.fileno(): bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as waiting:
        for fd in content:
            waiting.register(fd, selectors.EVENT_READ)
        while waiting.get_map():
            left_s = deadline_s - time.monotonic()
            ready = waiting.select(left_s) if left_s > 0 else []
            if not ready or sum(map(len, content.values())) > _MOST_BYTES:
                break
            for key, _ in ready:
                if data := os.read(key.fd, _CHUNK_BYTES):
                    content[key.fd] += data
                else:
                    waiting.unregister(key.fd)
        complete = not waiting.get_map()
    for pipe in pipes:
        pipe.close()
    return [bytes(each).decode(errors="replace") for each in content.values()], complete


def _kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
    try:
        process.wait(_DEATH_S)
    except subprocess.TimeoutExpired:
        # In the kernel, waiting for a device: nothing can end it, so it is left behind.
        process.returncode = -signal.SIGKILL
