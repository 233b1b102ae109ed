"""Messages in order in memory: a queue, and the buffer."""

from __future__ import annotations

import math
import threading
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.buffer.pictures import Pictures
from edgeclassifier.contract.status import BufferStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from edgeclassifier.contract.messages import Message
    from edgeclassifier.contract.pictures import PictureMissing

_OVERHEAD_BYTES = 400
"""What one message takes in memory beside its topic and payload."""


def memory_bytes(message: Message) -> int:
    """Return what a message takes in memory, about, without its picture."""
    return _OVERHEAD_BYTES + len(message.topic) + len(message.payload)


def picture_bytes(message: Message) -> int:
    """Return what the picture of a message takes in memory, about; 0 if it has none."""
    return 0 if message.picture is None else _OVERHEAD_BYTES + len(message.picture)


def _sorted(messages: Iterable[Kept]) -> list[Kept]:
    return sorted(messages, key=lambda kept: kept.number)


class Queue:
    """Messages in order: those under way, and those that wait.

    When they take more than `max_bytes`, the oldest that wait are dropped; never the newest. When
    their pictures take more than `max_picture_bytes`, the oldest that wait lose theirs.

    Each topic waits in a lane of its own, so that one can be held without the others. While there
    is more of a backlog than a connection should have to catch up with first, what is added gets
    another lane for its topic, which is taken from before the backlog. A retained topic has one
    lane, as an older message must never follow a newer one there; it is the first to catch up.
    """

    def __init__(self, *, max_bytes: int, max_picture_bytes: int = 0) -> None:
        self.bytes = self.dropped = 0
        self.pictures = Pictures(max_bytes=max_picture_bytes)
        self._max_bytes = max_bytes
        self._lanes: dict[tuple[str, bool], deque[Kept]] = {}
        """By topic, and whether what is in it may be taken before the backlog."""
        self._waiting = 0
        self._under_way: dict[int, Kept] = {}
        self._next = 1
        self._backlog_end = self._overtaken_to = -(2**62)
        self._most_in_order: float = math.inf

    def __len__(self) -> int:
        return len(self._under_way) + self._waiting

    def __iter__(self) -> Iterator[Kept]:
        """Go through all messages, from old to new."""
        return iter(_sorted(chain(self._under_way.values(), *self._lanes.values())))

    @property
    def under_way(self) -> tuple[int, ...]:
        """The numbers of the messages under way, in order."""
        return tuple(sorted(self._under_way))

    @property
    def first_waiting(self) -> int:
        """Number of the oldest message that is still waiting, or of the next to come."""
        return min((lane[0].number for lane in self._lanes.values()), default=self._next)

    @property
    def left(self) -> tuple[int, tuple[int, ...]]:
        """A number, and those below it whose messages have not gone; all others below it have."""
        first = self.first_waiting
        if self._overtaken_to < first:
            return first, tuple(number for number in self.under_way if number < first)
        return self._next, tuple(kept.number for kept in self)

    def add(self, message: Message, *, size_bytes: int, picture_bytes: int = 0) -> int:
        """Append the newest message, unless it alone exceeds the limit; return its number."""
        number = self._next
        self._next += 1
        if size_bytes > self._max_bytes:
            self.dropped += 1
        else:
            kept = Kept(message, number=number, size_bytes=size_bytes)
            kept.picture_bytes = picture_bytes
            if picture_bytes > self.pictures.max_bytes:
                kept = self.pictures.without(kept, "buffer")
            overtakes = self._waiting > self._most_in_order and not message.retain
            self._lane(message.topic, overtakes=overtakes).append(kept)
            self._waiting += 1
            self._count_in(kept)
            self._trim()
        return number

    def prepend(self, earlier: Sequence[Kept]) -> None:
        """Let messages of earlier runs, from old to new, wait before all others."""
        for kept in reversed(earlier):
            self._lane(kept.message.topic).appendleft(kept)
        self._waiting += len(earlier)
        self.bytes += sum(kept.size_bytes for kept in earlier)
        self.pictures.count_in_earlier(earlier)
        self._trim()

    def begin(self, *, most_in_order: float) -> int:
        """Call what waits the backlog; return the number of the first message that is not of it.

        While more than `most_in_order` wait, messages that are added need not wait for them.
        """
        self._most_in_order = most_in_order
        for topic in [topic for topic, overtakes in self._lanes if overtakes]:
            both = chain(self._lanes.get((topic, False), ()), self._lanes.pop((topic, True)))
            self._lanes[topic, False] = deque(_sorted(both))
        self._backlog_end = self._next
        return self._next

    def peek(self, *, held: Collection[str] = (), backlog: bool = True) -> Kept | None:
        """Return what take() would."""
        key = self._find(held, backlog=backlog)
        return key and self._lanes[key][0]

    def take(self, *, held: Collection[str] = (), backlog: bool = True) -> Kept | None:
        """Move the oldest message that waits under way, those that may overtake it first.

        Passes over the topics that are `held`, and over the backlog if that is not to be sent.
        """
        key = self._find(held, backlog=backlog)
        if key is None:
            return None
        kept = self._pop(key)
        if self._lanes and kept.number > self.first_waiting:
            self._overtaken_to = max(self._overtaken_to, kept.number)
        self._under_way[kept.number] = kept
        return kept

    def _find(self, held: Collection[str], *, backlog: bool) -> tuple[str, bool] | None:
        catching_up = self._waiting > self._most_in_order
        # Otherwise all wait in order for the oldest.
        backlog = backlog or self.first_waiting >= self._backlog_end
        found = None
        for key, lane in self._lanes.items():
            topic, overtakes = key
            first = lane[0]
            is_new = overtakes or (catching_up and first.number >= self._backlog_end)
            if topic not in held and (backlog or is_new):
                urgent = overtakes or (catching_up and first.message.retain)
                rank = (not urgent, first.number, key)
                found = rank if found is None else min(found, rank)
        return found and found[2]

    def put_back(self, kept: Kept | None = None) -> None:
        """Let everything under way wait again, each in its place; or just one message."""
        returned = list(self._under_way) if kept is None else [kept.number]
        for number in sorted(returned, reverse=True):
            if (again := self._under_way.pop(number, None)) is not None:
                lane = self._lane(again.message.topic)
                place = next(
                    (i for i, other in enumerate(lane) if other.number > number), len(lane)
                )
                lane.insert(place, again)
                self._waiting += 1

    def remove(self, kept: Kept) -> bool:
        """Forget a message that was taken; False if it has gone before."""
        if self._under_way.pop(kept.number, None) is None:
            return False
        self._count_out(kept)
        return True

    def without_picture(self, kept: Kept, reason: PictureMissing) -> Kept:
        """Put a message that says that its picture will not come in place of `kept`."""
        other = self.pictures.without(kept, reason)
        self._count_out(kept)
        if kept.number in self._under_way:
            self._under_way[kept.number] = other
        else:
            lane = next(lane for lane in self._lanes.values() if kept in lane)
            lane[lane.index(kept)] = other
        self._count_in(other)
        return other

    def passed(self, number: int, *, topic: str) -> bool:
        """Whether neither this message of a topic nor an older one is still to be taken."""
        lane = self._lanes.get((topic, False))
        return lane is None or number < lane[0].number

    def _lane(self, topic: str, *, overtakes: bool = False) -> deque[Kept]:
        return self._lanes.setdefault((topic, overtakes), deque())

    def _pop(self, key: tuple[str, bool]) -> Kept:
        lane = self._lanes[key]
        kept = lane.popleft()
        if not lane:
            del self._lanes[key]
        self._waiting -= 1
        return kept

    def _trim(self) -> None:
        while self.bytes > self._max_bytes and self._waiting > 1:
            oldest = min(self._lanes, key=lambda key: self._lanes[key][0].number)
            self._count_out(self._pop(oldest))
            self.dropped += 1
        if self.pictures.bytes > self.pictures.max_bytes:
            for kept in self.pictures.in_excess(self._under_way):
                self.without_picture(kept, "buffer")

    def _count_in(self, kept: Kept) -> None:
        self.bytes += kept.size_bytes
        if kept.picture_bytes:
            self.pictures.count_in(kept)

    def _count_out(self, kept: Kept) -> None:
        self.bytes -= kept.size_bytes
        if kept.picture_bytes:
            self.pictures.count_out(kept)


class MemoryBuffer:
    """Keeps messages in memory.

    A message that alone is larger than the limit is dropped; else the limit may be exceeded by
    one message, if everything older is under way.
    """

    def __init__(self, *, max_bytes: int, max_picture_bytes: int = 0) -> None:
        """Count against `max_bytes` topics, payloads, and an overhead for each message.

        Pictures are counted against `max_picture_bytes`, and never exceed it.
        """
        if max_bytes < 1:
            raise ValueError(f"a buffer of {max_bytes} bytes holds nothing")
        self._lock = threading.Lock()
        self._queue = Queue(max_bytes=max_bytes, max_picture_bytes=max_picture_bytes)

    def start(self, *, on_ready: Callable[[], None]) -> None:
        """Do nothing: what is in memory is always ready."""

    def add(self, message: Message) -> int:
        """Keep a message and return its number; the oldest give way."""
        with self._lock:
            return self._queue.add(
                message, size_bytes=memory_bytes(message), picture_bytes=picture_bytes(message)
            )

    def begin(self, *, most_in_order: float) -> int:
        """Call what waits the backlog, and return the number of the first message after it."""
        with self._lock:
            return self._queue.begin(most_in_order=most_in_order)

    def take(self, *, held: Collection[str] = (), backlog: bool = True) -> Kept | None:
        """Return the oldest message that is not under way; it is under way then."""
        with self._lock:
            return self._queue.take(held=held, backlog=backlog)

    def passed(self, number: int, *, topic: str) -> bool:
        """Whether neither this message of a topic nor an older one is still to be taken."""
        with self._lock:
            return self._queue.passed(number, topic=topic)

    def without_picture(self, kept: Kept, reason: PictureMissing) -> Kept:
        """Let a message under way say that its picture will not come; return it so."""
        with self._lock:
            return self._queue.without_picture(kept, reason)

    def put_back(self, kept: Kept | None = None) -> None:
        """Let everything under way, or one message, be taken again, in order."""
        with self._lock:
            self._queue.put_back(kept)

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
                picture_bytes=self._queue.pictures.bytes,
                pictures_dropped=self._queue.pictures.dropped,
            )
