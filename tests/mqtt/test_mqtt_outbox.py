"""The parts of the session that need no broker."""

import logging
from typing import Literal

import pytest

from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.buffer.parcel import Parcel
from edgeclassifier.contract.messages import Message
from edgeclassifier.host.backoff import Backoff
from edgeclassifier.mqtt.linklog import LinkLog
from edgeclassifier.mqtt.outbox import Outbox


def event(
    payload: bytes = b"",
    *,
    topic: str = "event",
    qos: Literal[0, 1] = 1,
    retain: bool = False,
    keep: bool = False,
) -> Message:
    return Message(topic=topic, payload=payload, qos=qos, retain=retain, keep=keep)


def take_all(outbox: Outbox, window: int = 20) -> list[Parcel]:
    parcels = []
    while (parcel := outbox.take(window=window)) is not None:
        parcels.append(parcel)
    return parcels


def online_outbox(max_queued: int = 100, *, max_bytes: int = 1_000_000) -> Outbox:
    outbox = Outbox(buffer=MemoryBuffer(max_bytes=max_bytes), max_queued=max_queued)
    outbox.go_online()
    return outbox


def test_the_birth_comes_first_in_the_order_of_first_publication() -> None:
    outbox = online_outbox()
    outbox.add(event(b"1"))
    for payload, topic in ((b"online", "availability"), (b"a", "info"), (b"b", "info")):
        outbox.add(event(payload, topic=topic, retain=True))
    assert [p.message.payload for p in take_all(outbox)] == [b"online", b"b", b"1"]


def test_the_window_counts_what_is_not_confirmed() -> None:
    outbox = online_outbox()
    for i in range(5):
        outbox.add(event(b"%d" % i))
    first, second = take_all(outbox, window=2)
    assert outbox.pending == 5
    outbox.confirm(first)
    assert not outbox.refuse(second, "set aside")
    assert [p.message.payload for p in take_all(outbox, window=2)] == [b"2", b"3"]
    assert (outbox.acknowledged, sum(outbox.drops.values()), outbox.pending) == (1, 1, 3)


def test_the_bound_counts_what_is_under_way_and_frees_what_is_confirmed() -> None:
    outbox = online_outbox(max_queued=3)
    assert [outbox.add(event()) for _ in range(5)] == [True, True, True, False, False]
    [parcel] = take_all(outbox, window=1)
    assert not outbox.add(event())
    outbox.confirm(parcel)
    assert outbox.add(event())
    assert outbox.add(event(retain=True)), "a retained message takes the place of its predecessor"


def test_a_lost_connection_returns_what_was_under_way_to_the_front() -> None:
    outbox = online_outbox()
    for i in range(4):
        outbox.add(event(b"%d" % i))
    outbox.add(event(topic="image", qos=0))
    take_all(outbox, window=2)
    outbox.go_offline()
    assert not outbox.online
    outbox.go_online()
    sent = [p.message.topic + p.message.payload.decode() for p in take_all(outbox)]
    assert sent == ["event0", "event1", "event2", "event3", "image"]
    outbox.go_offline()
    assert (outbox.pending, sum(outbox.drops.values())) == (4, 1), "QoS 0 goes out at most once"


def test_after_the_end_only_what_was_accepted_and_the_last_message_leave() -> None:
    outbox = online_outbox(max_queued=1)
    assert outbox.add(event(b"1"))
    outbox.close()
    assert not outbox.add(event(b"3"))
    assert not outbox.add(event(b"4", retain=True))
    assert not outbox.add(event(b"5", keep=True))
    [first] = take_all(outbox)
    outbox.part(last=event(b"2", retain=True))
    [last] = take_all(outbox)
    assert [p.message.payload for p in (first, last)] == [b"1", b"2"]
    assert not outbox.settled
    outbox.confirm(first)
    outbox.confirm(last)
    assert outbox.settled


def test_waits_double_up_to_the_cap_and_start_over() -> None:
    backoff = Backoff(min_s=1, max_s=10, uniform=lambda _low, high: high)
    assert [backoff.next_s() for _ in range(5)] == [2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.next_s() == 2


def test_waits_are_spread_over_the_whole_range() -> None:
    low = Backoff(min_s=1, max_s=10, uniform=lambda low, _high: low)
    assert [low.next_s() for _ in range(5)] == [1] * 5
    assert low.slow_s() == 5
    real = Backoff(min_s=1, max_s=10)
    waits = {real.next_s() for _ in range(100)} | {real.slow_s() for _ in range(100)}
    assert len(waits) > 100
    assert 1 <= min(waits) <= max(waits) <= 10


@pytest.mark.parametrize(("min_s", "max_s"), [(0, 1), (-1, 1), (2, 1)])
def test_a_range_of_waits_is_positive(min_s: float, max_s: float) -> None:
    with pytest.raises(ValueError, match="not 0 <"):
        Backoff(min_s=min_s, max_s=max_s)


class TestLinkLog:
    @pytest.fixture
    def clock(self) -> list[float]:
        return [1000.0]

    @pytest.fixture
    def link(self, clock: list[float], caplog: pytest.LogCaptureFixture) -> LinkLog:
        caplog.set_level(logging.INFO)
        return LinkLog(name="broker", clock=lambda: clock[0])

    def test_each_reason_once_until_the_link_was_good(
        self, link: LinkLog, clock: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        for reason in ("refused", "refused", "reset", "refused"):
            link.down(reason)
            clock[0] += 10
        link.up()
        link.steady()
        link.steady()
        link.down("refused")
        assert [r.getMessage().partition(" (")[0] for r in caplog.records] == [
            "refused",
            "reset",
            "broker: connected again after 40 s",
            "refused",
        ]

    def test_after_a_short_connection_only_a_lasting_one_is_announced(
        self, link: LinkLog, clock: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        link.up()
        for _ in range(3):
            link.down("closed")
            clock[0] += 10
            link.up()
        link.steady()
        assert [r.getMessage().partition(" (")[0] for r in caplog.records] == [
            "broker: connected",
            "closed",
            "broker: connected again after 30 s",
        ]
