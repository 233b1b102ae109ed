"""A broker that does not take MQTT 5 is spoken to in 3.1.1, if that is allowed."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.brokers import Mosquitto, needs_mosquitto, wait_until
from support.scripted_broker import Link, ScriptedBroker
from support.sessions import MakeSession, access, sessions

from edgeclassifier.contract.messages import Message
from edgeclassifier.errors import BrokerError
from edgeclassifier.mqtt.connection import RefusedError
from edgeclassifier.mqtt.once import deliver, probe


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions() as make:
        yield make


_AUTO: dict[str, Any] = {"protocol": "5", "older_too": True}
Refuse = Callable[[Link], int]


def silent(link: Link) -> int:
    """Close the connection without a word, as RabbitMQ before 3.13 does."""
    if link.v5:
        raise ConnectionError
    return 0


def unsupported(link: Link) -> int:
    """Refuse as MQTT 5 has it."""
    return 132 if link.v5 else 0


def in_the_old_way(link: Link) -> int:
    """Refuse as a broker does that knows nothing of MQTT 5."""
    if link.v5:
        link.send(0x20, b"\0\1")
        raise ConnectionError
    return 0


def in_no_way(link: Link) -> int:
    """Answer with something else."""
    if link.v5:
        link.sock.sendall(b"\xff\xff\xff\xff\xff\xff\xff")
        raise ConnectionError
    return 0


@pytest.mark.parametrize("refuse", [silent, unsupported, in_the_old_way, in_no_way])
def test_the_older_version_is_tried_at_once_and_kept(
    make_session: MakeSession, caplog: pytest.LogCaptureFixture, refuse: Refuse
) -> None:
    with ScriptedBroker(refuse=refuse) as broker:
        session = make_session(broker.port, reconnect_min_s=5, reconnect_max_s=5, **_AUTO)
        session.publish(Message(topic="kept", payload=b"1", keep=True))
        assert wait_until(lambda: broker.payloads("kept") == [b"1"], timeout_s=4)
        assert session.status.protocol == "3.1.1"
        assert broker.connections == 2
        assert [link.v5 for link in broker.links] == [True, False]
    said = [each for each in caplog.records if "going on with 3.1.1" in each.message]
    assert [each.levelno for each in said] == [logging.WARNING]


def test_the_next_connection_begins_with_what_worked(make_session: MakeSession) -> None:
    with ScriptedBroker(refuse=silent) as broker:
        session = make_session(broker.port, **_AUTO)
        assert wait_until(lambda: session.connected)
        broker.take = lambda _link, _message: "close"
        session.publish(Message(topic="t", payload=b"1"))
        assert wait_until(lambda: broker.connections >= 3 and session.connected)
        assert [link.v5 for link in broker.links][:3] == [True, False, False]


def test_a_broker_that_has_been_replaced_is_asked_again(make_session: MakeSession) -> None:
    with ScriptedBroker(refuse=silent) as broker:
        session = make_session(broker.port, **_AUTO)
        assert wait_until(lambda: session.status.protocol == "3.1.1")
        broker.refuse = lambda link: 0 if link.v5 else 136
        broker.take = lambda link, _message: "confirm" if link.v5 else "close"
        session.publish(Message(topic="t", payload=b"1"))
        assert wait_until(lambda: session.connected and session.status.protocol == "5")


@needs_mosquitto
def test_a_broker_that_takes_the_newer_one_gets_it(
    make_session: MakeSession, broker: Mosquitto
) -> None:
    session = make_session(broker.port, **_AUTO)
    assert session.status.protocol is None
    assert wait_until(lambda: session.connected)
    assert session.status.protocol == "5"
    probe(access(broker.port, client_id="other", **_AUTO))


def test_the_reason_is_that_of_the_version_the_broker_knows() -> None:
    def refuse(link: Link) -> int:
        return silent(link) or 4  # a wrong password

    with ScriptedBroker(refuse=refuse) as broker, pytest.raises(RefusedError) as caught:
        probe(access(broker.port, **_AUTO))
    assert "wrong user name or password" in str(caught.value)


def test_a_single_message_arrives_as_well() -> None:
    with ScriptedBroker(refuse=silent) as broker:
        deliver(access(broker.port, **_AUTO), [Message(topic="t", payload=b"1")])
        assert broker.payloads("t") == [b"1"]


def test_without_leave_only_the_remedy_is_named(make_session: MakeSession) -> None:
    with ScriptedBroker(refuse=silent) as broker:
        with pytest.raises(BrokerError, match=r'set mqtt\.protocol = "auto"'):
            probe(access(broker.port))
        session = make_session(broker.port)
        assert wait_until(lambda: broker.connections >= 4)
        assert all(link.v5 for link in broker.links)
        assert not session.connected


def test_a_port_that_is_no_broker_is_tried_twice_and_told_once() -> None:
    def close(_link: Link) -> int:
        raise ConnectionError

    with ScriptedBroker(refuse=close) as broker:
        with pytest.raises(BrokerError, match="closed the connection without an answer") as caught:
            probe(access(broker.port, **_AUTO))
        assert "auto" not in str(caught.value)
        assert broker.connections == 2
