"""A queue that knows which of its messages are on disk; for one thread at a time."""

from __future__ import annotations

import time
from itertools import takewhile
from typing import TYPE_CHECKING

from edgeclassifier.buffer.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeclassifier.buffer.parcel import Kept

_MIN_FORGET_S = 1.0
"""How long what has gone may stay on disk, where nothing else is written."""


class Ledger(Queue):
    """Says what is to be written, and when. Times are on the monotonic clock."""

    def __init__(
        self,
        *,
        max_bytes: int,
        max_memory_bytes: int,
        write_interval_s: float,
        max_unwritten_bytes: int,
    ) -> None:
        """Messages are due after `write_interval_s`, or when there are enough of them."""
        super().__init__()
        self.dropped = 0
        self._max_bytes = max_bytes
        self._max_memory_bytes = max_memory_bytes
        self._write_interval_s = write_interval_s
        self._max_unwritten_bytes = max_unwritten_bytes
        self._unwritten: dict[int, Kept] = {}
        self._unwritten_bytes = 0
        self._stale_since_s: float | None = None

    @property
    def write_due_s(self) -> float:
        """When the disk has to be brought up to date; infinite where it is, or has to wait."""
        due_s = float("inf")
        # In the file, these would be among older ones still to be read, and be sent twice.
        if self.ahead:
            return due_s
        if self._unwritten:
            first = next(iter(self._unwritten.values()))
            due_s = 0.0 if self._unwritten_bytes >= self._max_unwritten_bytes else first.due_s
        if self._stale_since_s is not None:
            due_s = min(due_s, self._stale_since_s + max(self._write_interval_s, _MIN_FORGET_S))
        return due_s

    def append(self, kept: Kept) -> None:
        """Add the newest message."""
        super().append(kept)
        self._add_unwritten(kept)
        self.make_room()

    def make_room(self) -> None:
        """Drop what is too much."""
        dropped = self.trim(max_bytes=self._max_bytes, max_memory_bytes=self._max_memory_bytes)
        self.dropped += len(dropped)

    def next_batch(self, *, max_bytes: int) -> list[Kept]:
        """Return the oldest messages that are not written, about `max_bytes` of them."""
        left_bytes = max_bytes

        def fits(kept: Kept) -> bool:
            nonlocal left_bytes
            is_first, left_bytes = left_bytes == max_bytes, left_bytes - kept.size_bytes
            return is_first or left_bytes >= 0

        return list(takewhile(fits, self._unwritten.values()))

    def forgive_stale(self) -> None:
        """Note that all that has gone until now is being deleted."""
        self._stale_since_s = None

    def note_written(self, batch: Sequence[Kept]) -> None:
        """Note that a batch is on disk. Some of it may have gone in the meantime."""
        for kept in batch:
            kept.written = True
            if kept.gone:
                self.note_stale()
            elif self._unwritten.pop(kept.number, None) is not None:
                self._unwritten_bytes -= kept.size_bytes

    def note_stale(self) -> None:
        """Note that the disk holds what has gone."""
        if self._stale_since_s is None:
            self._stale_since_s = time.monotonic()

    def write_all_again(self) -> None:
        """Note that what is in memory may not be on disk, whatever was written."""
        self._unwritten.clear()
        self._unwritten_bytes = 0
        for kept in self.in_memory():
            kept.written = False
            kept.due_s = 0.0
            self._add_unwritten(kept)
        self.note_stale()

    def _add_unwritten(self, kept: Kept) -> None:
        self._unwritten[kept.number] = kept
        self._unwritten_bytes += kept.size_bytes

    def _count_out(self, kept: Kept) -> None:
        super()._count_out(kept)
        if self._unwritten.pop(kept.number, None) is not None:
            self._unwritten_bytes -= kept.size_bytes
        if kept.written:
            self.note_stale()
