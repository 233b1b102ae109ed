"""A picture and its event are one unit, whatever the broker does: both come, or the event says."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.brokers import Mosquitto, Subscriber, needs_mosquitto, wait_until
from support.pictured import BOOT_ID, Matcher, jpeg_of, pictured, plain
from support.scripted_broker import Answer, Link, Published, ScriptedBroker
from support.sessions import MakeSession, Protocol, sessions

from edgeclassifier.buffer import Buffer, MemoryBuffer
from edgeclassifier.buffer.disk import DiskBuffer
from edgeclassifier.contract.messages import Message
from edgeclassifier.mqtt import holds

PROTOCOLS: tuple[Protocol, ...] = ("5", "3.1.1")
IMAGE, EVENT = "home/porch/cam0/image", "home/porch/cam0/event"
KIB = 1024


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions(max_queued=100) as make:
        yield make


@pytest.fixture(params=["memory", "disk"])
def buffer(request: pytest.FixtureRequest, tmp_path: Path) -> Buffer:
    sizes = {"max_bytes": 1024 * KIB, "max_picture_bytes": 1024 * KIB}
    if request.param == "memory":
        return MemoryBuffer(**sizes)
    return DiskBuffer(path=tmp_path / "buffer.sqlite", write_interval_s=0.0, **sizes)


def matched(broker: ScriptedBroker) -> Matcher:
    matcher = Matcher()
    for message in broker.messages:
        matcher.take(message.topic, message.payload)
    return matcher


@needs_mosquitto
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_picture_comes_before_its_event_and_both_have_one_number(
    broker: Mosquitto, make_session: MakeSession, buffer: Buffer, protocol: Protocol
) -> None:
    session = make_session(broker.port, protocol=protocol, buffer=buffer)
    with Subscriber(broker.port, "home/porch/cam0/+") as subscriber:
        for number in range(50):
            session.publish(pictured(number) if number % 5 else plain(number))
        assert subscriber.wait_for(lambda messages: len(messages) == 90)
        matcher = Matcher()
        for message in subscriber.messages:
            matcher.take(message.topic, message.payload)
        assert matcher.numbers == list(range(50)), "events are out of order"
        assert matcher.unmatched == []
        pictures = [message for message in subscriber.messages if message.topic == IMAGE]
    assert len(pictures) == 40
    if protocol == "5":
        assert pictures[1].properties["ContentType"] == "image/jpeg"
        assert dict(pictures[1].properties["UserProperty"]) == {
            "boot_id": BOOT_ID,
            "seq": "2",
            "view": "cam0",
            "name": "tabby",
            "label": "tabby",
            "timestamp": "2026-01-02T03:04:05.678Z",
        }


@needs_mosquitto
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_broker_is_told_how_long_to_keep_an_event_and_its_picture_longer(
    broker: Mosquitto, make_session: MakeSession, protocol: Protocol
) -> None:
    buffer = MemoryBuffer(max_bytes=1024 * KIB, max_picture_bytes=1024 * KIB)
    session = make_session(broker.port, protocol=protocol, buffer=buffer)
    with Subscriber(broker.port, "home/porch/cam0/+") as subscriber:
        session.publish(replace(pictured(1), expiry_s=1000))
        session.publish(pictured(2))
        assert subscriber.wait_for(lambda messages: len(messages) == 4)
        told: list[Any] = [m.properties.get("MessageExpiryInterval") for m in subscriber.messages]
    if protocol == "5":
        assert 1000 < told[0] <= 1060
        assert told[1] <= 1000
        assert told[2:] == [None, None]
    else:
        assert told == [None] * 4


@needs_mosquitto
@pytest.mark.parametrize("label", ["Käse\n🐈", "a\0b\x1b\ufffe", "x" * 70_000, "+/#", ""])
def test_any_label_can_be_named_by_a_picture(
    broker: Mosquitto, make_session: MakeSession, label: str
) -> None:
    """A broker closes the connection over what is no string for MQTT."""
    buffer = MemoryBuffer(max_bytes=1024 * KIB, max_picture_bytes=1024 * KIB)
    session = make_session(broker.port, buffer=buffer)
    with Subscriber(broker.port, "home/porch/cam0/+") as subscriber:
        session.publish(pictured(1, label=label))
        assert subscriber.wait_for(lambda messages: len(messages) == 2)
        [picture, event] = subscriber.messages
        assert json.loads(event.payload)["label"] == label
        [said] = [v for k, v in picture.properties["UserProperty"] if k == "label"]
        assert len(said) <= 200
    assert session.status.reconnects == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_event_waits_for_its_picture_to_be_confirmed_and_others_do_not(
    make_session: MakeSession, buffer: Buffer, protocol: Protocol
) -> None:
    silent = [True]

    def take(_link: Link, message: Published) -> Answer:
        return "ignore" if silent and message.topic == IMAGE else "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, protocol=protocol, buffer=buffer, confirm_s=1.0)
        assert wait_until(lambda: session.connected)
        session.publish(pictured(1))
        session.publish(plain(2))
        session.publish(Message(topic="other", payload=b"3", keep=True))
        assert wait_until(lambda: broker.payloads("other"))
        assert session.pending == 2
        time.sleep(0.1)
        assert EVENT not in broker.topics()
        silent.clear()
        # The connection is given up over it, and on the next one it comes again.
        assert wait_until(lambda: session.pending == 0)
        assert matched(broker).outcomes == {1: "picture", 2: "none"}
        assert matched(broker).unmatched == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_picture_comes_again_before_an_event_that_was_not_confirmed(
    make_session: MakeSession, buffer: Buffer, protocol: Protocol
) -> None:
    """What the broker has confirmed may be lost with it."""

    def take(link: Link, message: Published) -> Answer:
        return "close" if link.number == 1 and message.topic == EVENT else "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, protocol=protocol, buffer=buffer)
        session.publish(pictured(1))
        assert wait_until(lambda: session.pending == 0)
        assert broker.topics() == [IMAGE, EVENT, IMAGE, EVENT]


@pytest.mark.parametrize(
    ("code", "reason"), [(0x87, "refused"), (0x90, "refused"), (0x99, "refused")]
)
def test_an_event_says_that_its_picture_was_refused(
    make_session: MakeSession, buffer: Buffer, code: int, reason: str
) -> None:
    with ScriptedBroker(take=lambda _, m: code if m.topic == IMAGE else "confirm") as broker:
        session = make_session(broker.port, buffer=buffer)
        for number in range(20):
            session.publish(pictured(number))
        assert wait_until(lambda: session.pending == 0)
        assert matched(broker).outcomes == dict.fromkeys(range(20), reason)
        assert len(broker.payloads(IMAGE)) == 20
    assert session.status.drops["refused"] == session.status.dropped == 20
    assert session.buffer.pictures_dropped == 20
    assert session.buffer.picture_bytes == 0


def test_a_picture_that_is_refused_for_a_while_comes_and_its_event_waits(
    make_session: MakeSession, buffer: Buffer
) -> None:
    refusals = [0x97, 0x97]

    def take(_link: Link, message: Published) -> Answer:
        return refusals.pop() if refusals and message.topic == IMAGE else "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, buffer=buffer)
        for number in range(10):
            session.publish(pictured(number))
        assert wait_until(lambda: session.pending == 0)
        assert len(broker.payloads(IMAGE)) == 12
        assert matched(broker).outcomes == dict.fromkeys(range(10), "picture")
        assert matched(broker).numbers == list(range(10))
    assert session.status.dropped == 0


@pytest.mark.parametrize("code", [0x80, 0x97])
def test_events_do_not_wait_forever_for_pictures_that_are_refused_again_and_again(
    make_session: MakeSession, buffer: Buffer, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Although the broker says that it might pass."""
    monkeypatch.setattr(holds, "_FIRST_PAUSE_S", 0.01)
    with ScriptedBroker(take=lambda _, m: code if m.topic == IMAGE else "confirm") as broker:
        session = make_session(broker.port, buffer=buffer)
        for number in range(3):
            session.publish(pictured(number))
        assert wait_until(lambda: session.pending == 0)
        assert matched(broker).outcomes == dict.fromkeys(range(3), "refused")
        assert matched(broker).numbers == [0, 1, 2]
        assert len(broker.payloads(IMAGE)) == 3 * 8


@pytest.mark.parametrize("code", [0x80, 0x97])
def test_an_event_that_is_refused_is_not_given_up_as_its_picture_would_be(
    make_session: MakeSession, buffer: Buffer, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(holds, "_FIRST_PAUSE_S", 0.001)
    refusals = [code] * 11

    def take(_link: Link, message: Published) -> Answer:
        return refusals.pop() if refusals and message.topic == EVENT else "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, buffer=buffer)
        session.publish(pictured(1))
        assert wait_until(lambda: session.pending == 0)
        assert matched(broker).outcomes == {1: "picture"}
    assert session.status.dropped == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_event_says_that_the_broker_closes_the_connection_over_its_picture(
    make_session: MakeSession, buffer: Buffer, protocol: Protocol
) -> None:
    def take(_link: Link, message: Published) -> Answer:
        return "close" if message.payload == jpeg_of(5) else "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, protocol=protocol, buffer=buffer)
        for number in range(10):
            session.publish(pictured(number))
        assert wait_until(lambda: session.pending == 0)
        expected = dict.fromkeys(range(10), "picture") | {5: "closed"}
        assert matched(broker).outcomes == expected
        assert matched(broker).unmatched == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_event_is_lost_where_no_picture_is_taken(
    make_session: MakeSession, buffer: Buffer, protocol: Protocol
) -> None:
    """After a few the topic of pictures is left out, as any other would be."""
    with ScriptedBroker(take=lambda _, m: "close" if m.topic == IMAGE else "confirm") as broker:
        session = make_session(broker.port, protocol=protocol, buffer=buffer)
        for number in range(50):
            session.publish(pictured(number))
        assert wait_until(lambda: session.pending == 0)
        assert matched(broker).outcomes == dict.fromkeys(range(50), "closed")
        assert matched(broker).numbers == list(range(50))
        assert len(broker.payloads(IMAGE)) < 10
        assert session.status.left_out.keys() == {IMAGE}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_event_does_not_wait_forever_for_a_picture_that_is_never_confirmed(
    make_session: MakeSession, buffer: Buffer, protocol: Protocol
) -> None:
    def take(_link: Link, message: Published) -> Answer:
        return "ignore" if message.payload == jpeg_of(1) else "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, protocol=protocol, buffer=buffer, confirm_s=1.0)
        for number in range(3):
            session.publish(pictured(number))
        ticking = iter(range(10_000))

        def is_done() -> bool:
            session.publish(Message(topic="other", payload=b"%d" % next(ticking), keep=True))
            return matched(broker).outcomes.keys() == {0, 1, 2}

        assert wait_until(is_done)
        assert matched(broker).outcomes == {0: "picture", 1: "closed", 2: "picture"}


def test_an_event_says_that_its_picture_is_larger_than_the_broker_takes(
    make_session: MakeSession, buffer: Buffer
) -> None:
    limit = b"\x27" + (4000).to_bytes(4)
    with ScriptedBroker(welcome=lambda _link: limit) as broker:
        session = make_session(broker.port, buffer=buffer, patience_s=0.2)
        for number in range(10):
            session.publish(pictured(number, size=5000 if number % 2 else 2000))
        assert wait_until(lambda: session.pending == 0)
        outcomes = matched(broker).outcomes
        assert outcomes == {n: "too_large" if n % 2 else "picture" for n in range(10)}
        assert matched(broker).numbers == list(range(10))
    assert session.status.drops["too_large"] == 5


def test_a_picture_that_fits_after_all_is_waited_for(
    make_session: MakeSession, buffer: Buffer
) -> None:
    """A broker that starts may tell another limit at first."""

    def welcome(link: Link) -> bytes:
        return b"\x27" + (1000 if link.number == 1 else 100_000).to_bytes(4)

    def take(link: Link, message: Published) -> Answer:
        return "close" if link.number == 1 and message.topic == "other" else "confirm"

    with ScriptedBroker(welcome=welcome, take=take) as broker:
        session = make_session(broker.port, buffer=buffer, patience_s=60.0)
        session.publish(pictured(1))
        assert wait_until(lambda: IMAGE in session.status.left_out)
        session.publish(Message(topic="other", payload=b"", keep=True))
        assert wait_until(lambda: session.pending == 0)
        assert matched(broker).outcomes == {1: "picture"}


@pytest.mark.parametrize("storage", ["memory", "disk"])
def test_old_pictures_give_way_while_the_broker_is_away_and_their_events_say_so(
    make_session: MakeSession, tmp_path: Path, storage: str
) -> None:
    sizes: dict[str, Any] = {"max_bytes": 1024 * KIB, "max_picture_bytes": 256 * KIB}
    buffer: Buffer = MemoryBuffer(**sizes)
    if storage == "disk":
        buffer = DiskBuffer(path=tmp_path / "b.sqlite", write_interval_s=0.0, **sizes)
    with ScriptedBroker(refuse=lambda _link: 0x88) as broker:
        session = make_session(broker.port, buffer=buffer, backlog_rate_hz=0)
        assert wait_until(lambda: session.status.last_error)
        for number in range(100):
            session.publish(pictured(number, size=10_000))
        broker.refuse = lambda _link: 0
        assert wait_until(lambda: session.pending == 0)
        outcomes = list(matched(broker).outcomes.values())
        lost = outcomes.count("buffer")
        assert outcomes == ["buffer"] * lost + ["picture"] * (100 - lost)
        assert 70 < lost < 90
        assert session.buffer.pictures_dropped == lost
        assert session.status.dropped == 0
