"""Keeps Python and the C library from holding on to memory that was freed."""

import ctypes
import functools
import gc
from collections.abc import Callable

_M_ARENA_MAX = -8
_ARENAS = 2


def share_arenas() -> None:
    """Let all threads allocate from the same two arenas. To be called before threads start.

    glibc gives each thread an arena of its own, where the holes that one thread leaves are of no
    use to another. Does nothing where the C library is another one.
    """
    _function("mallopt")(_M_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Return free pages to the system, as far as the C library is able to.

    Python keeps up to two thousand freed tuples of each size, and lets go of them only where it
    collects garbage of all ages, which in a steady state takes days. Models and frames come and go
    and leave holes that glibc keeps. Takes a few milliseconds, mostly without Python's lock.
    """
    gc.collect()
    _function("malloc_trim")(0)


@functools.cache
def _function(name: str) -> Callable[..., int]:
    function: Callable[..., int] = getattr(ctypes.CDLL(None), name, lambda *_: 0)
    return function
