"""The order of a buffer: a plain data structure, for one thread at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgeclassifier.buffer.parcel import Kept


class Queue:
    """Messages in order, some of which may be elsewhere.

    From old to new: those under way, the head, a gap of messages that are not in memory, and the
    tail. Without a gap there is no tail.
    """

    def __init__(self) -> None:
        self.bytes = 0
        """Of all messages, those in the gap included."""
        self.memory_bytes = 0
        self.head_bytes = 0
        self.gap = 0
        """How many messages are elsewhere."""
        self.ahead: set[int] = set()
        """The numbers of those under way that were taken before something older was found."""
        self._gap_bytes = 0
        self._head: deque[Kept] = deque()
        self._tail: deque[Kept] = deque()
        self._under_way: dict[int, Kept] = {}
        self._head_end = 0
        """Everything up to this number is, or was, in the head."""
        self._next = 1

    def __len__(self) -> int:
        return len(self._under_way) + len(self._head) + self.gap + len(self._tail)

    @property
    def next_number(self) -> int:
        """The number of the next message."""
        return self._next

    @property
    def under_way(self) -> tuple[int, ...]:
        """The numbers of the messages under way, in order."""
        return tuple(sorted(self._under_way))

    @property
    def first_waiting(self) -> int:
        """What is neither under way nor of this number or above has left."""
        if self._head:
            return self._head[0].number
        return self._head_end + 1 if self.gap else self._next

    @property
    def gap_range(self) -> tuple[int, int]:
        """The messages in the gap have numbers between these two."""
        return self._head_end, self._tail[0].number if self._tail else self._next

    def in_memory(self) -> Iterator[Kept]:
        """Go through the messages that are in memory, from old to new."""
        for number in self.under_way:
            yield self._under_way[number]
        yield from self._head
        yield from self._tail

    def append(self, kept: Kept) -> None:
        """Add the newest message; its number is `next_number`."""
        self._next = kept.number + 1
        self._count_in(kept)
        if self.gap:
            self._tail.append(kept)
        else:
            self._append_to_head([kept])

    def skip(self) -> None:
        """Use up a number without a message."""
        self._next += 1

    def peek(self) -> Kept | None:
        """Return what take() would."""
        return self._head[0] if self._head else None

    def take(self) -> Kept | None:
        """Move the oldest message of the head under way."""
        if not self._head:
            return None
        kept = self._pop_head()
        self._under_way[kept.number] = kept
        return kept

    def put_back(self) -> None:
        """Let everything under way wait again, each in its place."""
        returned = [self._under_way.pop(number) for number in self.under_way]
        self.ahead.clear()
        # What was sent before messages of an earlier run were found belongs behind them.
        later = [kept for kept in returned if self.gap and kept.number > self._head_end]
        self._tail.extendleft(reversed(later))
        sooner = returned[: len(returned) - len(later)]
        self.head_bytes += sum(kept.size_bytes for kept in sooner)
        self._head = deque(sorted([*sooner, *self._head], key=lambda kept: kept.number))

    def remove(self, kept: Kept) -> bool:
        """Forget a message that was taken; False where it has gone before."""
        if self._under_way.pop(kept.number, None) is None:
            return False
        self.ahead.discard(kept.number)
        self._count_out(kept)
        return True

    def passed(self, number: int) -> bool:
        """Whether neither this message nor an older one is still to be taken."""
        return number < self.first_waiting

    def trim(self, *, max_bytes: int, max_memory_bytes: int) -> list[Kept]:
        """Drop the oldest that wait until the rest fits, or is elsewhere; never the newest."""
        dropped = []
        while len(self._head) + self.gap + len(self._tail) > 1:
            crowded = self.memory_bytes > max_memory_bytes
            if self._head and (crowded or self.bytes > max_bytes):
                kept = self._pop_head()
            elif self._tail and crowded:
                kept = self._tail.popleft()
            else:
                break
            self._count_out(kept)
            dropped.append(kept)
        return dropped

    def evict(self, *, keep_bytes: int) -> None:
        """Forget what is written, so that it is in the gap: all but the first `keep_bytes`."""
        if not self.gap:
            rest = self._split_head(keep_bytes)
            if not rest or not rest[0].written:
                self._append_to_head(rest)
                return
            self._tail.extend(rest)
            self._head_end = rest[0].number - 1
        while self._tail and self._tail[0].written:
            kept = self._tail.popleft()
            self.gap += 1
            self._gap_bytes += kept.size_bytes
            self.memory_bytes -= kept.size_bytes

    def fill(self, loaded: Sequence[Kept], *, end: int, is_all: bool) -> None:
        """Move messages from the beginning of the gap to the head.

        The gap then begins after the number `end`; `is_all` closes it.
        """
        size_bytes = sum(kept.size_bytes for kept in loaded)
        self._append_to_head(loaded)
        self.memory_bytes += size_bytes
        self._gap_bytes -= size_bytes
        self._head_end = end
        self.gap = max(1, self.gap - len(loaded))
        if is_all:
            self.give_up_gap()

    def give_up_gap(self) -> int:
        """Close the gap without what was in it; return how many messages that were."""
        lost = self.gap
        self.bytes -= self._gap_bytes
        self.gap = self._gap_bytes = 0
        self._append_to_head(self._tail)
        self._tail.clear()
        return lost

    def find_gap(self, *, after: int, count: int, size_bytes: int) -> None:
        """Learn that `count` messages are elsewhere, from the number `after` + 1 on.

        They come before everything in memory that is not older.
        """
        while self._head and self._head[-1].number > after:
            kept = self._head.pop()
            self.head_bytes -= kept.size_bytes
            self._tail.appendleft(kept)
        self.bytes += size_bytes - self._gap_bytes
        self.gap, self._gap_bytes, self._head_end = count, size_bytes, after
        self.ahead = {number for number in self._under_way if number > after}
        if not count:
            self.give_up_gap()

    def _split_head(self, keep_bytes: int) -> list[Kept]:
        rest: list[Kept] = []
        while self._head and self.head_bytes > keep_bytes:
            kept = self._head.pop()
            self.head_bytes -= kept.size_bytes
            rest.append(kept)
        rest.reverse()
        return rest

    def _append_to_head(self, more: Iterable[Kept]) -> None:
        for kept in more:
            self._head.append(kept)
            self.head_bytes += kept.size_bytes
            self._head_end = kept.number

    def _pop_head(self) -> Kept:
        kept = self._head.popleft()
        self.head_bytes -= kept.size_bytes
        return kept

    def _count_in(self, kept: Kept) -> None:
        self.bytes += kept.size_bytes
        self.memory_bytes += kept.size_bytes

    def _count_out(self, kept: Kept) -> None:
        self.bytes -= kept.size_bytes
        self.memory_bytes -= kept.size_bytes
        kept.gone = True
