"""Has the C library give back memory that was freed."""

import ctypes
import functools
from collections.abc import Callable


def trim() -> None:
    """Return free pages to the system; nothing where the C library is none of GNU.

    Models and frames come and go in several threads, and each leaves holes that glibc keeps: with
    time, more memory than is in use. Takes a few milliseconds, without Python's lock.
    """
    _malloc_trim()(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int]:
    function = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return function if function is not None else lambda _pad: 0
