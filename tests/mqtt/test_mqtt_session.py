"""The session against a real broker: what arrives, in which order, and what is said about it."""

import dataclasses
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from support.brokers import PATIENCE_S, Mosquitto, Received, Subscriber, needs_mosquitto, wait_until
from support.scripted_broker import ScriptedBroker
from support.sessions import MakeSession, Protocol, access, sessions, settings

from edgeclassifier.contract.messages import Message
from edgeclassifier.errors import ConfigError
from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.mqtt.connection import Connection
from edgeclassifier.mqtt.session import Session

pytestmark = needs_mosquitto


ONLINE = Message(topic="cam/availability", payload=b"online", retain=True)
OFFLINE = Message(topic="cam/availability", payload=b"offline", retain=True)
WILL = Message(topic="cam/availability", payload=b"will", retain=True)
INFO = Message(topic="cam/info", payload=b"{}", retain=True)


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    chosen: Protocol = request.param
    return chosen


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as mosquitto:
        yield mosquitto


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions(start=False, reconnect_max_s=0.2, will=WILL) as make:
        yield make


def started(session: Session) -> Session:
    session.start()
    assert wait_until(lambda: session.connected), session.status.last_error
    return session


def numbered(count: int, start: int = 0) -> list[Message]:
    return [Message(topic=f"n/{i}", payload=b"%d" % i) for i in range(start, start + count)]


def numbers(messages: list[Received]) -> list[int]:
    return [int(message.payload) for message in messages if message.topic.startswith("n/")]


def test_everything_retained_is_published_again_on_every_connection(
    broker: Mosquitto, make_session: MakeSession, protocol: Protocol
) -> None:
    session = make_session(broker.port, protocol=protocol)
    for message in (OFFLINE, INFO, ONLINE):
        assert session.publish(message)
    started(session)

    for connection in range(3):
        # The broker has no memory, so what is here came with this connection.
        with Subscriber(broker.port) as subscriber:
            assert subscriber.wait_for(lambda messages: len(messages) == 2)
        assert subscriber.payloads(ONLINE.topic) == [b"online"], "not the newest"
        assert session.status.reconnects == connection
        broker.kill()
        assert wait_until(lambda: not session.connected)
        broker.start()
        assert wait_until(lambda: session.connected)


def test_retained_messages_are_kept_while_offline_and_others_are_dropped(
    tmp_path: Path, make_session: MakeSession, protocol: Protocol
) -> None:
    broker = Mosquitto(tmp_path)
    session = make_session(broker.port, protocol=protocol)
    session.start()
    assert wait_until(lambda: session.status.last_error)
    assert not session.connected
    assert session.publish(ONLINE)
    assert not session.publish(Message(topic="cam/event", payload=b"lost"))
    assert (session.status.published, session.status.dropped, session.pending) == (1, 1, 0)

    with broker:
        assert wait_until(lambda: session.acknowledged == 1), "did not find the late broker"
        with Subscriber(broker.port) as subscriber:
            assert subscriber.wait_for(lambda messages: messages)
        assert [message.payload for message in subscriber.messages] == [b"online"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_the_broker_sends_the_will_of_a_killed_process(
    broker: Mosquitto, protocol: Protocol, number: signal.Signals
) -> None:
    at = access(broker.port, protocol=protocol)
    script = f"""
import time
from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.contract.messages import Message
from edgeclassifier.mqtt.session import Session
session = Session(
    broker=Broker(**{dataclasses.asdict(at)!r}),
    buffer=MemoryBuffer(max_bytes=1000),
    reconnect_min_s=1,
    reconnect_max_s=1,
    max_queued=1,
    will=Message(topic="cam/availability", payload=b"will", retain=True),
)
session.publish(Message(topic="cam/availability", payload=b"online", retain=True))
session.start()
time.sleep({PATIENCE_S})
"""
    with Subscriber(broker.port, "cam/availability") as subscriber:
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as child:
            try:
                assert subscriber.wait_for(lambda messages: messages)
            finally:
                child.send_signal(number)
                child.wait(PATIENCE_S)
        assert subscriber.wait_for(lambda messages: len(messages) == 2)
    assert subscriber.payloads(WILL.topic) == [b"online", b"will"]


@pytest.mark.parametrize("returns", [True, False])
def test_a_blip_is_no_outage(broker: Mosquitto, returns: bool) -> None:
    """The broker waits before it sends the will, and forgets it if the device is back."""
    at = access(broker.port, will_delay_s=1)
    with Subscriber(broker.port, WILL.topic) as subscriber:
        connect_and_lose(at)
        if returns:
            connection = Connection(broker=at, will=WILL)
            connection.open(resume=True)
            while not connection.accepted:
                connection.step(1.0)
        assert subscriber.wait_for(lambda messages: messages, timeout_s=3.0) is not returns
        if returns:
            connection.close(politely=True)


def connect_and_lose(at: Broker) -> None:
    connection = Connection(broker=at, will=WILL)
    connection.open()
    while not connection.accepted:
        connection.step(1.0)
    connection.close(politely=False)


def test_a_session_resumes_only_after_a_connection_of_its_own(make_session: MakeSession) -> None:
    with ScriptedBroker() as scripted:
        session = make_session(scripted.port, will_delay_s=7)
        session.start()
        for count in range(3):
            assert wait_until(lambda: session.connected)
            assert session.status.reconnects == count
            scripted.links[-1].sock.shutdown(socket.SHUT_RDWR)
            assert wait_until(lambda: not session.connected or session.status.reconnects > 2)
    clean_start = 0x02
    assert [bool(link.connect[7] & clean_start) for link in scripted.links[:3]] == [
        True,
        False,
        False,
    ]
    for link in scripted.links:
        assert b"\x11\0\0\0\7" in link.connect, "no session expiry"
        assert b"\x18\0\0\0\7" in link.connect, "no will delay"


def test_a_clean_stop_delivers_everything_then_offline_and_no_will(
    broker: Mosquitto, make_session: MakeSession, protocol: Protocol
) -> None:
    session = make_session(broker.port, protocol=protocol)
    session.publish(ONLINE)
    with Subscriber(broker.port) as subscriber:
        started(session)
        assert all(session.publish(message) for message in numbered(100))
        session.stop(last=OFFLINE, timeout_s=PATIENCE_S)
        assert not session.alive
        assert not session.connected
        assert not session.publish(INFO), "accepted after the end"
        # The broker has closed the connection when it answers a client that came later.
        with Subscriber(broker.port):
            assert subscriber.wait_for(lambda messages: len(messages) == 102)
    assert subscriber.messages[0].payload == b"online"
    assert numbers(subscriber.messages) == list(range(100))
    assert subscriber.messages[-1].payload == b"offline"
    assert (session.acknowledged, session.pending, session.status.dropped) == (102, 0, 1)


def test_the_will_speaks_where_the_last_message_could_not(
    broker: Mosquitto, make_session: MakeSession
) -> None:
    session = started(make_session(broker.port))
    with Subscriber(broker.port) as subscriber:
        broker.pause()
        session.stop(last=OFFLINE, timeout_s=0.1)
        assert not session.alive
        broker.resume()
        assert subscriber.wait_for(lambda messages: messages and messages[-1].payload == b"will")


def test_publishing_from_several_threads_keeps_count(
    broker: Mosquitto, make_session: MakeSession, protocol: Protocol
) -> None:
    session = started(make_session(broker.port, protocol=protocol, max_queued=50))
    accepted = [0] * 8

    def publish(worker: int) -> None:
        accepted[worker] = sum(map(session.publish, numbered(200, start=1000 * worker)))

    with Subscriber(broker.port) as subscriber:
        threads = [threading.Thread(target=publish, args=(i,)) for i in range(len(accepted))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert subscriber.wait_for(lambda messages: len(messages) == sum(accepted))
    assert wait_until(lambda: session.pending == 0)
    received = numbers(subscriber.messages)
    assert len(set(received)) == len(received) == session.status.published == session.acknowledged
    assert session.status.published + session.status.dropped == 8 * 200
    for worker in range(len(accepted)):
        mine = [number for number in received if number // 1000 == worker]
        assert mine == sorted(mine), "out of order"


@pytest.mark.parametrize("qos", [0, 1])
def test_a_stuck_broker_costs_bounded_memory_and_loses_nothing_that_was_accepted(
    broker: Mosquitto, make_session: MakeSession, qos: Literal[0, 1]
) -> None:
    session = started(make_session(broker.port, max_queued=30))
    with Subscriber(broker.port) as subscriber:
        broker.pause()
        # Larger than what the network's buffers hold.
        payload = bytes(1_000_000)
        results = [
            session.publish(Message(topic="cam/image", payload=payload, qos=qos)) for _ in range(50)
        ]
        assert session.pending <= 30
        assert results.count(False) == session.status.dropped >= 10
        broker.resume()
        assert subscriber.wait_for(lambda messages: len(messages) == results.count(True))
    assert wait_until(lambda: session.pending == 0)
    assert session.status.reconnects == 0


def test_unconfirmed_messages_go_out_again_in_order(
    broker: Mosquitto, make_session: MakeSession, protocol: Protocol
) -> None:
    session = started(make_session(broker.port, protocol=protocol))
    broker.pause()
    assert all(session.publish(message) for message in numbered(60))
    broker.kill()
    assert wait_until(lambda: not session.connected)
    assert session.pending == 60
    broker.start()
    assert wait_until(lambda: session.acknowledged == 60)
    topics = re.findall(r"Received PUBLISH from device \(d0.*'n/(\d+)'", broker.log)
    assert [int(number) for number in topics] == list(range(60))
    assert session.status.dropped == 0


def test_the_newest_of_a_retained_topic_replaces_those_that_wait(
    broker: Mosquitto, make_session: MakeSession
) -> None:
    session = started(make_session(broker.port))
    with Subscriber(broker.port, "cam/health") as subscriber:
        broker.pause()
        for i in range(500):
            assert session.publish(Message(topic="cam/health", payload=b"%d" % i, retain=True))
        assert session.pending <= 21, "more than one of them waits for the first to be confirmed"
        broker.resume()
        assert wait_until(lambda: session.pending == 0)
        assert subscriber.wait_for(lambda messages: messages and messages[-1].payload == b"499")
    assert session.status.dropped == 0


def test_a_content_type_arrives_with_mqtt_5(broker: Mosquitto, make_session: MakeSession) -> None:
    session = started(make_session(broker.port))
    with Subscriber(broker.port) as subscriber:
        session.publish(Message(topic="t", payload=b"{}", qos=0, content_type="application/json"))
        assert subscriber.wait_for(lambda messages: messages)
    [message] = subscriber.messages
    assert message.properties["ContentType"] == "application/json"
    assert (message.qos, message.retain) == (0, False)


def test_no_more_messages_are_under_way_than_the_broker_takes(
    tmp_path: Path, make_session: MakeSession
) -> None:
    with Mosquitto(tmp_path, lines=["max_inflight_messages 3"]) as broker:
        session = started(make_session(broker.port))
        assert all(session.publish(message) for message in numbered(200))
        assert wait_until(lambda: session.acknowledged == 200)
    assert session.status.reconnects == 0


def test_another_client_with_the_same_id_is_suspected(
    broker: Mosquitto, make_session: MakeSession
) -> None:
    # Only newer versions of mosquitto give the reason that MQTT 5 has for it.
    first = started(make_session(broker.port, reconnect_min_s=60, reconnect_max_s=60))
    started(make_session(broker.port))
    assert wait_until(lambda: first.status.last_error)
    assert "another client" in str(first.status.last_error)
    assert "client id" in str(first.status.last_error)
    assert not first.connected


def test_a_broker_that_falls_silent_is_left(broker: Mosquitto, make_session: MakeSession) -> None:
    session = started(make_session(broker.port, keepalive_s=1))
    broker.pause()
    assert wait_until(lambda: not session.connected)
    assert "no sign of life" in str(session.status.last_error)


def test_each_change_is_logged_once(
    tmp_path: Path, make_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broker = Mosquitto(tmp_path)
    session = make_session(broker.port, reconnect_max_s=0.03)
    session.start()
    assert wait_until(lambda: session.status.last_error)
    with broker:
        assert wait_until(lambda: session.connected)
        session.stop(last=None, timeout_s=PATIENCE_S)
    name = f"MQTT broker 127.0.0.1:{broker.port}"
    refused, back = [record.getMessage() for record in caplog.records]
    assert refused.startswith(f"{name}: connection refused; does a broker run there")
    assert re.fullmatch(rf"{name}: connected again after \d+ s", back)


def test_a_session_that_never_started_can_be_stopped(make_session: MakeSession) -> None:
    session = make_session(1)
    session.stop(last=OFFLINE, timeout_s=0)
    session.stop(last=OFFLINE, timeout_s=0)
    assert not session.publish(ONLINE)


def test_contradictions_are_reported_together() -> None:
    changes: dict[str, Any] = {
        "client_id": "",
        "password": "x",
        "reconnect_min_s": 2,
        "reconnect_max_s": 1,
        "max_queued": 0,
    }
    with pytest.raises(ConfigError) as caught:
        Session(**settings(0, **changes))
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "a\0b", "x" * 70_000])
def test_a_message_has_a_topic_to_publish_on(topic: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        Message(topic=topic, payload=b"")
