"""What a broker does not take costs itself alone: it is found, counted and named."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Mosquitto, Subscriber, free_port, needs_mosquitto, wait_until
from support.scripted_broker import Answer, Link, Published, ScriptedBroker
from support.sessions import MakeSession, Protocol, access, sessions

from edgeclassifier.buffer.disk import DiskBuffer
from edgeclassifier.contract.messages import Message
from edgeclassifier.mqtt.codes import CODES

PROTOCOLS: tuple[Protocol, ...] = ("5", "3.1.1")
ONLINE = Message(topic="cam/availability", payload=b"online", retain=True)
DISCOVERY = Message(topic="homeassistant/device/cam/config", payload=b"{}", retain=True)
FLOWS_WITHIN_S = 10.0


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions(max_queued=100) as make:
        yield make


def kept(number: int, *, topic: str = "n") -> Message:
    return Message(topic=topic, payload=b"%d" % number, keep=True)


def numbers(broker: ScriptedBroker, topic: str = "n") -> list[int]:
    """Those that came, in the order in which they came for the first time."""
    return list(dict.fromkeys(int(payload) for payload in broker.payloads(topic)))


# The broker closes the connection


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("code", [None, 0x82, 0x87, 0x90, 0x95, 0x97, 0x99])
def test_a_message_that_a_broker_closes_for_is_set_aside(  # noqa: PLR0917 - fixtures
    tmp_path: Path,
    make_session: MakeSession,
    caplog: pytest.LogCaptureFixture,
    protocol: Protocol,
    on_disk: bool,
    code: int | None,
) -> None:
    def take(link: Link, message: Published) -> Answer:
        if message.payload == b"50":
            if code is not None:
                link.disconnect(code)
            return "close"
        return "confirm"

    more = {}
    if on_disk:
        path = tmp_path / "buffer.sqlite"
        more["buffer"] = DiskBuffer(path=path, max_bytes=1_000_000, write_interval_s=0)
    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, protocol=protocol, **more)
        session.publish(ONLINE)
        for number in range(100):
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0, timeout_s=FLOWS_WITHIN_S)
        assert numbers(broker) == list(range(100))
        assert broker.payloads("n").count(b"50") <= 4
    assert session.status.drops["closed"] == session.status.dropped == 1
    [said] = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
    assert said == "MQTT: dropped n (2 bytes): the broker closes the connection over it"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_topic_that_a_broker_always_closes_for_is_left_out(
    make_session: MakeSession, protocol: Protocol
) -> None:
    with ScriptedBroker(take=lambda _, m: "close" if m.topic == "bad" else "confirm") as broker:
        session = make_session(broker.port, protocol=protocol)
        for number in range(50):
            session.publish(kept(number, topic="bad"))
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0, timeout_s=FLOWS_WITHIN_S)
        assert numbers(broker) == list(range(50))
        assert len(broker.payloads("bad")) < 10
        status = session.status
        assert status.drops["closed"] == 50
        assert status.left_out == {"bad": "the broker closes the connection over it"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_optional_birth_does_not_keep_the_essential_from_flowing(
    make_session: MakeSession, protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    def take(link: Link, message: Published) -> Answer:
        if message.topic.startswith("homeassistant/"):
            link.disconnect(0x87)
        return "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, protocol=protocol)
        for message in (ONLINE, DISCOVERY, *map(kept, range(20))):
            session.publish(message)
        assert wait_until(lambda: session.pending == 0, timeout_s=FLOWS_WITHIN_S)
        assert numbers(broker) == list(range(20))
        connections = broker.connections
        session.publish(DISCOVERY)
        session.publish(kept(20))
        assert wait_until(lambda: numbers(broker)[-1] == 20)
        assert broker.connections == connections <= 5
        assert list(session.status.left_out) == [DISCOVERY.topic]
    assert f"nothing is sent to {DISCOVERY.topic} for 60 s" in caplog.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_subscription_that_a_broker_closes_for_is_left_out(
    make_session: MakeSession, protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    def hear(link: Link, topic: str) -> Answer:
        if "+" in topic:
            link.disconnect(0xA2)
        return "confirm"

    with ScriptedBroker(hear=hear) as broker:
        session = make_session(
            broker.port, protocol=protocol, subscriptions=("cam/request/+", "status")
        )
        for number in range(20):
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0, timeout_s=FLOWS_WITHIN_S)
        assert wait_until(lambda: broker.subscribed[-1] == "status")
        assert wait_until(lambda: "cam/request/+" in session.status.left_out)
        assert session.status.listening is False
        assert session.connected
    assert "not listening to cam/request/+ for 60 s" in caplog.text


def test_an_answer_gets_one_try(make_session: MakeSession) -> None:
    with ScriptedBroker(take=lambda _, m: "close" if m.topic == "answer" else "confirm") as broker:
        session = make_session(broker.port)
        assert wait_until(lambda: session.connected)
        session.publish(Message(topic="answer", payload=b"", qos=1, once=True))
        session.publish(kept(1))
        assert wait_until(lambda: numbers(broker) == [1], timeout_s=FLOWS_WITHIN_S)
        assert wait_until(lambda: session.pending == 0)
        assert broker.payloads("answer") == [b""]
        assert session.status.drops["lost"] == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_picture_without_confirmation_is_found_to_break_connections(
    make_session: MakeSession, protocol: Protocol
) -> None:
    with ScriptedBroker(take=lambda _, m: "close" if m.qos == 0 else "confirm") as broker:
        session = make_session(broker.port, protocol=protocol)
        counts = iter(range(10_000))

        def left_out() -> bool:
            if session.connected:
                session.publish(Message(topic="image", payload=b"jpeg", qos=0))
                session.publish(kept(next(counts)))
            time.sleep(0.02)
            return "image" in session.status.left_out

        assert wait_until(left_out)
        assert wait_until(lambda: session.pending == 0, timeout_s=FLOWS_WITHIN_S)
        assert numbers(broker) == list(range(next(counts)))
        assert list(session.status.left_out) == ["image"]


def test_a_broker_that_welcomes_and_leaves_costs_no_message(make_session: MakeSession) -> None:
    """As with a proxy before a dead broker, or two devices with one client id."""
    down = True

    def take(_link: Link, _message: Published) -> Answer:
        return "close" if down else "confirm"

    def hear(_link: Link, _topic: str) -> Answer:
        return "close" if down else "confirm"

    def pong(_link: Link) -> bool:
        return not down

    with ScriptedBroker(hear=hear, take=take, pong=pong) as broker:
        session = make_session(broker.port, subscriptions=("a",))
        for number in range(10):
            session.publish(kept(number))
        assert wait_until(lambda: broker.pings > 8)
        assert session.status.left_out == {}
        down = False
        assert wait_until(lambda: session.pending == 0)
        assert numbers(broker) == list(range(10))
        assert session.status.dropped == 0
        assert session.status.left_out == {}


@needs_mosquitto
def test_a_topic_with_too_many_levels_for_mosquitto(
    tmp_path: Path, make_session: MakeSession
) -> None:
    """A real broker that closes the connection over one."""
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port, "n") as subscriber:
        session = make_session(broker.port)
        assert wait_until(lambda: session.connected)
        session.publish(kept(0))
        session.publish(kept(1, topic="a/" * 250 + "x"))
        for number in range(2, 20):
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0, timeout_s=FLOWS_WITHIN_S)
        assert subscriber.wait_for(lambda got: got and got[-1].payload == b"19")
        assert session.status.drops["closed"] == 1


# The broker refuses


@pytest.mark.parametrize("code", [0x80, 0x83, 0x91, 0x97])
def test_what_is_refused_for_a_reason_that_passes_arrives_in_order(
    make_session: MakeSession, code: int
) -> None:
    refusing = True
    with ScriptedBroker(
        take=lambda _, m: code if refusing and m.topic == "n" else "confirm"
    ) as broker:
        session = make_session(broker.port)
        for number in range(50):
            session.publish(kept(number))
        session.publish(ONLINE)
        assert wait_until(lambda: len(broker.payloads("n")) > 24)
        session.publish(kept(7, topic="other"))
        assert wait_until(lambda: broker.payloads("other") == [b"7"]), "held with the others"
        assert session.status.dropped == 0
        refusing, before = False, len(broker.messages)
        assert wait_until(lambda: session.pending == 0)
        after = [int(m.payload) for m in broker.messages[before:] if m.topic == "n"]
        assert after == sorted(after)
        assert set(after) >= set(range(2, 50))
        assert broker.connections == 1
        assert session.status.dropped == 0


@pytest.mark.parametrize("code", [0x80, 0x83])
def test_a_single_message_that_stays_refused_is_set_aside(
    make_session: MakeSession, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedBroker(take=lambda _, m: code if m.payload == b"5" else "confirm") as broker:
        session = make_session(broker.port)
        for number in range(50):
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0, timeout_s=FLOWS_WITHIN_S)
        assert set(numbers(broker)) == set(range(50))
        assert session.status.drops["refused"] == session.status.dropped == 1
        assert broker.connections == 1
    assert "n (1 bytes): refused by the broker: " in caplog.text


@pytest.mark.parametrize("code", [0x87, 0x90, 0x99])
def test_what_is_refused_for_good_is_set_aside_at_once(
    make_session: MakeSession, code: int
) -> None:
    with ScriptedBroker(take=lambda _, m: code if m.payload == b"5" else "confirm") as broker:
        session = make_session(broker.port)
        for number in range(20):
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0)
        assert broker.payloads("n") == [b"%d" % number for number in range(20)]
        assert session.status.drops["refused"] == 1


def test_a_birth_that_is_refused_for_a_while_arrives_as_its_newest(
    make_session: MakeSession,
) -> None:
    refusing = True
    with ScriptedBroker(take=lambda _, m: 0x97 if refusing and m.retain else "confirm") as broker:
        session = make_session(broker.port)
        session.publish(Message(topic="health", payload=b"1", retain=True))
        assert wait_until(lambda: broker.messages)
        session.publish(Message(topic="health", payload=b"2", retain=True))
        refusing = False
        assert wait_until(lambda: broker.payloads("health")[-1] == b"2")
        assert session.status.dropped == 0


@pytest.mark.parametrize(("protocol", "code"), [("5", 0x97), ("5", 0x80), ("3.1.1", 0x80)])
def test_a_refused_subscription_is_asked_for_again(
    make_session: MakeSession, protocol: Protocol, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tries = iter(range(100))
    with ScriptedBroker(hear=lambda *_: code if next(tries) < 1 else "confirm") as broker:
        session = make_session(broker.port, protocol=protocol, subscriptions=("cam/request/+",))
        assert wait_until(lambda: "cam/request/+" in session.status.left_out)
        assert session.status.listening is False
        assert wait_until(lambda: session.status.listening)
        assert session.status.left_out == {}
        assert broker.connections == 1
    assert "lets this device listen to cam/request/+ now" in caplog.text


def test_a_session_without_subscriptions_says_nothing_of_listening(
    make_session: MakeSession,
) -> None:
    session = make_session(free_port())
    assert session.status.listening is None


@pytest.mark.parametrize("code", [0x88, 0x89, 0x97, 0x9F])
def test_a_connection_that_is_refused_for_a_while_is_tried_again_soon(
    make_session: MakeSession, code: int
) -> None:
    tries = iter(range(100))
    with ScriptedBroker(refuse=lambda _: code if next(tries) < 3 else 0) as broker:
        session = make_session(broker.port, reconnect_min_s=0.02, reconnect_max_s=60)
        assert wait_until(lambda: session.connected, timeout_s=5.0)
        assert broker.connections == 4


def test_a_broker_without_retained_messages_gets_the_others(make_session: MakeSession) -> None:
    def take(link: Link, message: Published) -> Answer:
        if message.retain:
            link.disconnect(0x9A)
        return "confirm"

    with ScriptedBroker(welcome=lambda _: b"\x25\0", take=take) as broker:
        session = make_session(broker.port)
        session.publish(ONLINE)
        session.publish(kept(1))
        assert wait_until(lambda: session.pending == 0)
        assert broker.topics() == [ONLINE.topic, "n"]
        assert broker.connections == 1


# What the broker can take


def test_a_limit_that_passes_costs_nothing(make_session: MakeSession) -> None:
    def welcome(link: Link) -> bytes:
        # Maximum Packet Size.
        return b"\x27\0\0\0\x3c" if link.number == 2 else b""

    with ScriptedBroker(welcome=welcome) as broker:
        session = make_session(broker.port)
        session.publish(Message(topic="info", payload=bytes(100), retain=True))
        assert wait_until(lambda: session.acknowledged == 1)
        broker.links[0].sock.shutdown(2)
        assert wait_until(lambda: broker.connections == 2 and session.connected)
        large = [Message(topic="n", payload=b"%d" % n + bytes(100), keep=True) for n in range(50)]
        for message in (*large, kept(3, topic="small")):
            session.publish(message)
        assert wait_until(lambda: broker.payloads("small")), "held up by what does not fit"
        assert session.pending == 50
        assert session.status.left_out.keys() == {"info", "n"}
        broker.links[1].sock.shutdown(2)
        assert wait_until(lambda: session.pending == 0)
        assert broker.payloads("n") == [message.payload for message in large]
        assert session.status.dropped == 0
        assert wait_until(lambda: session.status.left_out == {})


def test_a_limit_that_lasts_costs_what_does_not_fit(make_session: MakeSession) -> None:
    with ScriptedBroker(welcome=lambda _: b"\x27\0\0\0\x3c") as broker:
        session = make_session(broker.port, patience_s=0.3)
        for number in range(10):
            session.publish(Message(topic="n", payload=bytes(100), keep=True))
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0)
        assert broker.payloads("n") == [b"%d" % number for number in range(10)]
        assert session.status.drops["too_large"] == session.status.dropped == 10


# The broker does not confirm


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_broker_that_answers_pings_alone_is_left(
    make_session: MakeSession, protocol: Protocol
) -> None:
    silent = True
    with ScriptedBroker(take=lambda *_: "ignore" if silent else "confirm") as broker:
        session = make_session(broker.port, protocol=protocol, confirm_s=0.3)
        for number in range(50):
            session.publish(kept(number))
        assert wait_until(lambda: broker.connections >= 5)
        assert "the broker has not confirmed n for 0 s" in str(session.status.last_error)
        silent = False
        assert wait_until(lambda: session.pending == 0)
        assert numbers(broker) == list(range(50))
        assert session.status.dropped == 0


def test_a_single_confirmation_that_is_missing_is_noticed(make_session: MakeSession) -> None:
    """mosquitto drops some if there are too many outgoing packets for a client."""
    tries = iter(range(100))

    def take(_link: Link, message: Published) -> Answer:
        return "ignore" if message.payload == b"5" and next(tries) < 1 else "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, confirm_s=0.3)
        for number in range(20):
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0)
        assert broker.connections == 2
        assert session.status.dropped == 0


def test_a_message_that_is_never_confirmed_is_set_aside(make_session: MakeSession) -> None:
    with ScriptedBroker(take=lambda _, m: "ignore" if m.payload == b"5" else "confirm") as broker:
        session = make_session(broker.port, confirm_s=0.2)
        for number in range(20):
            session.publish(kept(number))
        assert wait_until(lambda: session.pending == 0)
        assert numbers(broker) == list(range(20))
        assert session.status.drops["closed"] == 1
        assert 3 <= broker.connections <= 4


def test_a_subscription_that_is_never_answered_is_noticed(make_session: MakeSession) -> None:
    tries = iter(range(100))

    def hear(_link: Link, _topic: str) -> Answer:
        if next(tries) < 1:
            time.sleep(1.0)
        return "confirm"

    with ScriptedBroker(hear=hear) as broker:
        session = make_session(broker.port, confirm_s=0.3, subscriptions=("a",))
        assert wait_until(lambda: session.status.listening)
        assert broker.connections == 2


def test_the_keepalive_that_the_broker_sets_is_kept(make_session: MakeSession) -> None:
    with ScriptedBroker(welcome=lambda _: b"\x13\0\1") as broker:  # Server Keep Alive
        make_session(broker.port, keepalive_s=3600)
        assert wait_until(lambda: broker.pings >= 2, timeout_s=8.0)
        assert broker.connections == 1


def test_another_broker_has_other_rules(make_session: MakeSession) -> None:
    with (
        ScriptedBroker(take=lambda _, m: "close" if m.retain else "confirm") as strict,
        ScriptedBroker() as other,
    ):
        session = make_session(strict.port)
        session.publish(DISCOVERY)
        assert wait_until(lambda: DISCOVERY.topic in session.status.left_out)
        session.switch(access(other.port), will=None, farewell=None)
        session.publish(DISCOVERY)
        assert wait_until(lambda: other.topics() == [DISCOVERY.topic])
        assert session.status.left_out == {}


# The table


def test_every_code_of_the_standard_has_a_row() -> None:
    missing = {0x92, *range(0x80, 0xA3)} - CODES.keys()
    assert missing == {0x92}, "0x92 is of QoS 2 alone"
