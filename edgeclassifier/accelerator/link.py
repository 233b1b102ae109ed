"""What joins the supervisor and its worker: memory for the tensors, and two kinds of message."""

import contextlib
import fcntl
import json
import mmap
import os
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.accelerator.faults import Failure
from edgeclassifier.contract.status import AcceleratorFault
from edgeclassifier.engine.tensors import TensorLayout

REQUEST = b"run"
"""To the worker: the input is in the memory."""
DONE = b"done"
"""From the worker: it is ready, or the output is in the memory."""
MAX_MESSAGE_BYTES = 4096

_ALIGNMENT_BYTES = 64
_MAX_REASON = 500


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
    """Give a file descriptor of memory for TensorMemory. Raises OSError where there is none."""
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
