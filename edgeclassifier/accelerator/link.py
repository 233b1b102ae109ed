"""What passes between the supervisor and its worker: the job, tensors in memory, and messages."""

import contextlib
import fcntl
import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.status import AcceleratorFault
from edgeclassifier.engine.tensors import TensorLayout

REQUEST = b"run"
"""To the worker: the input is in the memory."""
DONE = b"done"
"""From the worker: it is ready, or the output is in the memory."""
MAX_MESSAGE_BYTES = 4096

_ALIGNMENT_BYTES = 64
_MAX_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker runs."""

    model: Path
    delegate: str | None
    """The delegate's library as dlopen() takes it; None runs the model on the CPU."""
    options: dict[str, str]
    """Of the delegate."""
    runtime: str
    threads: int
    layout: TensorLayout
    """Of the model's CPU twin, which must be the model's own."""
    slow_s: float
    """An answer that takes longer is too slow; 0: none is."""

    def encode(self) -> str:
        """Return it as an argument for the worker's command line."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def decode(cls, text: str) -> Self:
        """Rebuild a job from encode()."""
        fields = json.loads(text)
        layout = TensorLayout.from_fields(fields["layout"])
        return cls(**{**fields, "model": Path(fields["model"]), "layout": layout})


class Failure(Exception):  # noqa: N818 - named for what it reports
    """A fault of an accelerator, on its way to the status."""

    def __init__(self, fault: AcceleratorFault, reason: str) -> None:
        super().__init__(f"{fault}: {reason}")
        self.fault = fault
        self.reason = reason

    def without_traceback(self) -> "Failure":
        """Return a copy that keeps no model and no frame in memory."""
        return Failure(self.fault, self.reason)


class TensorMemory:
    """The input and the output tensor in memory that both processes see."""

    def __init__(self, fd: int, layout: TensorLayout) -> None:
        """Map the memory behind `fd`, which stays the caller's."""
        offset = _output_offset(layout)
        self._map = mmap.mmap(fd, offset + layout.output.size_bytes)
        self.input = self._tensor(layout.input.dtype, layout.input.shape, 0)
        self.output = self._tensor(layout.output.dtype, layout.output.shape, offset)

    def close(self) -> None:
        """Unmap it. The tensors are gone after that."""
        del self.input, self.output
        self._map.close()

    def _tensor(self, dtype: str, shape: tuple[int, ...], offset: int) -> NDArray[Any]:
        return np.ndarray(shape, dtype, self._map, offset)


@contextlib.contextmanager
def new_memory(layout: TensorLayout) -> Iterator[int]:
    """Give a file descriptor of memory for TensorMemory. Raises OSError if there is none left."""
    fd = os.memfd_create("tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        # Allocated now and never resized: otherwise touching it could be fatal for both sides.
        os.posix_fallocate(fd, 0, _output_offset(layout) + layout.output.size_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        yield fd
    finally:
        os.close(fd)


def encode(failure: Failure) -> bytes:
    """Write a message that reports `failure`."""
    return json.dumps([failure.fault, failure.reason[:_MAX_REASON]]).encode()


def check(message: bytes) -> None:
    """Return if the message is DONE; raise the Failure that it reports otherwise."""
    if message == DONE:
        return
    try:
        fault, reason = json.loads(message)
    except (ValueError, TypeError):
        fault, reason = None, None
    if fault not in get_args(AcceleratorFault) or not isinstance(reason, str):
        raise Failure("error", f"its process answers nonsense: {message[:40]!r}")
    raise Failure(fault, reason)


def _output_offset(layout: TensorLayout) -> int:
    return -(-layout.input.size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
