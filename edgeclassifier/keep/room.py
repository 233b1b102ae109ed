"""How much is kept, and how the oldest make room for the newest."""

import os
import re

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.keep import folder as files

_FOLDER = re.compile(r"0|[1-9]\d{0,14}", re.ASCII)


@plain_data
class Usage(Plain):
    """What is kept."""

    pictures: int
    bytes: int
    """On the disk, the lines included."""


class Room:
    """Measures each folder once, and again when it has changed. All methods may raise OSError."""

    def __init__(self) -> None:
        self._measured: dict[int, tuple[tuple[int, int], Usage]] = {}

    def usage(self, root: int) -> Usage:
        """Measure all that is kept in the open folder `root`."""
        each = [self._measure(root, number) for number in folder_numbers(root)]
        return Usage(
            pictures=sum(one.pictures for one in each), bytes=sum(one.bytes for one in each)
        )

    def make(self, root: int, size: int, *, max_bytes: int) -> bool:
        """Remove the oldest until `size` more bytes fit; return whether they do."""
        if size > max_bytes:
            return False
        folders = folder_numbers(root)
        for gone in self._measured.keys() - set(folders):
            self._measured.pop(gone, None)
        total = size + sum(self._measure(root, number).bytes for number in folders)
        for number in folders:
            if total <= max_bytes:
                break
            total -= _shrink(root, number, total - max_bytes, last=number == folders[-1])
        return total <= max_bytes

    def _measure(self, root: int, number: int) -> Usage:
        with files.opened(str(number), within=root) as folder:
            # A picture that comes or goes changes the time of its folder.
            version = os.fstat(folder).st_mtime_ns, files.lines_bytes(folder)
            known = self._measured.get(number)
            if known is None or known[0] != version:
                used = Usage(pictures=len(files.numbers(folder)), bytes=files.size_bytes(folder))
                self._measured[number] = known = version, used
            return known[1]


def folder_numbers(root: int) -> list[int]:
    """List the numbers of the folders in `root`, from old to new."""
    with os.scandir(root) as entries:
        return sorted(
            int(each.name)
            for each in entries
            if _FOLDER.fullmatch(each.name) and each.is_dir(follow_symlinks=False)
        )


def _shrink(root: int, number: int, surplus: int, *, last: bool) -> int:
    """Remove the oldest of a folder, or all of it; return how many bytes that gave."""
    given = 0
    with files.opened(str(number), within=root) as folder:
        for each in files.numbers(folder):
            if given >= surplus:
                return given
            name = f"{each}.jpg"
            given += files.blocks(os.stat(name, dir_fd=folder, follow_symlinks=False).st_size)
            files.remove(name, folder)
        rest = files.size_bytes(folder)
    if last:
        return given
    files.remove_folder(str(number), within=root)
    return given + rest
