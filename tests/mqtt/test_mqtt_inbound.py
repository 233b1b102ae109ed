"""What comes in is bounded before it is looked at, and costs neither memory nor the connection."""

import contextlib
import resource
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.brokers import Mosquitto, Subscriber, needs_mosquitto, wait_until
from support.scripted_broker import Answer, Link, Published, ScriptedBroker, prefixed, text, varint
from support.sessions import MakeSession, Protocol, sessions

from edgeclassifier.contract.messages import Incoming, Message
from edgeclassifier.mqtt.client import LARGEST_INCOMING_BYTES
from edgeclassifier.mqtt.session import Session

PROTOCOLS: tuple[Protocol, ...] = ("5", "3.1.1")
TOPIC = "cam/request/health"
USER_PROPERTY = b"\x26\0\0\0\0"
SUBSCRIPTION_ID = b"\x0b\x01"
RESPONSE_TOPIC = b"\x08" + text("me")
CORRELATION = b"\x09" + text("id")


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions(max_queued=100, subscriptions=("cam/request/+",)) as make:
        yield make


def listening(session: Session) -> list[Incoming]:
    heard: list[Incoming] = []
    session.listen(heard.append)
    assert wait_until(lambda: session.status.listening)
    return heard


def test_the_largest_packet_is_announced(make_session: MakeSession) -> None:
    with ScriptedBroker() as broker:
        listening(make_session(broker.port))
        # Maximum Packet Size: a request takes at most 16 KiB, and a little.
        assert b"\x27" + struct.pack("!I", LARGEST_INCOMING_BYTES) in broker.links[0].connect
    assert 16 * 1024 < LARGEST_INCOMING_BYTES <= 24 * 1024


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_that_is_too_large_is_passed_over(
    make_session: MakeSession, protocol: Protocol, qos: int, caplog: pytest.LogCaptureFixture
) -> None:
    size = 200_000_000
    with ScriptedBroker() as broker:
        session = make_session(broker.port, protocol=protocol)
        heard = listening(session)
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        [link] = broker.links
        head = text(TOPIC) + (b"\0\7" if qos else b"") + (b"\0" if link.v5 else b"")
        link.sock.sendall(bytes([0x30 | qos << 1]) + varint(len(head) + size) + head)
        chunk = bytes(1_000_000)
        for _ in range(size // len(chunk)):
            link.sock.sendall(chunk)
        link.publish(TOPIC, b"small")
        assert wait_until(lambda: heard)
        session.publish(Message(topic="n", payload=b"", keep=True))
        assert wait_until(lambda: session.pending == 0)
        assert [each.payload for each in heard] == [b"small"]
        assert broker.connections == 1
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
        assert grown_kb < 20_000
        # PUBACK, so that the broker does not keep it for this device.
        assert wait_until(lambda: link.confirmed == ([7] if qos else []))
    assert f"passed over a message of {len(head) + size} bytes on '{TOPIC}'" in caplog.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [0x90, 0x40, 0x20])
def test_any_other_packet_of_this_size_ends_the_connection(
    make_session: MakeSession, protocol: Protocol, kind: int
) -> None:
    with ScriptedBroker() as broker:
        session = make_session(broker.port, protocol=protocol)
        listening(session)
        broker.links[0].sock.sendall(bytes([kind]) + varint(200_000_000) + bytes(1000))
        assert wait_until(lambda: broker.connections == 2 and session.status.listening)
        assert "a packet of 200000000 bytes" in str(session.status.last_error)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", [0, 10_000, 100_000])
def test_qos_2_is_not_what_was_subscribed_to(
    make_session: MakeSession, protocol: Protocol, size: int
) -> None:
    with ScriptedBroker() as broker:
        session = make_session(broker.port, protocol=protocol)
        heard = listening(session)
        with contextlib.suppress(OSError):
            for number in range(1, 50):
                broker.links[0].publish(TOPIC, bytes(size), qos=2, number=number)
        assert wait_until(lambda: broker.connections == 2 and session.status.listening)
        assert "a message of QoS 2" in str(session.status.last_error)
        assert heard == []


@pytest.mark.parametrize("repeated", [USER_PROPERTY, SUBSCRIPTION_ID])
def test_properties_without_number_are_read_in_no_time(
    make_session: MakeSession, repeated: bytes
) -> None:
    count = 15_000 // len(repeated)
    properties = RESPONSE_TOPIC + count * repeated + CORRELATION
    with ScriptedBroker() as broker:
        heard = listening(make_session(broker.port))
        before_s = time.process_time()
        for number in range(1, 21):
            broker.links[0].publish(TOPIC, b"{}", qos=1, number=number, properties=properties)
        assert wait_until(lambda: len(heard) == 20)
        assert {(h.payload, h.response_topic, h.correlation) for h in heard} == {
            (b"{}", "me", b"id")
        }
        # paho alone takes some seconds for each.
        assert time.process_time() - before_s < 10
        assert broker.connections == 1


@pytest.mark.parametrize(
    "properties",
    [
        b"\x26\0\5ab",  # shorter than it says
        b"\x7f\1",  # there is no such property
        b"\x01\1\x01\1",  # twice
        b"\x0b\xff\xff\xff\xff",  # endless
        b"\x08",
    ],
)
def test_malformed_properties_end_the_connection_and_nothing_else(
    make_session: MakeSession, properties: bytes
) -> None:
    with ScriptedBroker() as broker:
        session = make_session(broker.port)
        heard = listening(session)
        broker.links[0].publish(TOPIC, b"{}", properties=properties)
        assert wait_until(lambda: broker.connections == 2 and session.status.listening)
        broker.links[1].publish(TOPIC, b"{}")
        assert wait_until(lambda: heard)


def test_every_property_of_a_message_is_read_as_paho_reads_it(make_session: MakeSession) -> None:
    given = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # as paho has it
    given.PayloadFormatIndicator = 1
    given.MessageExpiryInterval = 60
    given.ContentType = "application/json"
    given.ResponseTopic = "me"
    given.CorrelationData = b"\0\1"
    given.SubscriptionIdentifier = 300
    given.UserProperty = ("a", "b")
    packed = given.pack()  # type: ignore[no-untyped-call] # as paho has it
    assert prefixed(packed[1:]) == packed
    with ScriptedBroker() as broker:
        heard = listening(make_session(broker.port))
        broker.links[0].publish(TOPIC, b"{}", properties=packed[1:])
        assert wait_until(lambda: heard)
    assert (heard[0].payload, heard[0].response_topic, heard[0].correlation) == (
        b"{}",
        "me",
        b"\0\1",
    )


@needs_mosquitto
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_real_broker_passes_on_what_is_too_large_only_with_3_1_1(
    tmp_path: Path, make_session: MakeSession, protocol: Protocol
) -> None:
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as other:
        session = make_session(broker.port, protocol=protocol)
        heard = listening(session)
        other.publish(TOPIC, bytes(30_000_000))
        other.publish(TOPIC, b"small")
        assert wait_until(lambda: heard)
        assert session.status.reconnects == 0
    assert [each.payload for each in heard] == [b"small"]


# The broker's last words


@pytest.mark.parametrize("code", [0x87, 0x97, 0x9A])
def test_the_reason_of_a_disconnect_is_told_whatever_is_being_written(
    make_session: MakeSession, code: int
) -> None:
    """The broker closes with something unread, so that writing fails before it can be read."""
    endings: list[str | None] = []

    def take(link: Link, _message: Published) -> Answer:
        if link.published == 3:
            link.disconnect(code)
        return "confirm"

    with ScriptedBroker(take=take) as broker:
        session = make_session(broker.port, reconnect_min_s=0.001, reconnect_max_s=0.01)
        for number in range(2000):
            session.publish(Message(topic=f"t/{number}", payload=bytes(2_000), keep=True))
        assert wait_until(lambda: session.status.last_error)
        while len(endings) < 30:
            seen = broker.connections
            while broker.connections == seen:
                time.sleep(0.001)
            endings.append(session.status.last_error)
    words = {0x87: "not authorized", 0x97: "a quota is exceeded", 0x9A: "retain not supported"}
    assert all(words[code] in str(each) for each in endings), set(endings)
