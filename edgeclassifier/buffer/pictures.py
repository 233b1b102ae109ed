"""The pictures of the messages in a queue: bounded on their own, so they push out no message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.contract.pictures import without_picture

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from edgeclassifier.contract.pictures import PictureMissing


class Pictures:
    """Counts pictures, and says which one gives way."""

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = self.dropped = 0
        self._owners: dict[int, Kept] = {}
        """Messages that have a picture, from old to new, by number."""

    def count_in(self, kept: Kept) -> None:
        """Count the picture of the newest message."""
        self._owners[kept.number] = kept
        self.bytes += kept.picture_bytes

    def count_in_earlier(self, earlier: Iterable[Kept]) -> None:
        """Count the pictures of messages that are older than all others."""
        owners = {kept.number: kept for kept in earlier if kept.picture_bytes}
        self._owners = owners | self._owners
        self.bytes += sum(kept.picture_bytes for kept in owners.values())

    def count_out(self, kept: Kept) -> None:
        """Count a picture no more."""
        if self._owners.pop(kept.number, None) is not None:
            self.bytes -= kept.picture_bytes

    def in_excess(self, under_way: Container[int]) -> list[Kept]:
        """List the messages whose pictures are to give way: the oldest that are not under way."""
        excess_bytes, found = self.bytes - self.max_bytes, []
        for number, kept in self._owners.items():
            if excess_bytes <= 0:
                break
            if number not in under_way:
                found.append(kept)
                excess_bytes -= kept.picture_bytes
        return found

    def without(self, kept: Kept, reason: PictureMissing) -> Kept:
        """Return a message that says that its picture will not come, in place of `kept`."""
        self.dropped += 1
        return Kept(
            without_picture(kept.message, reason),
            number=kept.number,
            size_bytes=kept.size_bytes,
        )
