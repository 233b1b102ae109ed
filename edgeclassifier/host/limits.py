"""What a process allows itself, before it touches what may be hostile."""

import contextlib
import resource
from pathlib import Path

_FIRST_TO_GO = "1000"


def limit_memory(data_bytes: int) -> None:
    """Let this process have no more memory of its own than that, and leave no core dump.

    More than that is a MemoryError, or what a library makes of it.
    """
    _limit(resource.RLIMIT_DATA, data_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    # If less is free than that, the kernel shall not end the daemon instead.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


def limit_work(*, cpu_s: int, file_bytes: int) -> None:
    """Let this process compute no longer than that, and make no file larger than that."""
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_FSIZE, file_bytes)


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))
