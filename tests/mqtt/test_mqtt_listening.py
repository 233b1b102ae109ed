"""What the session hears from the broker, and what it does not."""

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.brokers import PATIENCE_S, Mosquitto, Subscriber, needs_mosquitto, wait_until
from support.sessions import Protocol, access, settings

from edgeclassifier.contract.messages import Incoming, Message
from edgeclassifier.mqtt.once import read_retained
from edgeclassifier.mqtt.session import Session


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    chosen: Protocol = request.param
    return chosen


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as mosquitto:
        yield mosquitto


class Ear:
    """A session that listens, and what it heard."""

    def __init__(self, port: int, protocol: Protocol, topics: Sequence[str]) -> None:
        self.heard: list[Incoming] = []
        self.session = Session(
            **settings(port, protocol=protocol),
            subscriptions=topics,
        )
        self.session.listen(self.heard.append)

    def __enter__(self) -> "Ear":
        self.session.start()
        assert wait_until(lambda: self.session.connected)
        return self

    def __exit__(self, *_: object) -> None:
        self.session.stop(last=None, timeout_s=2.0)

    def hears(self, count: int) -> bool:
        return wait_until(lambda: len(self.heard) >= count)


def knock(subscriber: Subscriber, ear: Ear) -> None:
    """Publish until it is heard, as the subscription takes a moment, then forget it."""

    def heard() -> bool:
        subscriber.publish("door/knock")
        return bool(ear.heard)

    assert wait_until(heard)
    subscriber.publish("door/open")
    assert wait_until(lambda: ear.heard[-1].topic == "door/open")
    ear.heard.clear()


@needs_mosquitto
def test_what_is_published_is_heard_with_where_the_answer_goes(
    broker: Mosquitto, protocol: Protocol
) -> None:
    with Subscriber(broker.port) as other, Ear(broker.port, protocol, ["door/+"]) as ear:
        knock(other, ear)
        other.publish("door/bell", b"\0\xff", response_topic="who/is/it", correlation=b"\1\0")
        other.publish("window/bell", b"no")
        other.publish("door/last")
        assert wait_until(lambda: ear.heard and ear.heard[-1].topic == "door/last")
    bell = next(each for each in ear.heard if each.topic == "door/bell")
    assert bell.payload == b"\0\xff"
    mqtt5 = ("who/is/it", b"\1\0") if protocol == "5" else (None, None)
    assert (bell.response_topic, bell.correlation) == mqtt5
    assert all(each.topic.startswith("door/") for each in ear.heard)


@needs_mosquitto
def test_what_is_retained_is_not_heard(broker: Mosquitto, protocol: Protocol) -> None:
    with Subscriber(broker.port) as other:
        other.publish("door/old", b"x", retain=True)
        with Ear(broker.port, protocol, ["door/+"]) as ear:
            knock(other, ear)
            other.publish("door/new")
            assert wait_until(lambda: ear.heard and ear.heard[-1].topic == "door/new")
    assert "door/old" not in {each.topic for each in ear.heard}


@needs_mosquitto
def test_it_listens_again_after_an_outage(broker: Mosquitto, protocol: Protocol) -> None:
    with Ear(broker.port, protocol, ["door/+"]) as ear:
        broker.kill()
        assert wait_until(lambda: not ear.session.connected)
        broker.start()
        with Subscriber(broker.port) as other:
            knock(other, ear)


@needs_mosquitto
def test_it_listens_elsewhere_after_a_switch(broker: Mosquitto, protocol: Protocol) -> None:
    with Subscriber(broker.port) as other, Ear(broker.port, protocol, ["gate/+"]) as ear:
        ear.session.switch(
            access(broker.port, protocol=protocol),
            will=None,
            farewell=None,
            subscriptions=["door/+"],
        )
        knock(other, ear)
        other.publish("gate/bell")
        other.publish("door/bell")
        assert wait_until(lambda: ear.heard and ear.heard[-1].topic == "door/bell")
    assert not any(each.topic.startswith("gate") for each in ear.heard)


@needs_mosquitto
def test_a_large_message_to_it_does_not_break_the_connection(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as other, Ear(broker.port, "5", ["door/+"]) as ear:
        knock(other, ear)
        other.publish("door/flood", b"x" * 5_000_000)
        other.publish("door/bell")
        assert wait_until(lambda: ear.heard and ear.heard[-1].topic == "door/bell")
        assert ear.session.status.reconnects == 0
    assert "door/flood" not in {each.topic for each in ear.heard}


@needs_mosquitto
def test_listening_does_not_disturb_what_is_published(
    broker: Mosquitto, protocol: Protocol
) -> None:
    with Subscriber(broker.port, "out/#") as other, Ear(broker.port, protocol, ["door/+"]) as ear:
        knock(other, ear)
        for number in range(200):
            ear.session.publish(Message(topic="out/x", payload=b"%d" % number))
            if number % 10 == 0:
                other.publish("door/bell")
        assert other.wait_for(lambda got: len(got) == 200)
        assert ear.hears(20)
    assert [int(each.payload) for each in other.messages] == list(range(200))


@pytest.mark.parametrize(
    ("version", "connack", "suback"),
    [
        ("5", b"\x20\x03\0\0\0", b"\x90\x04%b\0\x87"),
        ("3.1.1", b"\x20\x02\0\0", b"\x90\x03%b\x80"),
    ],
)
def test_a_broker_that_does_not_let_it_listen_is_told_of(
    version: Protocol, connack: bytes, suback: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=refuse, args=(server, connack, suback), daemon=True)
        thread.start()
        port: Any = server.getsockname()[1]
        with Ear(port, version, ["door/+"]) as ear:
            assert wait_until(lambda: "does not let this device listen to door/+" in caplog.text)
            assert ear.session.connected
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def refuse(server: socket.socket, connack: bytes, suback: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.settimeout(PATIENCE_S)
        connection.recv(4096)
        connection.sendall(connack)
        subscribe = connection.recv(4096)
        connection.sendall(suback % subscribe[2:4])
        connection.recv(4096)


@needs_mosquitto
def test_what_is_retained_can_be_read_once(broker: Mosquitto, protocol: Protocol) -> None:
    with Subscriber(broker.port) as other:
        other.publish("door/health", b"{}", retain=True)
    at = access(broker.port, protocol=protocol)
    assert read_retained(at, "door/health") == b"{}"
    assert read_retained(at, "window/health") is None
