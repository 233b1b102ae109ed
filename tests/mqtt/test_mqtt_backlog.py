"""What waited for a broker leaves at a rate that it bears, and what is new does not wait for it."""

import itertools
import statistics
import threading
import time
from collections.abc import Iterator

import pytest
from support.brokers import free_port, wait_until
from support.scripted_broker import Answer, Link, Published, ScriptedBroker
from support.sessions import MakeSession, access, sessions

from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.buffer.parcel import Kept, Parcel
from edgeclassifier.contract.messages import Message
from edgeclassifier.mqtt.holds import Holds
from edgeclassifier.mqtt.outbox import Outbox
from edgeclassifier.mqtt.pace import Pace
from edgeclassifier.mqtt.session import Session
from edgeclassifier.mqtt.suspects import LeftOut, Suspects


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions(max_queued=100) as make:
        yield make


def kept(number: int, *, topic: str = "n", retain: bool = False) -> Message:
    return Message(topic=topic, payload=b"%d" % number, keep=True, retain=retain)


def go_to(session: Session, broker: ScriptedBroker) -> None:
    session.switch(access(broker.port), will=None, farewell=None)


def numbers(broker: ScriptedBroker, topic: str = "n") -> list[int]:
    return [int(payload) for payload in broker.payloads(topic)]


def test_a_backlog_leaves_at_its_rate_in_order(make_session: MakeSession) -> None:
    with ScriptedBroker() as broker:
        session = make_session(free_port(), backlog_rate_hz=100.0)
        for number in range(200):
            session.publish(kept(number))
        go_to(session, broker)
        assert wait_until(lambda: session.pending == 0)
        assert numbers(broker) == list(range(200))
        times = [message.at_s for message in broker.messages]
        # Less a burst of a fifth of a second.
        assert times[-1] - times[0] > (200 - 20) / 100 * 0.95
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert statistics.median(gaps[30:]) > 0.005


def test_a_short_backlog_is_overtaken_by_nothing(make_session: MakeSession) -> None:
    with ScriptedBroker() as broker:
        session = make_session(free_port(), backlog_rate_hz=50.0)
        for number in range(60):
            session.publish(kept(number))
        go_to(session, broker)
        assert wait_until(lambda: session.connected)
        for number in range(60, 80):
            session.publish(kept(number, topic="other" if number % 2 else "n"))
        session.publish(kept(80, topic="state", retain=True))
        assert wait_until(lambda: session.pending == 0)
        assert [int(message.payload) for message in broker.messages] == list(range(81))


def test_without_a_limit_it_leaves_at_once(make_session: MakeSession) -> None:
    with ScriptedBroker() as broker:
        session = make_session(free_port())
        for number in range(2000):
            session.publish(kept(number))
        go_to(session, broker)
        assert wait_until(lambda: session.pending == 0)
        assert numbers(broker) == list(range(2000))


def test_new_messages_overtake_a_long_backlog_and_states_never_do(
    make_session: MakeSession,
) -> None:
    with ScriptedBroker() as broker:
        session = make_session(free_port(), backlog_rate_hz=50.0)
        for number in range(2000):
            session.publish(kept(number))
            if number % 100 == 0:
                session.publish(kept(number, topic="state", retain=True))
        go_to(session, broker)
        assert wait_until(lambda: session.connected)
        for number in range(2000, 2010):
            session.publish(kept(number))
            session.publish(kept(number, topic="state", retain=True))
            assert wait_until(lambda: 2009 in numbers(broker) or number in numbers(broker))  # noqa: B023
        assert wait_until(lambda: 2009 in numbers(broker, "state"), timeout_s=5.0)
        assert session.pending > 1500
        states = numbers(broker, "state")
        assert states == sorted(states), "an old state after a new one"
        old = [number for number in numbers(broker) if number < 2000]
        assert old == sorted(old)
        assert session.status.dropped == 0


def test_a_broker_with_a_rate_limit_gets_everything(make_session: MakeSession) -> None:
    """It closes the connection over more than 30 messages within a second."""

    def take(link: Link, _message: Published) -> Answer:
        if link.published > 30 and time.monotonic() - link.began_s < 1:
            link.disconnect(0x97)
        if time.monotonic() - link.began_s >= 1:
            link.began_s, link.published = time.monotonic(), 0
        return "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(free_port(), backlog_rate_hz=50.0)
        for number in range(300):
            session.publish(kept(number))
        go_to(session, broker)
        assert wait_until(lambda: session.pending == 0)
        assert list(dict.fromkeys(numbers(broker))) == list(range(300))
        assert broker.connections <= 4
        assert session.status.dropped == 0


def test_a_backlog_is_slower_after_a_quota(make_session: MakeSession) -> None:
    refused = iter(range(100))
    with ScriptedBroker(take=lambda *_: 0x97 if next(refused) < 1 else "confirm") as broker:
        session = make_session(free_port(), backlog_rate_hz=40.0)
        for number in range(60):
            session.publish(kept(number))
        go_to(session, broker)
        assert wait_until(lambda: session.pending == 0)
        times = [message.at_s for message in broker.messages]
        assert times[-1] - times[10] > 1.8, "faster than 20 each second"


def test_a_stop_does_not_keep_to_the_rate(make_session: MakeSession) -> None:
    with ScriptedBroker() as broker:
        session = make_session(free_port(), backlog_rate_hz=5.0)
        for number in range(500):
            session.publish(kept(number))
        go_to(session, broker)
        assert wait_until(lambda: session.connected)
        session.stop(last=None, timeout_s=5.0)
        assert session.pending == 0
        assert numbers(broker) == list(range(500))


# The parts


class TestPace:
    def test_it_halves_and_recovers(self) -> None:
        pace = Pace(rate_hz=40.0)
        assert pace.wait_s(0.0) == 0
        pace.slower(0.0)
        pace.slower(0.5)
        assert pace.rate_hz == 20, "one trouble within a second"
        pace.slower(2.0)
        assert pace.rate_hz == 10
        pace.wait_s(13.0)
        assert pace.rate_hz == pytest.approx(11)
        for second in range(13, 400):
            pace.wait_s(float(second))
        assert pace.rate_hz == 40

    def test_it_never_stops(self) -> None:
        pace = Pace(rate_hz=3.0)
        for second in range(0, 100, 2):
            pace.slower(float(second))
        assert pace.rate_hz == 1

    def test_no_limit_is_none(self) -> None:
        pace = Pace(rate_hz=0.0)
        pace.slower(0.0)
        for _ in range(1000):
            assert pace.wait_s(0.0) == 0
            pace.spend()

    def test_the_average_is_the_rate(self) -> None:
        pace, sent = Pace(rate_hz=10.0), 0
        for tick in range(10_000):
            if not pace.wait_s(tick / 1000):
                pace.spend()
                sent += 1
        assert 98 <= sent <= 103


class TestHolds:
    @staticmethod
    def parcel(number: int, topic: str = "n") -> Kept:
        return Kept(kept(number, topic=topic), number=number, size_bytes=1)

    def test_pauses_grow_to_half_a_minute(self) -> None:
        holds, first, now_s, pauses = Holds(patience_s=1), self.parcel(1), 0.0, []
        for _ in range(10):
            assert holds.refused(first, bounded=False, now_s=now_s)
            assert holds.blocked((), now_s=now_s) == {"n"}
            pauses.append(holds.due_in_s(now_s=now_s))
            now_s += pauses[-1]
            assert holds.blocked((), now_s=now_s) == set()
            assert holds.blocked([first, self.parcel(2)], now_s=now_s) == {"n"}
        assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]

    def test_a_message_that_has_gone_is_not_waited_for(self) -> None:
        holds = Holds(patience_s=1)
        holds.refused(self.parcel(1), bounded=False, now_s=0.0)
        for number in range(2, 5):
            holds.confirmed(self.parcel(number), now_s=10.0)
        assert not holds.topics

    def test_a_bounded_reason_ends_even_if_nothing_else_is_sent(self) -> None:
        holds, first, now_s = Holds(patience_s=1), self.parcel(1), 0.0
        while holds.refused(first, bounded=True, now_s=now_s):
            now_s += holds.due_in_s(now_s=now_s)
        assert 600 < now_s < 3600
        assert not holds.topics


def test_a_suspect_is_lost_three_times_with_proof() -> None:
    suspects = Suspects()
    assert not suspects.lost("a", proven=False)
    assert suspects.careful
    assert not suspects.lost("a", proven=True)
    assert suspects.lost("a", proven=True)
    assert not suspects.set_aside("a")
    assert suspects.lost("a", proven=True), "the next on this topic gets one try"
    suspects.confirmed("a")
    assert not suspects.lost("a", proven=True)
    for _ in range(64):
        suspects.confirmed("b")
    assert not suspects.careful


def test_a_topic_is_left_out_for_growing_pauses_and_the_list_is_bounded() -> None:
    now_s = [0.0]
    left_out = LeftOut(clock=lambda: now_s[0])
    for number in range(100):
        left_out.add(str(number), "why")
    assert len(left_out.reasons) == 32
    assert "99" in left_out
    assert "0" not in left_out
    now_s[0] = 60.0
    assert "99" not in left_out
    assert "99" in left_out.returning()
    assert left_out.returning() == []
    assert left_out.reasons == {}
    assert [left_out.add("99", "why") for _ in range(4)] == [240, 960, 3600, 3600]
    left_out.confirmed("99")
    assert left_out.add("99", "why") == 60


def test_what_was_left_out_is_sent_again() -> None:
    now_s = [0.0]
    outbox = Outbox(buffer=MemoryBuffer(max_bytes=100_000), max_queued=10)
    outbox.left_out = LeftOut(clock=lambda: now_s[0])
    outbox.left_out.add("info", "why")
    outbox.go_online()
    outbox.add(Message(topic="info", payload=b"1", retain=True))
    outbox.add(Message(topic="info", payload=b"2", retain=True))
    assert outbox.take(window=20) is None
    assert not any(outbox.drops.values()), "the newest of a retained topic waits"
    now_s[0] = 60.0
    parcel = outbox.take(window=20)
    assert parcel is not None
    assert parcel.message.payload == b"2"


def test_nothing_waits_for_a_topic_that_is_held() -> None:
    outbox = Outbox(buffer=MemoryBuffer(max_bytes=100_000), max_queued=10)
    outbox.go_online()
    for number in range(4):
        outbox.add(kept(number))
        outbox.add(kept(number, topic="other"))
    first = outbox.take(window=20)
    assert first is not None
    assert outbox.refuse(first, "retry")
    taken: list[Parcel] = []
    while (parcel := outbox.take(window=20)) is not None:
        taken.append(parcel)
    assert [parcel.message.topic for parcel in taken] == ["other"] * 4
    assert 0 < outbox.due_in_s() <= 0.5


def test_a_backlog_may_be_added_to_from_other_threads(make_session: MakeSession) -> None:
    with ScriptedBroker() as broker:
        session = make_session(free_port(), backlog_rate_hz=200.0)
        for number in range(3000):
            session.publish(kept(number))
        go_to(session, broker)
        assert wait_until(lambda: session.connected)

        def publish(start: int) -> None:
            for number in range(start, start + 100):
                session.publish(kept(number, topic=f"t/{start}"))

        threads = [threading.Thread(target=publish, args=(n * 1000,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wait_until(
            lambda: all(len(numbers(broker, f"t/{n * 1000}")) == 100 for n in range(4))
        )
        for n in range(4):
            assert numbers(broker, f"t/{n * 1000}") == list(range(n * 1000, n * 1000 + 100))
