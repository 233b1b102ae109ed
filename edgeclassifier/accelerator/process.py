"""The worker process, seen from the supervisor: one life, from its start to its end."""

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.accelerator.link import (
    MAX_MESSAGE_BYTES,
    REQUEST,
    Failure,
    Job,
    TensorMemory,
    check,
    new_memory,
)
from edgeclassifier.contract.status import AcceleratorFault
from edgeclassifier.host.children import module_command
from edgeclassifier.host.wakeup import WakeUp

log = logging.getLogger(__name__)

_LONGEST_LINE_BYTES = 400
_CHUNK_BYTES = 1 << 16
_SIGNALS = {each.value: each.name for each in signal.Signals}


class Gone(Exception):  # noqa: N818 - an event; whether it is an error depends on when
    """The process has ended."""


class WorkerProcess:
    """A process that loads a model and answers requests.

    One thread starts, watches and ends it; run() may be called from another one while the process
    is watched.
    """

    def __init__(self, job: Job) -> None:
        """Start the process. Raises OSError if the system has no room for it.

        The calling thread has to outlive the process, which is killed when that thread ends.
        """
        with contextlib.ExitStack() as undo:
            memory_fd = undo.enter_context(new_memory(job.layout))
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.enter_context(theirs)
            with contextlib.ExitStack() as undo_ours:
                undo_ours.enter_context(ours)
                self._memory = TensorMemory(memory_fd, job.layout)
                undo_ours.callback(self._memory.close)
                fds = theirs.fileno(), memory_fd
                # In a session of its own, so that Ctrl-C and Ctrl-Z in a terminal pass it by.
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [*module_command(f"{__package__}.worker"), *map(str, fds), job.encode()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=fds,
                    start_new_session=True,
                )
                undo_ours.pop_all()
        self._connection = ours
        self._words = _LastWords(self._process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def watch(self, wake_up: WakeUp, *, timeout_s: float | None, for_answer: bool) -> bool:
        """Wait for an answer if `for_answer`, for `wake_up`, which is cleared, or the timeout.

        Says whether there is an answer to take. Raises Gone if the process has ended.
        """
        poll = select.poll()
        poll.register(self._connection, select.POLLIN if for_answer else 0)
        if self._words.open:
            poll.register(self._words.fd, select.POLLIN)
        poll.register(wake_up, select.POLLIN)
        events = dict(poll.poll(None if timeout_s is None else 1000 * timeout_s))
        wake_up.clear()
        if self._words.fd in events:
            self._words.read()
        event = events.get(self._connection.fileno(), 0)
        if event & select.POLLIN:
            return True
        if event:
            raise Gone
        return False

    def take_answer(self, *, timeout_s: float) -> None:
        """Return when the worker says that all went well.

        Raises Failure if it says something else, or nothing in time, and Gone if it ended.
        """
        self._connection.settimeout(timeout_s)
        try:
            message = self._receive(timeout_s)
        except ConnectionResetError:
            raise Gone from None
        if not message:
            raise Gone
        check(message)

    def run(self, tensor: NDArray[Any], *, timeout_s: float) -> NDArray[Any]:
        """Return a copy of what the model's output stores for `tensor`, flat.

        Raises Failure if the worker reports one or does not answer in time, and Gone if it ended.
        """
        np.copyto(self._memory.input, tensor, casting="no")
        try:
            self._connection.send(REQUEST)
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None
        self.take_answer(timeout_s=timeout_s)
        return self._memory.output.flatten()

    def obituary(self, fault: AcceleratorFault, *, timeout_s: float) -> Failure:
        """Say how the process, which is Gone, came to its end."""
        self.ended(timeout_s=timeout_s)
        code = self._process.returncode
        if code is None:
            how = "its process hung up"
        elif code < 0:
            how = f"its process was killed by {_SIGNALS.get(-code, f'signal {-code}')}"
        else:
            how = f"its process ended with exit code {code}"
        while self._words.read():
            pass
        words = f": {self._words.last}" if self._words.last else ""
        return Failure(fault, how + words)

    def kill(self) -> None:
        """Order the process to end, whatever it does. Returns at once."""
        self._process.kill()

    def ended(self, *, timeout_s: float) -> bool:
        """Wait for the process to end, and say whether it did."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Release everything but the process. No thread may be in run()."""
        self._connection.close()
        self._memory.close()
        self._words.close()

    def _receive(self, timeout_s: float) -> bytes:
        try:
            return self._connection.recv(MAX_MESSAGE_BYTES)
        except TimeoutError:
            pass
        try:
            # This process may have been stopped meanwhile, and not the worker.
            self._connection.settimeout(0)
            return self._connection.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            raise Failure("hung", f"no answer within {timeout_s:g} s") from None


class _LastWords:
    """The end of what a process says on its standard output and standard error."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None  # noqa: S101 - it was started with a pipe
        self._pipe = process.stdout
        self.fd = self._pipe.fileno()
        os.set_blocking(self.fd, False)
        self.open = True
        self.last = ""
        self._unfinished = b""

    def read(self) -> bool:
        """Read what is there, up to a limit, without waiting; say whether there was any."""
        try:
            data = os.read(self.fd, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.open = bool(data)
        *lines, rest = (self._unfinished + (data or b"\n")).split(b"\n")
        for line in lines:
            self._note(line)
        self._unfinished = rest[:_LONGEST_LINE_BYTES]
        return self.open

    def close(self) -> None:
        """Close the pipe."""
        self._pipe.close()

    def _note(self, line: bytes) -> None:
        text = line[:_LONGEST_LINE_BYTES].decode(errors="replace").strip()
        if not text:
            return
        log.debug("worker: %s", text)
        if not text.startswith("INFO: "):  # the runtime's announcements explain nothing
            self.last = text
