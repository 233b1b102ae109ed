"""Messages that are kept: none is lost, whatever the broker does, and all arrive in order."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.brokers import (
    PATIENCE_S,
    Certificates,
    Mosquitto,
    Received,
    Subscriber,
    free_port,
    make_certificates,
    needs_mosquitto,
    needs_openssl,
    wait_until,
)
from support.sessions import MakeSession, access, sessions

from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.contract.messages import Message
from edgeclassifier.errors import ConfigError
from edgeclassifier.host.backoff import Backoff
from edgeclassifier.mqtt.session import Session
from edgeclassifier.mqtt.tls import make_tls_context

pytestmark = needs_mosquitto

ONLINE = Message(topic="cam/availability", payload=b"online", retain=True)
OFFLINE = Message(topic="cam/availability", payload=b"offline", retain=True)


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions(max_queued=100) as make:
        yield make


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as mosquitto:
        yield mosquitto


def kept(number: int, *, topic: str = "n", retain: bool = False, size: int = 0) -> Message:
    payload = (b"%d" % number).ljust(size)
    return Message(topic=topic, payload=payload, retain=retain, keep=True)


def publish(session: Session, numbers: range, **more: Any) -> None:
    for number in numbers:
        assert session.publish(kept(number, **more))


def numbers(messages: list[Received]) -> list[int]:
    return [int(each.payload) for each in messages if each.topic == "n"]


def firsts(messages: list[Received]) -> list[int]:
    return list(dict.fromkeys(numbers(messages)))


def go_to(session: Session, broker: Mosquitto) -> None:
    """Let a session find the broker, once somebody watches."""
    session.switch(access(broker.port), will=None, farewell=None)


def test_what_was_published_before_there_was_a_broker_arrives_in_order(
    tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session(free_port())
    publish(session, range(100))
    assert wait_until(lambda: session.status.last_error)
    assert (session.pending, session.buffer.pending, session.status.dropped) == (100, 100, 0)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        go_to(session, broker)
        assert subscriber.wait_for(lambda messages: len(messages) >= 100)
        assert wait_until(lambda: session.pending == 0)
    assert firsts(subscriber.messages) == list(range(100))


def test_an_outage_longer_than_the_buffer_costs_the_oldest(
    tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session(free_port(), max_bytes=50_000)
    publish(session, range(1000))
    dropped = session.status.dropped
    assert dropped == session.buffer.dropped == 1000 - session.pending > 800
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        go_to(session, broker)
        assert wait_until(lambda: session.pending == 0)
        assert subscriber.wait_for(lambda messages: len(messages) >= 1000 - dropped)
    assert firsts(subscriber.messages) == list(range(dropped, 1000))


def test_a_backlog_and_a_small_receive_maximum(tmp_path: Path, make_session: MakeSession) -> None:
    lines = ["max_inflight_messages 2", "max_queued_messages 0"]
    session = make_session(free_port())
    publish(session, range(2000))
    with Mosquitto(tmp_path, lines=lines) as broker, Subscriber(broker.port) as subscriber:
        go_to(session, broker)
        assert wait_until(lambda: session.pending == 0)
        assert subscriber.wait_for(lambda messages: messages and int(messages[-1].payload) == 1999)
        assert session.status.reconnects == 0
    assert numbers(subscriber.messages) == sorted(numbers(subscriber.messages))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_message_the_broker_cannot_take_does_not_block_a_backlog(
    tmp_path: Path, make_session: MakeSession, protocol: str
) -> None:
    broker = Mosquitto(tmp_path, lines=["max_packet_size 20000"])
    session = make_session(broker.port, protocol=protocol)
    publish(session, range(50))
    publish(session, range(50, 51), size=50_000)
    publish(session, range(51, 100))
    with broker:
        assert wait_until(lambda: session.connected and session.pending == 0)
        publish(session, range(100, 101), retain=True)
        with Subscriber(broker.port, "n") as subscriber:
            assert subscriber.wait_for(lambda messages: messages)
    assert numbers(subscriber.messages)[-1] == 100
    assert session.status.dropped == 1
    assert session.acknowledged >= 100


def test_a_retained_message_with_qos_0_that_is_too_large_is_given_up(
    tmp_path: Path, make_session: MakeSession
) -> None:
    """It is sent with QoS 1, or else nobody would learn why connections break."""
    with Mosquitto(tmp_path, lines=["max_packet_size 20000"]) as broker:
        session = make_session(broker.port, protocol="3.1.1")
        assert wait_until(lambda: session.connected)
        session.publish(Message(topic="image", payload=bytes(50_000), qos=0, retain=True))
        assert wait_until(lambda: session.status.dropped == 1)
        assert wait_until(lambda: session.connected and session.pending == 0)
        before = session.status.reconnects
        broker.kill()
        broker.start()
        assert wait_until(lambda: session.connected and session.status.reconnects == before + 1)
        session.publish(ONLINE)
        assert wait_until(lambda: session.pending == 0)
        assert session.status.reconnects == before + 1
        assert session.status.dropped == 1


class TestStates:
    """Retained messages that are kept."""

    def test_the_newest_is_part_of_the_birth_and_never_overtakes(
        self, broker: Mosquitto, make_session: MakeSession
    ) -> None:
        session = make_session(broker.port)
        publish(session, range(5), topic="state", retain=True)
        assert wait_until(lambda: session.pending == 0 and session.acknowledged == 5)
        for turn in range(2):
            # This broker has no memory: what is here came with this connection.
            broker.kill()
            assert wait_until(lambda: not session.connected)
            broker.start()
            with Subscriber(broker.port, "state") as subscriber:
                assert subscriber.wait_for(lambda messages: messages)
            assert [int(each.payload) for each in subscriber.messages] == [4], turn

    def test_what_waits_is_not_overtaken_by_its_successors(
        self, tmp_path: Path, make_session: MakeSession
    ) -> None:
        broker = Mosquitto(tmp_path)
        with broker:
            session = make_session(broker.port)
            publish(session, range(3), retain=True)
            assert wait_until(lambda: session.acknowledged == 3)
        assert wait_until(lambda: not session.connected)
        for start in range(3, 60, 3):
            publish(session, range(start, start + 2))
            publish(session, range(start + 2, start + 3), retain=True)
        with broker, Subscriber(broker.port, "n") as subscriber:
            assert wait_until(lambda: session.pending == 0)
            assert subscriber.wait_for(
                lambda messages: messages and int(messages[-1].payload) == 59
            )
        assert firsts(subscriber.messages) == sorted(firsts(subscriber.messages))
        with Mosquitto(tmp_path) as other, Subscriber(other.port) as late:
            session.switch(access(other.port), will=None, farewell=None)
            assert wait_until(lambda: session.connected)
            assert not late.messages, "the birth was to be forgotten"

    def test_a_state_that_the_buffer_has_dropped_is_delivered_as_the_birth(
        self, tmp_path: Path, make_session: MakeSession
    ) -> None:
        broker = Mosquitto(tmp_path)
        session = make_session(broker.port, max_bytes=20_000)
        publish(session, range(1), topic="state", retain=True)
        publish(session, range(200))
        with broker:
            assert wait_until(lambda: session.connected and session.pending == 0)
            with Subscriber(broker.port, "state") as subscriber:
                assert subscriber.wait_for(lambda messages: messages)


def test_two_sessions_with_one_client_id_both_survive(
    broker: Mosquitto, make_session: MakeSession
) -> None:
    with Subscriber(broker.port) as subscriber:
        first, second = (make_session(broker.port) for _ in range(2))
        assert wait_until(lambda: first.status.reconnects + second.status.reconnects >= 4)
        publish(first, range(50))
        publish(second, range(50, 100))
        assert first.alive
        assert second.alive
        second.stop(last=None, timeout_s=PATIENCE_S)
        assert wait_until(lambda: first.pending == 0)
        left = second.buffer.pending
        # What was sent without an acknowledgement counts as left, and may have arrived as well.
        assert subscriber.wait_for(lambda messages: len(set(numbers(messages))) >= 100 - left)
    assert set(range(50)) <= set(numbers(subscriber.messages))
    # The pauses grow, although every connection is accepted at first.
    assert broker.log.count("New client connected") < 200


def test_kept_messages_arrive_when_the_credentials_are_corrected(
    tmp_path: Path, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "slow_s", lambda _: 0.05)
    port_of: list[int] = []
    with Mosquitto(tmp_path, passwords={"device": "old"}) as strict:
        port_of.append(strict.port)
        session = make_session(strict.port, username="device", password="new")
        publish(session, range(20))
        assert wait_until(lambda: "not authorized" in str(session.status.last_error))
        assert session.pending == 20
    corrected = Mosquitto(tmp_path, passwords={"device": "new"}, port=port_of[0])
    with corrected:
        assert wait_until(lambda: session.acknowledged == 20)
    assert session.status.dropped == 0


def test_kept_messages_arrive_when_a_broker_takes_the_place_of_something_silent(
    tmp_path: Path, make_session: MakeSession
) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        session = make_session(port, timeout_s=0.2)
        publish(session, range(20))
        assert wait_until(lambda: "did not answer" in str(session.status.last_error))
    with Mosquitto(tmp_path, port=port):
        assert wait_until(lambda: session.acknowledged == 20)


@needs_openssl
def test_kept_messages_arrive_once_the_certificate_is_valid(
    tmp_path: Path, make_session: MakeSession
) -> None:
    """As on a device whose clock is behind until it has found the time."""
    certificates = make_certificates(tmp_path)
    certificate = valid_in(3, tmp_path, certificates)
    tls = make_tls_context(ca_file=certificates.ca, cert_file=None, key_file=None)
    with Mosquitto(tmp_path, tls=(certificate, certificates.server_key)) as broker:
        session = make_session(broker.port, tls=tls)
        publish(session, range(20))
        assert wait_until(lambda: "not valid yet" in str(session.status.last_error))
        assert "clock" in str(session.status.last_error)
        assert wait_until(lambda: session.acknowledged == 20)
    assert session.status.dropped == 0


def valid_in(seconds: float, folder: Path, certificates: Certificates) -> Path:
    """Sign the server's request once more; only `openssl ca` can set the beginning everywhere."""
    begins = datetime.now(UTC) + timedelta(seconds=seconds)
    form = "%Y%m%d%H%M%SZ"
    (folder / "index.txt").touch()
    config = folder / "ca.conf"
    config.write_text(
        f"[ca]\ndefault_ca = own\n[own]\ndatabase = {folder}/index.txt\n"
        f"rand_serial = yes\nnew_certs_dir = {folder}\ndefault_md = sha256\npolicy = any\n"
        f"certificate = {certificates.ca}\nprivate_key = {folder}/ca.key\n"
        "[any]\ncommonName = supplied\n"
    )
    done = subprocess.run(
        [
            *("openssl", "ca", "-batch", "-notext", "-config", config),
            *("-in", folder / "server.csr", "-extfile", folder / "server.ext"),
            *("-startdate", begins.strftime(form)),
            *("-enddate", (begins + timedelta(days=1)).strftime(form)),
            *("-out", folder / "future.pem"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return folder / "future.pem"


class TestSwitch:
    def test_to_another_broker(
        self, tmp_path: Path, broker: Mosquitto, make_session: MakeSession
    ) -> None:
        (tmp_path / "other").mkdir()
        with Mosquitto(tmp_path / "other") as other, Subscriber(broker.port) as here:
            session = make_session(broker.port)
            session.publish(ONLINE)
            publish(session, range(100))
            assert wait_until(lambda: session.acknowledged == 101)
            will = Message(topic="b", payload=b"will", retain=True)
            with Subscriber(other.port) as there:
                session.switch(access(other.port), will=will, farewell=OFFLINE)
                born = Message(topic="b", payload=b"online", retain=True)
                session.publish(born)
                publish(session, range(100, 200))
                assert there.wait_for(lambda messages: len(numbers(messages)) >= 100)
                assert here.wait_for(lambda messages: messages[-1].payload == b"offline")
                assert there.payloads(ONLINE.topic) == []
                assert there.payloads("b") == [b"online"]
        assert here.payloads("b") == []
        assert firsts(here.messages + there.messages) == list(range(200))
        assert session.status.dropped == 0

    def test_ends_a_long_wait(self, tmp_path: Path) -> None:
        session = Session(
            broker=access(1),
            buffer=MemoryBuffer(max_bytes=100_000),
            reconnect_min_s=3600,
            reconnect_max_s=3600,
            max_queued=1,
            will=None,
        )
        session.start()
        publish(session, range(5))
        assert wait_until(lambda: session.status.last_error)
        with Mosquitto(tmp_path) as broker:
            session.switch(access(2), will=None, farewell=OFFLINE)
            session.switch(access(broker.port), will=None, farewell=OFFLINE)
            assert wait_until(lambda: session.acknowledged == 5)
            session.stop(last=None, timeout_s=PATIENCE_S)
        assert not session.alive

    def test_a_broker_that_hangs_is_left_and_nothing_is_lost(
        self, tmp_path: Path, broker: Mosquitto, make_session: MakeSession
    ) -> None:
        (tmp_path / "other").mkdir()
        session = make_session(broker.port)
        assert wait_until(lambda: session.connected)
        broker.pause()
        publish(session, range(100))
        with Mosquitto(tmp_path / "other") as other, Subscriber(other.port) as there:
            session.switch(access(other.port), will=None, farewell=OFFLINE)
            assert there.wait_for(lambda messages: len(messages) >= 100)
        assert numbers(there.messages) == list(range(100))

    def test_from_several_threads(self, broker: Mosquitto, make_session: MakeSession) -> None:
        session = make_session(broker.port)
        with Subscriber(broker.port) as subscriber:

            def switch() -> None:
                for _ in range(10):
                    session.switch(access(broker.port), will=None, farewell=OFFLINE)

            threads = [threading.Thread(target=switch) for _ in range(4)]
            for thread in threads:
                thread.start()
            publish(session, range(200))
            for thread in threads:
                thread.join(PATIENCE_S)
            assert wait_until(lambda: session.pending == 0)
            assert subscriber.wait_for(lambda got: len(set(numbers(got))) == 200)
        assert firsts(subscriber.messages) == list(range(200))

    def test_to_a_broker_that_cannot_be(self, make_session: MakeSession) -> None:
        session = make_session(1)
        with pytest.raises(ConfigError, match="client id is empty"):
            session.switch(access(1, client_id=""), will=None, farewell=None)
        assert session.alive


def test_a_stop_with_a_backlog_takes_leave_in_time(
    tmp_path: Path, make_session: MakeSession
) -> None:
    """The last message gets through, although not everything before it does."""
    with Mosquitto(tmp_path, lines=["max_inflight_messages 1"]) as broker:
        session = make_session(broker.port, max_bytes=100_000_000)
        assert wait_until(lambda: session.connected)
        with Subscriber(broker.port, "cam/#") as subscriber:
            publish(session, range(50_000))
            session.stop(last=OFFLINE, timeout_s=0.8)
            assert subscriber.wait_for(lambda messages: messages)
        assert session.buffer.pending > 0, "no backlog was left, so nothing was shown"


def test_what_cannot_be_acknowledged_cannot_be_kept() -> None:
    with pytest.raises(ValueError, match="QoS 0"):
        Message(topic="t", payload=b"", qos=0, keep=True)
