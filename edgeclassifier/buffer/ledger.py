"""A queue that knows what of it is on disk."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from edgeclassifier.buffer.memory import Queue

if TYPE_CHECKING:
    from edgeclassifier.buffer.parcel import Kept

_MIN_FORGET_S = 1.0
"""How long what has gone may stay on disk if nothing else is written."""


class Ledger(Queue):
    """Says what is to be written, and when. Times are on the monotonic clock."""

    def __init__(
        self,
        *,
        max_bytes: int,
        max_picture_bytes: int = 0,
        write_interval_s: float,
        chunk_bytes: int,
    ) -> None:
        """Messages are due after `write_interval_s`, or when they are `chunk_bytes`."""
        super().__init__(max_bytes=max_bytes, max_picture_bytes=max_picture_bytes)
        self._write_interval_s = write_interval_s
        self._chunk_bytes = chunk_bytes
        self._unwritten: dict[Kept, float] = {}  # and when each is due
        self._unwritten_bytes = 0
        self._stale_since_s: float | None = None

    @property
    def write_due_s(self) -> float:
        """When the disk has to be brought up to date; infinite if it is."""
        if self._unwritten_bytes >= self._chunk_bytes:
            return 0.0
        due_s = next(iter(self._unwritten.values()), math.inf)
        if self._stale_since_s is not None:
            due_s = min(due_s, self._stale_since_s + max(self._write_interval_s, _MIN_FORGET_S))
        return due_s

    def is_written(self, kept: Kept) -> bool:
        """Whether a message would survive the end of the process."""
        return kept not in self._unwritten

    def begin_write(self, *, max_bytes: int) -> list[Kept]:
        """Return the oldest messages that are not written, about `max_bytes` of them.

        What has gone until now is to be deleted along with writing them.
        """
        self._stale_since_s = None
        batch: list[Kept] = []
        for kept in self._unwritten:
            max_bytes -= kept.all_bytes
            if batch and max_bytes < 0:
                break
            batch.append(kept)
        return batch

    def note_stale(self) -> None:
        """Note that the disk holds what has gone."""
        if self._stale_since_s is None:
            self._stale_since_s = time.monotonic()

    def write_all_again(self) -> None:
        """Note that nothing may be on disk, whatever was written."""
        self._unwritten = dict.fromkeys(self, 0.0)
        self._unwritten_bytes = self.bytes + self.pictures.bytes
        self.note_stale()

    def settle(self, kept: Kept) -> None:
        """Note that a message is written, or has gone; if both, the disk holds what has gone."""
        if self._unwritten.pop(kept, None) is None:
            self.note_stale()
        else:
            self._unwritten_bytes -= kept.all_bytes

    def _count_in(self, kept: Kept) -> None:
        super()._count_in(kept)
        self._unwritten[kept] = time.monotonic() + self._write_interval_s
        self._unwritten_bytes += kept.all_bytes

    def _count_out(self, kept: Kept) -> None:
        super()._count_out(kept)
        self.settle(kept)
