"""One of the folders that kept pictures are in, and the file with their lines.

Everything is done by way of open folders and never through a symbolic link: root works in folders
of the service's user, who could have put one there.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

LINES = "lines.jsonl"
MOST_LINES_BYTES = 1 << 20
"""A folder whose lines are longer gets no more pictures."""
_COMPACTED_BYTES = 2 << 20
"""Lines that would become longer are written anew, without labels that no longer count."""
_READ_BYTES = 16 << 20
"""No lines are as long, compacted or not."""
_PART = ".part"
_BLOCK_BYTES = 4096
_PICTURE = re.compile(r"(\d{1,18})\.jpg")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE = 0o600


@contextmanager
def opened(name: str, *, within: int) -> Iterator[int]:
    """Open a folder in the folder `within`. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(name, flags, dir_fd=within)
    try:
        yield fd
    finally:
        os.close(fd)


def numbers(folder: int) -> list[int]:
    """List the numbers of the pictures that are there, from old to new."""
    with os.scandir(folder) as entries:
        found = (_PICTURE.fullmatch(entry.name) for entry in entries)
        return sorted(int(each[1]) for each in found if each)


def size_bytes(folder: int) -> int:
    """Return what all files in a folder occupy on the disk."""
    with os.scandir(folder) as entries:
        return sum(blocks(entry.stat(follow_symlinks=False).st_size) for entry in entries)


def blocks(size: int) -> int:
    """Return what a file of that size occupies on the disk."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def lines_bytes(folder: int) -> int:
    """Return the size of the file with the lines."""
    try:
        return os.stat(LINES, dir_fd=folder, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def read_lines(folder: int) -> bytes:
    """Read the lines; none if there are none."""
    try:
        return read_file(LINES, folder, most_bytes=_READ_BYTES)
    except FileNotFoundError:
        return b""


def read_picture(number: int, folder: int) -> bytes:
    """Read a picture. Raises OSError."""
    return read_file(f"{number}.jpg", folder, most_bytes=64 << 20)


def read_file(name: str, folder: int, *, most_bytes: int) -> bytes:
    """Read a file, unless it is a link, a pipe or a device. Raises OSError."""
    with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a file", name)
        return file.read(min(most_bytes, status.st_size))


def append_line(line: bytes, folder: int, *, before: bytes) -> None:
    """Write a line at the end of the lines, `before`; nothing is left of it if that fails."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(LINES, flags, _MODE, dir_fd=folder)
    try:
        size = os.fstat(fd).st_size
        # A torn line would spoil this one, too.
        torn = bool(before) and not before.endswith(b"\n")
        try:
            _write_all(fd, b"\n" + line if torn else line)
            os.fsync(fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)


def lines_are_long(folder: int, *, more: int) -> bool:
    """Tell whether the lines have to be written anew before `more` bytes are added to them."""
    return lines_bytes(folder) + more + 1 > _COMPACTED_BYTES


def replace_lines(content: bytes, folder: int) -> None:
    """Write all lines anew. Raises OSError, and then they are as before."""
    write_part(LINES, content, folder)
    publish(LINES, folder)


def write_part(name: str, content: bytes, folder: int) -> None:
    """Write a file under another name, until publish() gives it its own. Raises OSError."""
    part = name + _PART
    remove(part, folder)
    fd = os.open(part, _CREATE, _MODE, dir_fd=folder)
    try:
        _write_all(fd, content)
        own(fd, like=folder)
        os.fsync(fd)
    except OSError:
        remove(part, folder)
        raise
    finally:
        os.close(fd)


def publish(name: str, folder: int) -> None:
    """Give a file that was written its name, for good. Raises OSError."""
    os.rename(name + _PART, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def remove(name: str, folder: int) -> bool:
    """Remove a file; return whether it was there. Raises OSError."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def remove_parts(folder: int) -> None:
    """Remove what a power cut has left of a picture. Raises OSError."""
    with os.scandir(folder) as entries:
        parts = [entry.name for entry in entries if entry.name.endswith(_PART)]
    for name in parts:
        remove(name, folder)


def remove_folder(name: str, *, within: int) -> int:
    """Remove a folder with its files; return how many pictures that were. Raises OSError."""
    with opened(name, within=within) as folder:
        count = len(numbers(folder))
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        # The lines last: without them nobody knows what the pictures show.
        for each in sorted(names, key=lambda each: each == LINES):
            remove(each, folder)
    os.rmdir(name, dir_fd=within)
    return count


def own(fd: int, *, like: int) -> None:
    """Let a file belong to the owner of a folder, if root has made it."""
    if os.geteuid() == 0:
        owner = os.fstat(like)
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
