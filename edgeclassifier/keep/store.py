"""A folder of kept pictures: bounded, oldest first, and whole after a power cut.

`<folder>/<n>/` has the pictures from n * 500 on, `<number>.jpg`, and `lines.jsonl` with a line for
each. A picture is kept once it has both; what lacks one of them is left over from a power cut, or
was thrown away. One lock, that of the folder, is held by whatever writes: the daemon, or a command
beside it. Readers need none.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from edgeclassifier.contract.kept import KeptPicture, Wanted
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import KeepError, RequestError
from edgeclassifier.host.durable import flush_folder
from edgeclassifier.keep import folder as files
from edgeclassifier.keep.lines import Lines, label_line, picture_line, read
from edgeclassifier.keep.room import Room, Usage, folder_numbers

PER_FOLDER = 500
_PATIENCE_S = 5.0
_POLL_S = 0.05

P = ParamSpec("P")
T = TypeVar("T")


@plain_data
class Page(Plain):
    """Some of the kept pictures, the newest first."""

    pictures: tuple[KeptPicture, ...]
    before: str | None
    """Where to continue; None at the end."""
    damaged: int
    """Lines that could not be read on the way."""


def _told(
    method: "Callable[Concatenate[Store, P], T]",
) -> "Callable[Concatenate[Store, P], T]":
    """Say in one line what the disk has against it."""

    def call(self: "Store", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except OSError as error:
            raise self._error(error) from None

    return call


class Store:
    """The pictures in one folder. Its methods may be called from any thread.

    They raise KeepError if the disk does not let them.
    """

    def __init__(self, folder: Path) -> None:
        """Touch nothing yet: the folder is made for the first picture."""
        self.folder = folder
        self._room = Room()

    @_told
    def add(self, picture: KeptPicture, jpeg: bytes, *, max_bytes: int) -> KeptPicture:
        """Keep a picture under the next number; the oldest give way until all fit `max_bytes`."""
        with self._locked(make=True) as root:
            number, before = self._next(root)
            digest = hashlib.sha256(jpeg).hexdigest()
            kept = replace(picture, id=str(number), bytes=len(jpeg), sha256=digest)
            line = picture_line(kept)
            size = files.blocks(len(jpeg)) + len(line)
            if not self._room.make(root, size, max_bytes=max_bytes):
                raise KeepError(f"kept pictures in {self.folder}: one is larger than keep.max_mib")
            with self._within(root, number // PER_FOLDER, make=True) as folder:
                files.remove_parts(folder)
                name = f"{number}.jpg"
                files.write_part(name, jpeg, folder)
                try:
                    files.append_line(line, folder, before=before)
                    files.publish(name, folder)
                except OSError:
                    files.remove_parts(folder)
                    raise
            return kept

    @_told
    def usage(self) -> Usage:
        """Measure what is kept. Reads every folder once, and later those that have changed."""
        try:
            with self._root() as root:
                return self._room.usage(root)
        except FileNotFoundError:
            return Usage(pictures=0, bytes=0)

    def pictures(self, *, damaged: list[int] | None = None) -> Iterator[KeptPicture]:
        """Go through what is kept, from new to old, holding one folder's lines at a time.

        Lines that cannot be read are counted in `damaged[0]`. Raises KeepError.
        """
        try:
            for each in self._folders(before=None):
                if damaged is not None:
                    damaged[0] += each.lines.damaged
                yield from each.there(None)
        except OSError as error:
            raise self._error(error) from None

    @_told
    def page(self, wanted: Wanted, *, limit: int, before: int | None, most_folders: int) -> Page:
        """List up to `limit` pictures that are wanted, looking into at most `most_folders`."""
        found: list[KeptPicture] = []
        damaged = 0
        for looked, each in enumerate(self._folders(before=before), 1):
            damaged += each.lines.damaged
            for picture in each.there(before):
                if wanted.fits(picture):
                    if len(found) == limit:
                        return Page(pictures=tuple(found), before=found[-1].id, damaged=damaged)
                    found.append(picture)
            if looked == most_folders and each.number:
                first = str(each.number * PER_FOLDER)
                return Page(pictures=tuple(found), before=first, damaged=damaged)
        return Page(pictures=tuple(found), before=None, damaged=damaged)

    def written(self) -> Iterator[KeptPicture]:
        """Go through what was kept, from new to old, gone or not. Raises KeepError."""
        try:
            for each in self._folders(before=None):
                yield from reversed([*each.lines.pictures.values()])
        except OSError as error:
            raise self._error(error) from None

    @_told
    def jpeg(self, number: int) -> bytes:
        """Read a picture. Raises RequestError if it is not there."""
        with self._known(number), self._root() as root, self._of(number, root) as folder:
            return files.read_picture(number, folder)

    @_told
    def label(self, number: int, label: str | None) -> KeptPicture:
        """Note what a person says of a picture. Raises RequestError if it is not there."""
        with self._known(number), self._locked() as root, self._of(number, root) as folder:
            content = files.read_lines(folder)
            lines = read(content)
            if number not in lines.pictures or number not in files.numbers(folder):
                raise FileNotFoundError
            labelled = replace(lines.pictures[number], label=label)
            if lines.pictures[number].label == label:
                return labelled
            line = label_line(number, label)
            if files.lines_are_long(folder, more=len(line)):
                each = {**lines.pictures, number: labelled}.values()
                files.replace_lines(b"".join(map(picture_line, each)), folder)
            else:
                files.append_line(line, folder, before=content)
            return labelled

    @_told
    def throw_away(self, number: int) -> None:
        """Remove a picture. Raises RequestError if it is not there."""
        with self._known(number), self._locked() as root, self._of(number, root) as folder:
            if not files.remove(f"{number}.jpg", folder):
                raise FileNotFoundError

    @_told
    def clear(self) -> int:
        """Remove all pictures; return how many. Their numbers are not used again."""
        try:
            with self._locked() as root:
                numbers = folder_numbers(root)
                if not numbers:
                    return 0
                with self._within(root, numbers[-1] + 1, make=True):
                    pass
                return sum(files.remove_folder(str(each), within=root) for each in numbers)
        except FileNotFoundError:
            return 0

    # The folder and its lock

    def _error(self, error: OSError) -> KeepError:
        said = error.strerror or str(error)
        return KeepError(f"kept pictures in {self.folder}: {said.lower()}")

    @contextmanager
    def _root(self) -> Iterator[int]:
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _locked(self, *, make: bool = False) -> Iterator[int]:
        if make and not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flush_folder(self.folder.parent)
        with self._root() as root:
            deadline_s = time.monotonic() + _PATIENCE_S
            while not _lock(root):
                if time.monotonic() > deadline_s:
                    raise OSError(errno.EBUSY, "another process is writing there: try again")
                time.sleep(_POLL_S)
            yield root

    def _of(self, number: int, root: int) -> AbstractContextManager[int]:
        return self._within(root, number // PER_FOLDER)

    @contextmanager
    def _within(self, root: int, number: int, *, make: bool = False) -> Iterator[int]:
        name = str(number)
        made = False
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=root)
                made = True
        with files.opened(name, within=root) as folder:
            if made:
                files.own(folder, like=root)
                os.fsync(root)
            yield folder

    @contextmanager
    def _known(self, number: int) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise RequestError(f"no picture {number} is kept here") from None

    # What is in it

    def _folders(self, *, before: int | None) -> "Iterator[_Folder]":
        """Read one folder after the other, from new to old."""
        try:
            with self._root() as root:
                for number in reversed(folder_numbers(root)):
                    if before is None or number * PER_FOLDER < before:
                        yield self._read(root, number)
        except FileNotFoundError:
            return

    def _read(self, root: int, number: int) -> "_Folder":
        try:
            with self._within(root, number) as folder:
                numbers = frozenset(files.numbers(folder))
                lines = read(files.read_lines(folder))
        except FileNotFoundError:  # it has gone meanwhile
            numbers, lines = frozenset(), Lines(pictures={}, damaged=0)
        except OSError:
            numbers, lines = frozenset(), Lines(pictures={}, damaged=1)
        return _Folder(number=number, lines=lines, numbers=numbers)

    def _next(self, root: int) -> tuple[int, bytes]:
        """Return the next number, and the lines of its folder as they are."""
        folders = folder_numbers(root)
        if not folders:
            return 0, b""
        with self._within(root, folders[-1]) as folder:
            content = files.read_lines(folder)
            used = [*files.numbers(folder)[-1:], *list(read(content).pictures)[-1:]]
        number = max([folders[-1] * PER_FOLDER - 1, *used]) + 1
        if number // PER_FOLDER == folders[-1] and len(content) < files.MOST_LINES_BYTES:
            return number, content
        return (folders[-1] + 1) * PER_FOLDER, b""


@plain_data
class _Folder(Plain):
    number: int
    lines: Lines
    numbers: frozenset[int]
    """Of the pictures that are there."""

    def there(self, before: int | None) -> Iterator[KeptPicture]:
        for number, picture in reversed([*self.lines.pictures.items()]):
            if number in self.numbers and (before is None or number < before):
                yield picture


def _lock(root: int) -> bool:
    try:
        fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True
