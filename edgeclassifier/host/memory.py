"""Keeps Python and the C library from holding on to memory that was freed."""

import ctypes
import gc
from collections.abc import Callable

_M_ARENA_MAX = -8
_ARENAS = 2


def share_arenas() -> None:
    """Let all threads allocate from the same two arenas. Call it before threads start.

    glibc gives each thread an arena of its own, so that one thread cannot use the holes that
    another leaves. Does nothing with another C library.
    """
    _function("mallopt")(_M_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Return free pages to the system, as far as the C library is able to.

    Python keeps up to two thousand freed tuples of each size, and frees them only if it collects
    garbage of all ages, which takes days in a steady state. Models and frames come and go and
    leave holes that glibc keeps. Takes a few milliseconds, mostly without Python's lock.
    """
    gc.collect()
    _function("malloc_trim")(0)


def _function(name: str) -> Callable[..., int]:
    function: Callable[..., int] = getattr(ctypes.CDLL(None), name, lambda *_: 0)
    return function
