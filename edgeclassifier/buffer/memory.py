"""Messages in order in memory: a queue, one that knows what of it is on disk, and the buffer."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.contract.status import BufferStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeclassifier.contract.messages import Message

_OVERHEAD_BYTES = 400
"""What one message takes in memory beside its topic and payload."""
_MIN_FORGET_S = 1.0
"""How long what has gone may stay on disk if nothing else is written."""


def memory_bytes(message: Message) -> int:
    """Return what a message takes in memory, about."""
    return _OVERHEAD_BYTES + len(message.topic) + len(message.payload)


class Queue:
    """Messages in order: those under way, and those that wait.

    When they take more than `max_bytes`, the oldest that wait are dropped; never the newest.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.bytes = self.dropped = 0
        self._max_bytes = max_bytes
        self._waiting: deque[Kept] = deque()
        self._under_way: dict[int, Kept] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._under_way) + len(self._waiting)

    def __iter__(self) -> Iterator[Kept]:
        """Go through all messages, from old to new."""
        both = (*self._under_way.values(), *self._waiting)
        return iter(sorted(both, key=lambda kept: kept.number))

    @property
    def under_way(self) -> tuple[int, ...]:
        """The numbers of the messages under way, in order."""
        return tuple(sorted(self._under_way))

    @property
    def first_waiting(self) -> int:
        """Number of the oldest message that is still waiting, or of the next to come."""
        return self._waiting[0].number if self._waiting else self._next

    def add(self, message: Message, *, size_bytes: int) -> int:
        """Append the newest message, unless it alone exceeds the limit; return its number."""
        number = self._next
        self._next += 1
        if size_bytes > self._max_bytes:
            self.dropped += 1
        else:
            kept = Kept(message, number=number, size_bytes=size_bytes)
            self._waiting.append(kept)
            self._count_in(kept)
            self._trim()
        return number

    def prepend(self, earlier: Sequence[Kept]) -> None:
        """Let messages of earlier runs, from old to new, wait before all others."""
        self._waiting.extendleft(reversed(earlier))
        self.bytes += sum(kept.size_bytes for kept in earlier)
        self._trim()

    def peek(self) -> Kept | None:
        """Return what take() would."""
        return self._waiting[0] if self._waiting else None

    def take(self) -> Kept | None:
        """Move the oldest message that waits under way."""
        if not self._waiting:
            return None
        kept = self._waiting.popleft()
        self._under_way[kept.number] = kept
        return kept

    def put_back(self) -> None:
        """Let everything under way wait again, each in its place."""
        if self._under_way:
            self._waiting = deque(self)
            self._under_way.clear()

    def remove(self, kept: Kept) -> bool:
        """Forget a message that was taken; False if it has gone before."""
        if self._under_way.pop(kept.number, None) is None:
            return False
        self._count_out(kept)
        return True

    def passed(self, number: int) -> bool:
        """Whether neither this message nor an older one is still to be taken."""
        return number < self.first_waiting

    def _trim(self) -> None:
        while self.bytes > self._max_bytes and len(self._waiting) > 1:
            self._count_out(self._waiting.popleft())
            self.dropped += 1

    def _count_in(self, kept: Kept) -> None:
        self.bytes += kept.size_bytes

    def _count_out(self, kept: Kept) -> None:
        self.bytes -= kept.size_bytes


class Ledger(Queue):
    """Says what is to be written, and when. Times are on the monotonic clock."""

    def __init__(self, *, max_bytes: int, write_interval_s: float, chunk_bytes: int) -> None:
        """Messages are due after `write_interval_s`, or when they are `chunk_bytes`."""
        super().__init__(max_bytes=max_bytes)
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
            max_bytes -= kept.size_bytes
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
        self._unwritten_bytes = self.bytes
        self.note_stale()

    def settle(self, kept: Kept) -> None:
        """Note that a message is written, or has gone; if both, the disk holds what has gone."""
        if self._unwritten.pop(kept, None) is None:
            self.note_stale()
        else:
            self._unwritten_bytes -= kept.size_bytes

    def _count_in(self, kept: Kept) -> None:
        super()._count_in(kept)
        self._unwritten[kept] = time.monotonic() + self._write_interval_s
        self._unwritten_bytes += kept.size_bytes

    def _count_out(self, kept: Kept) -> None:
        super()._count_out(kept)
        self.settle(kept)


class MemoryBuffer:
    """Keeps messages in memory.

    A message that alone is larger than the limit is dropped; else the limit may be exceeded by
    one message, if everything older is under way.
    """

    def __init__(self, *, max_bytes: int) -> None:
        """Count against `max_bytes` topics, payloads, and an overhead for each message."""
        if max_bytes < 1:
            raise ValueError(f"a buffer of {max_bytes} bytes holds nothing")
        self._lock = threading.Lock()
        self._queue = Queue(max_bytes=max_bytes)

    def start(self, *, on_ready: Callable[[], None]) -> None:
        """Do nothing: what is in memory is always ready."""

    def add(self, message: Message) -> int:
        """Keep a message and return its number; the oldest give way."""
        with self._lock:
            return self._queue.add(message, size_bytes=memory_bytes(message))

    def take(self) -> Kept | None:
        """Return the oldest message that is not under way; it is under way then."""
        with self._lock:
            return self._queue.take()

    def passed(self, number: int) -> bool:
        """Whether neither this message nor an older one is still to be taken."""
        with self._lock:
            return self._queue.passed(number)

    def put_back(self) -> None:
        """Let everything under way be taken again, in order."""
        with self._lock:
            self._queue.put_back()

    def remove(self, kept: Kept) -> None:
        """Forget a message."""
        with self._lock:
            self._queue.remove(kept)

    def close(self, *, timeout_s: float) -> None:
        """Do nothing: what is in memory ends with the process."""

    def status(self) -> BufferStatus:
        """Return how many messages there are and were."""
        with self._lock:
            return BufferStatus(
                pending=len(self._queue),
                pending_bytes=self._queue.bytes,
                dropped=self._queue.dropped,
                storage="memory",
            )
