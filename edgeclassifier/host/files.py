"""Reading files that people name, which may be anything."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading, unless it is something that could be waited for, such as a pipe.

    The empty device, /dev/null, counts as a file. Raises OSError with a reason for people.
    """
    # Opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if _is_file(status):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(0, "it is a pipe, a socket or a device, not a file", str(path))


def _is_file(status: os.stat_result) -> bool:
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == Path(os.devnull).stat().st_rdev
    return stat.S_ISREG(status.st_mode)


def create(path: Path, *, mode: int = 0o666) -> BinaryIO:
    """Make a new file in the place of what is there, a symbolic link included.

    Root works in folders of the service's user, who could have put a link there. Raises OSError.
    """
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, mode), "wb")


def continue_file(path: Path, *, mode: int = 0o666) -> BinaryIO:
    """Open a file to write at its end, new if it is not there, but never through a symbolic link.

    Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, mode), "ab")
