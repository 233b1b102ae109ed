"""Memory that was freed goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgeclassifier.host import memory

_RUN = """
import ctypes, re, sys
from pathlib import Path
from edgeclassifier.host import memory

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
memory.trim()
print(before - anonymous_bytes(), size * count)
"""


def run(code: str) -> str:
    """Run a program in a process of its own, with a heap of its own; return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_holes_are_given_back() -> None:
    given_back, freed = map(int, run(_RUN).split())
    assert given_back > freed / 2


_TUPLES = """
import gc, sys
from edgeclassifier.host import memory

gc.freeze()
gc.disable()
before = sys.getallocatedblocks()
tuples = [tuple([count] * size) for size in range(1, 20) for count in range(1000)]
del tuples
kept = sys.getallocatedblocks() - before
memory.trim()
print(kept, sys.getallocatedblocks() - before)
"""


def test_freed_tuples_do_not_stay() -> None:
    kept, left = map(int, run(_TUPLES).split())
    assert left < kept / 2


_THREADS = """
import ctypes, threading
from pathlib import Path
from edgeclassifier.host import memory

memory.share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
done = threading.Event()

def work():
    libc.malloc(1000)
    done.wait()

for _ in range(6):
    threading.Thread(target=work).start()
lines = Path("/proc/self/maps").read_text().splitlines()
starts = [int(line.partition("-")[0], 16) for line in lines if len(line.split()) == 5]
done.set()
print(sum(start % (64 << 20) == 0 for start in starts))
"""


def test_threads_have_no_arenas_of_their_own() -> None:
    """An arena beside the main one begins at a multiple of 64 MiB."""
    assert int(run(_THREADS)) <= 1


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    memory.share_arenas()
    memory.trim()
