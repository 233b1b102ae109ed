"""Memory that was freed goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgeclassifier import heap

_RUN = """
import ctypes, re, sys
from pathlib import Path
from edgeclassifier import heap

def anonymous_bytes():
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"Anonymous: +(\\d+)", rollup)[1]) * 1024

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
size, count = 4096, 5000
blocks = [libc.malloc(size) for _ in range(count)]
for block in blocks:
    ctypes.memset(block, 1, size)
for block in blocks[:-1]:
    libc.free(block)  # the last one keeps the heap from shrinking by itself
before = anonymous_bytes()
heap.trim()
print(before - anonymous_bytes(), size * count)
"""


def test_holes_are_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    given_back, freed = map(int, done.stdout.split())
    assert given_back > freed / 2


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    heap._malloc_trim.cache_clear()
    try:
        heap.trim()
    finally:
        heap._malloc_trim.cache_clear()
