"""A folder that one process at a time may use."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILE = "lock"
_POLL_S = 0.1


class HeldError(Exception):
    """Another process has the folder."""

    def __init__(self, pid: str) -> None:
        super().__init__(f"process {pid}" if pid else "another process")


@contextmanager
def locked(folder: Path, *, patience_s: float) -> Iterator[None]:
    """Have `folder` for this process alone; a holder that is about to end gets `patience_s`.

    Without effect if the folder cannot be made or written. Raises HeldError. The lock goes with
    the process, however that ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        _wait_for(fd, time.monotonic() + patience_s)
        with contextlib.suppress(OSError):
            os.truncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)


def is_held(folder: Path) -> bool | None:
    """Tell whether a process has `folder` now; None if that cannot be known."""
    try:
        fd = os.open(folder / _FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(fd)


def _wait_for(fd: int, deadline_s: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                pid = os.pread(fd, 20, 0).decode(errors="replace")
                raise HeldError(pid if pid.isdecimal() else "") from None
            time.sleep(_POLL_S)
        except OSError:
            return  # a file system without locks
        else:
            return
