"""What the kernel says about a process: memory, open files, threads and children."""

import os
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process occupies at one moment."""

    rss: int
    pss: int
    anon: int
    """Bytes that are in no file, as the heap is: other processes with the same libraries, which
    come and go, make no difference to them."""
    heap: int
    """Bytes of it that are in use, as the process says itself (see observed/)."""
    fds: int
    threads: int
    children: int
    """Zombies included."""


def usage(pid: int, *, heap_file: Path | None = None) -> Usage:
    """Look at a process. Raises OSError where it is gone."""
    proc = Path(f"/proc/{pid}")
    memory = {}
    for line in (proc / "smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        memory[name.rstrip(":")] = int(value) * _KIB
    return Usage(
        rss=memory["Rss"],
        pss=memory["Pss"],
        anon=memory["Anonymous"],
        heap=int(heap_file.read_text()) if heap_file is not None else 0,
        fds=len(os.listdir(proc / "fd")),  # noqa: PTH208 - half the cost of a Path for each
        threads=len(list((proc / "task").iterdir())),
        children=len(children(pid)),
    )


def children(pid: int) -> list[int]:
    """Name the processes that this one started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # a thread that ended meanwhile
    return found


def find_child(pid: int, word: str) -> int | None:
    """Find the child with `word` in its command line."""
    for child in children(pid):
        try:
            if word in Path(f"/proc/{child}/cmdline").read_text():
                return child
        except OSError:
            continue
    return None
