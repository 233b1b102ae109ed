"""The order and the limits of a buffer, and the buffer in memory."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.pictured import pictured

from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.buffer.ledger import Ledger
from edgeclassifier.buffer.memory import Queue
from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.contract.messages import Message
from edgeclassifier.contract.pictures import named


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
    assert all(buffer.passed(number, topic="t") for number in numbers)
    buffer.remove(second)
    buffer.remove(second)
    buffer.put_back()
    assert [int(kept.message.payload) for kept in taken(buffer)] == [0, 2, 3, 4]
    assert buffer.status().pending == 4
    buffer.put_back()
    assert buffer.take() is first
    assert not buffer.passed(numbers[-1], topic="t")


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

    Pictures never exceed their share, and push out no message.

    Whatever the order of events, and whenever messages of an earlier run are found: messages leave
    in order, none twice but after put_back(), none is missing that was not dropped, and the sums
    are right.
    """

    max_bytes = 1500
    max_picture_bytes = 900

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(
            max_bytes=self.max_bytes,
            max_picture_bytes=self.max_picture_bytes,
            write_interval_s=1,
            chunk_bytes=1000,
        )
        self.disk: dict[int, Kept] = {}
        self.count = self.removed = self.returned_bytes = 0
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
        earlier = [
            Kept(message(), number=number, size_bytes=size)
            for number, size in enumerate(sizes, start=1 - len(sizes))
        ]
        self.disk.update((kept.number, kept) for kept in earlier)
        self.count += len(sizes)
        self.ledger.prepend(earlier)
        self.returned_bytes = 0
        self.last_taken = -1000

    @rule(size=st.integers(10, 400), picture_bytes=st.just(0) | st.integers(100, 1000))
    def add(self, size: int, picture_bytes: int) -> None:
        new = pictured(self.count) if picture_bytes else message()
        self.ledger.add(new, size_bytes=size, picture_bytes=picture_bytes)
        self.returned_bytes = 0
        self.count += 1

    @rule()
    def take(self) -> None:
        waiting = [kept.number for kept in self.ledger if kept.number not in self.under_way]
        kept = self.ledger.take()
        assert (kept is None) == (not waiting)
        if kept is not None:
            assert kept.number > self.last_taken, "out of order"
            assert kept.number == waiting[0], "not the oldest"
            self.last_taken = kept.number
            self.under_way[kept.number] = kept

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        kept = self.under_way.pop(data.draw(st.sampled_from(list(self.under_way))))
        assert self.ledger.remove(kept)
        self.removed += 1
        assert not self.ledger.remove(kept)

    @precondition(lambda self: any(kept.picture_bytes for kept in self.under_way.values()))
    @rule()
    def refuse_a_picture(self) -> None:
        number, kept = next((n, k) for n, k in self.under_way.items() if k.picture_bytes)
        self.under_way[number] = self.ledger.without_picture(kept, "refused")

    @rule()
    def put_back(self) -> None:
        self.ledger.put_back()
        self.returned_bytes += sum(kept.size_bytes for kept in self.under_way.values())
        if self.under_way:
            self.last_taken = min(self.last_taken, min(self.under_way) - 1)
        self.under_way.clear()

    @precondition(lambda self: self.is_open)
    @rule(size=st.integers(10, 2000))
    def write(self, size: int) -> None:
        if self.ledger.write_due_s == float("inf"):
            return
        before, keep = self.ledger.left
        batch = self.ledger.begin_write(max_bytes=size)
        self.disk = {n: k for n, k in self.disk.items() if n >= before or n in keep}
        self.disk |= {kept.number: kept for kept in batch}
        for kept in batch:
            self.ledger.settle(kept)

    @precondition(lambda self: self.is_open)
    @rule()
    def write_all_again(self) -> None:
        self.ledger.write_all_again()
        self.disk.clear()

    @invariant()
    def sums_are_right(self) -> None:
        messages = list(self.ledger)
        numbers = [kept.number for kept in messages]
        assert numbers == sorted(set(numbers))
        assert self.under_way.keys() <= set(numbers)
        assert len(self.ledger) == len(messages)
        assert len(messages) + self.removed + self.ledger.dropped == self.count
        assert self.ledger.bytes == sum(kept.size_bytes for kept in messages)
        newest = messages[-1].size_bytes if messages else 0
        way = sum(kept.size_bytes for kept in self.under_way.values()) + self.returned_bytes
        assert self.ledger.bytes <= max(self.max_bytes, way + newest)
        assert all(
            self.disk.get(kept.number) is kept for kept in messages if self.ledger.is_written(kept)
        )

    @invariant()
    def pictures_have_a_bound_and_messages_say_what_became_of_theirs(self) -> None:
        messages = list(self.ledger)
        pictures = self.ledger.pictures
        assert pictures.bytes == sum(kept.picture_bytes for kept in messages)
        assert pictures.bytes <= self.max_picture_bytes
        for kept in messages:
            assert (kept.picture_bytes > 0) == (kept.message.picture is not None)
            assert (named(kept.message) is None) == (kept.message.picture is None)

    @invariant()
    def what_is_not_on_disk_is_due(self) -> None:
        unwritten = [kept for kept in self.ledger if not self.ledger.is_written(kept)]
        numbers = {kept.number for kept in self.ledger}
        oldest = min(numbers, default=self.ledger.first_waiting)
        # What has gone may stay as long as an older one: writing has to wait for that.
        if unwritten or any(number < oldest for number in self.disk.keys() - numbers):
            assert self.ledger.write_due_s < float("inf")


class LaneMachine(RuleBasedStateMachine):
    """A queue whose topics are held and whose backlog is passed over, against a list.

    None is lost or taken twice, a retained topic is never out of order, and what has gone is known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(max_bytes=10_000)
        self.waiting: dict[int, Message] = {}
        self.under_way: dict[int, Kept] = {}
        self.newest: dict[str, int] = {}

    @rule(topic=st.sampled_from(["a", "b", "state"]))
    def add(self, topic: str) -> None:
        new = Message(topic=topic, payload=b"", keep=True, retain=topic == "state")
        self.waiting[self.queue.add(new, size_bytes=1)] = new

    @rule(most=st.integers(0, 5))
    def begin(self, most: int) -> None:
        self.put_back()
        self.queue.begin(most_in_order=most)

    @rule(held=st.sets(st.sampled_from(["a", "b", "state"])), backlog=st.booleans())
    def take(self, held: set[str], backlog: bool) -> None:
        kept = self.queue.take(held=held, backlog=backlog)
        possible = {n for n, each in self.waiting.items() if each.topic not in held}
        if kept is None:
            assert not (possible and backlog)
            return
        assert kept.number in possible
        del self.waiting[kept.number]
        self.under_way[kept.number] = kept
        if kept.message.retain:
            assert kept.number > self.newest.get("state", 0), "an old state after a new one"
            self.newest["state"] = kept.number

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), remove=st.booleans())
    def answer(self, data: st.DataObject, remove: bool) -> None:
        kept = self.under_way.pop(data.draw(st.sampled_from(list(self.under_way))))
        if remove:
            assert self.queue.remove(kept)
        else:
            self.queue.put_back(kept)
            self._returned(kept)

    @rule()
    def put_back(self) -> None:
        self.queue.put_back()
        for kept in self.under_way.values():
            self._returned(kept)
        self.under_way.clear()

    def _returned(self, kept: Kept) -> None:
        self.waiting[kept.number] = kept.message
        if kept.message.retain:
            self.newest["state"] = min(self.newest.get("state", 0), kept.number - 1)

    @invariant()
    def nothing_is_lost(self) -> None:
        numbers = [kept.number for kept in self.queue]
        assert numbers == sorted(self.waiting.keys() | self.under_way.keys())
        assert len(self.queue) == len(numbers)

    @invariant()
    def what_has_gone_is_known(self) -> None:
        before, left = self.queue.left
        alive = {kept.number for kept in self.queue}
        assert set(left) == {number for number in alive if number < before}


TestLanes = LaneMachine.TestCase
TestLanes.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
