"""The order and the limits of a buffer, and the buffer in memory."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.buffer.ledger import Ledger
from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.contract.message import Message


def message(payload: bytes = b"", *, topic: str = "t") -> Message:
    return Message(topic=topic, payload=payload, keep=True)


def taken(buffer: MemoryBuffer) -> Iterator[Kept]:
    while (kept := buffer.take()) is not None:
        yield kept


def test_messages_leave_in_order_and_only_when_removed() -> None:
    buffer = MemoryBuffer(max_bytes=1_000_000)
    numbers = [buffer.add(message(b"%d" % i)) for i in range(5)]
    first, second, *_ = list(taken(buffer))
    assert buffer.status().pending == 5
    assert all(buffer.passed(number) for number in numbers)
    buffer.remove(second)
    buffer.remove(second)
    buffer.put_back()
    assert [int(kept.message.payload) for kept in taken(buffer)] == [0, 2, 3, 4]
    assert buffer.status().pending == 4
    buffer.put_back()
    assert buffer.take() is first
    assert not buffer.passed(numbers[-1])


def test_the_oldest_gives_way_to_the_newest_and_is_counted() -> None:
    buffer = MemoryBuffer(max_bytes=10_000)
    for i in range(100):
        buffer.add(message(b"%d" % i + bytes(500)))
    status = buffer.status()
    assert status.pending_bytes <= 10_000
    assert status.pending + status.dropped == 100
    left = [kept.number for kept in taken(buffer)]
    assert left == list(range(101 - status.pending, 101))
    assert (status.storage, status.problem, status.commits) == ("memory", None, 0)


def test_what_is_under_way_is_never_dropped() -> None:
    buffer = MemoryBuffer(max_bytes=5_000)
    buffer.add(message(bytes(1000)))
    buffer.add(message(bytes(1000)))
    first = buffer.take()
    for _ in range(50):
        buffer.add(message(bytes(1000)))
    buffer.put_back()
    assert buffer.take() is first
    following = buffer.take()
    assert following is not None
    assert following.number > 40


def test_the_newest_is_kept_where_all_others_are_under_way() -> None:
    buffer = MemoryBuffer(max_bytes=1_500)
    buffer.add(message(bytes(1000)))
    buffer.take()
    newest = buffer.add(message(bytes(1000)))
    assert (buffer.status().pending, buffer.status().dropped) == (2, 0)
    kept = buffer.take()
    assert kept is not None
    assert kept.number == newest


def test_a_message_larger_than_the_whole_buffer_drops_nothing_else() -> None:
    buffer = MemoryBuffer(max_bytes=2_000)
    buffer.add(message(b"small"))
    buffer.add(message(bytes(2_000)))
    assert [kept.message.payload for kept in taken(buffer)] == [b"small"]
    assert buffer.status().dropped == 1


def test_a_buffer_holds_something() -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        MemoryBuffer(max_bytes=0)


class LedgerMachine(RuleBasedStateMachine):
    """A ledger with a disk that is a dictionary, against a list.

    Whatever the order of events, and whenever messages of an earlier run are found: messages leave
    in order, none twice but after put_back(), none is missing that was not dropped, and the sums
    are right.
    """

    max_bytes, max_memory_bytes, keep_bytes = 3000, 1500, 300

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(
            max_bytes=self.max_bytes,
            max_memory_bytes=self.max_memory_bytes,
            write_interval_s=1,
            max_unwritten_bytes=1000,
        )
        self.disk: dict[int, Kept] = {}
        self.count = self.removed = self.returned_bytes = 0
        self.delivered: set[int] = set()
        self.is_open = False
        self.under_way: dict[int, Kept] = {}
        self.last_taken = -1000

    @initialize(is_open=st.booleans())
    def begin(self, is_open: bool) -> None:
        self.is_open = is_open

    @precondition(lambda self: not self.is_open and self.under_way)
    @rule(sizes=st.lists(st.integers(10, 100), min_size=1, max_size=9))
    def open_late(self, sizes: list[int]) -> None:
        self.is_open = True
        for number, size in enumerate(sizes, start=1 - len(sizes)):
            self.disk[number] = Kept(message(), number=number, size_bytes=size)
        self.count += len(sizes)
        self.ledger.find_gap(after=-len(sizes), count=len(sizes), size_bytes=sum(sizes))
        self.last_taken = -1000

    @rule(size=st.integers(10, 400))
    def add(self, size: int) -> None:
        kept = Kept(message(), number=self.ledger.next_number, size_bytes=size, due_s=1)
        self.ledger.append(kept)
        self.returned_bytes = 0
        self.count += 1

    @rule()
    def take(self) -> None:
        kept = self.ledger.take()
        if kept is not None:
            assert kept.number > self.last_taken, "out of order"
            waiting = [n for n in self.numbers() if n not in self.under_way]
            assert kept.number == waiting[0], "not the oldest"
            self.last_taken = kept.number
            self.under_way[kept.number] = kept

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(list(self.under_way)))
        # What is confirmed out of order may return where the connection breaks.
        if number == next(iter(self.under_way)):
            self.delivered.add(number)
        kept = self.under_way.pop(number)
        assert self.ledger.remove(kept)
        self.removed += 1
        assert not self.ledger.remove(kept)

    @rule()
    def put_back(self) -> None:
        self.ledger.put_back()
        self.returned_bytes += sum(kept.size_bytes for kept in self.under_way.values())
        if self.under_way:
            self.last_taken = min(self.last_taken, min(self.under_way) - 1)
        self.under_way.clear()

    @precondition(lambda self: self.is_open)
    @rule(size=st.integers(10, 2000), evict=st.booleans())
    def write(self, size: int, evict: bool) -> None:
        if self.ledger.write_due_s == float("inf"):
            return
        batch = self.ledger.next_batch(max_bytes=size)
        before, keep = self.ledger.first_waiting, self.ledger.under_way
        self.ledger.forgive_stale()
        self.disk = {n: k for n, k in self.disk.items() if n >= before or n in keep}
        self.disk |= {kept.number: kept for kept in batch}
        self.ledger.note_written(batch)
        if evict:
            self.ledger.evict(keep_bytes=self.keep_bytes)

    @precondition(lambda self: self.ledger.gap)
    @rule(limit=st.integers(1, 5))
    def load(self, limit: int) -> None:
        after, before = self.ledger.gap_range
        found = [self.disk[number] for number in sorted(self.disk) if after < number < before]
        loaded, is_all = found[:limit], len(found) <= limit
        fresh = [
            Kept(k.message, number=k.number, size_bytes=k.size_bytes, written=True) for k in loaded
        ]
        self.ledger.fill(fresh, end=fresh[-1].number if fresh else before - 1, is_all=is_all)
        self.ledger.make_room()

    def to_read(self) -> set[int]:
        if not self.ledger.gap:
            return set()
        after, before = self.ledger.gap_range
        return {number for number in self.disk if after < number < before}

    def numbers(self) -> list[int]:
        """What is in the buffer, in memory or only on disk."""
        return sorted({kept.number for kept in self.ledger.in_memory()} | self.to_read())

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        assert not self.to_read() & (self.delivered | self.under_way.keys())

    @invariant()
    def sums_are_right(self) -> None:
        in_memory = list(self.ledger.in_memory())
        assert self.ledger.memory_bytes == sum(kept.size_bytes for kept in in_memory)
        waiting = [kept.number for kept in in_memory if kept.number not in self.under_way]
        assert waiting == sorted(waiting)
        assert len(self.ledger) >= len(in_memory)
        assert len(self.numbers()) + self.removed + self.ledger.dropped >= self.count
        if not self.ledger.gap:
            assert self.ledger.bytes == self.ledger.memory_bytes
            newest = in_memory[-1].size_bytes if in_memory else 0
            way = sum(kept.size_bytes for kept in self.under_way.values()) + self.returned_bytes
            assert self.ledger.bytes <= max(self.max_memory_bytes, way + newest)
        assert all(kept.number in self.disk for kept in in_memory if kept.written)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
