"""What the session and the probe make of brokers that refuse, misbehave or are none."""

import contextlib
import random
import select
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.brokers import (
    PATIENCE_S,
    Certificates,
    Mosquitto,
    Subscriber,
    free_port,
    make_certificates,
    needs_mosquitto,
    needs_openssl,
    wait_until,
)
from support.sessions import MakeSession, Protocol, access, sessions

from edgeclassifier.contract.messages import Message
from edgeclassifier.errors import BrokerError
from edgeclassifier.host.backoff import Backoff
from edgeclassifier.host.wakeup import WakeUp
from edgeclassifier.mqtt import tls as tls_module
from edgeclassifier.mqtt.connection import Connection, RefusedError
from edgeclassifier.mqtt.once import probe
from edgeclassifier.mqtt.tls import make_tls_context

PROTOCOLS: tuple[Protocol, ...] = ("5", "3.1.1")
CONNACK_OK = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions(max_queued=100) as make:
        yield make


@contextlib.contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run something that is not a broker: `talk` gets each connection and its end closes it."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.settimeout(PATIENCE_S)
                talk(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as tcp:
        # In this interval it looks whether it is to end.
        thread = threading.Thread(target=tcp.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield tcp.server_address[1]
        finally:
            tcp.shutdown()
            thread.join(PATIENCE_S)


def why_not(port: int, *, timeout_s: float = 10.0, **changes: Any) -> str:
    """Probe, and return the reason for the failure."""
    broker = access(port, **changes)
    with pytest.raises(BrokerError) as caught:
        probe(broker, timeout_s=timeout_s)
    name, _, reason = str(caught.value).partition(f":{port}: ")
    assert name == f"MQTT broker {broker.host}"
    assert "\n" not in reason
    return reason


def test_nobody_listens() -> None:
    assert why_not(free_port()).startswith("connection refused; does a broker run there")


@pytest.mark.parametrize("host", ["broker.invalid", "a..b", "x" * 64])
def test_unknown_host(host: str) -> None:
    assert why_not(1883, host=host).startswith("cannot find this host (")


@needs_mosquitto
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_credentials(tmp_path: Path, protocol: Protocol) -> None:
    with Mosquitto(tmp_path, passwords={"device": "right"}) as broker:
        probe(access(broker.port, protocol=protocol, username="device", password="right"))
        for password in ("wrong", None):
            reason = why_not(broker.port, protocol=protocol, username="device", password=password)
            assert reason.startswith("connection refused by the broker: not authorized; check")


@needs_mosquitto
@needs_openssl
class TestTls:
    def test_trusted(self, tmp_path: Path, certificates: Certificates) -> None:
        with Mosquitto(tmp_path, tls=server_side(certificates.server_cert, certificates)) as broker:
            for host in ("127.0.0.1", "localhost"):
                probe(access(broker.port, host=host, tls=trusting(certificates.ca)))

    def test_a_session_over_tls(
        self, tmp_path: Path, certificates: Certificates, make_session: MakeSession
    ) -> None:
        tls = trusting(certificates.ca)
        with Mosquitto(tmp_path, tls=server_side(certificates.server_cert, certificates)) as broker:
            session = make_session(broker.port, tls=tls)
            assert wait_until(lambda: session.connected)
            payload = bytes(300_000)
            assert all(session.publish(Message(topic="t", payload=payload)) for _ in range(50))
            assert wait_until(lambda: session.acknowledged == 50)
            session.stop(last=Message(topic="t", payload=b""), timeout_s=PATIENCE_S)
        assert (session.acknowledged, session.status.reconnects) == (51, 0)

    def test_unknown_authority(self, tmp_path: Path, certificates: Certificates) -> None:
        with Mosquitto(tmp_path, tls=server_side(certificates.server_cert, certificates)) as broker:
            for ca in (certificates.other_ca, None):
                reason = why_not(broker.port, tls=trusting(ca))
                assert reason.startswith("its certificate is not signed by a trusted CA")

    def test_the_brokers_own_certificate_can_be_trusted_instead_of_a_ca(
        self, tmp_path: Path, certificates: Certificates
    ) -> None:
        with Mosquitto(tmp_path, tls=server_side(certificates.server_cert, certificates)) as broker:
            probe(access(broker.port, tls=trusting(certificates.server_cert)))
            reason = why_not(broker.port, tls=trusting(certificates.elsewhere_cert))
            assert reason.startswith("its certificate is not signed by a trusted CA")

    def test_wrong_host_name(self, tmp_path: Path, certificates: Certificates) -> None:
        tls = server_side(certificates.elsewhere_cert, certificates)
        with Mosquitto(tmp_path, tls=tls) as broker:
            for host in ("127.0.0.1", "localhost"):
                reason = why_not(broker.port, host=host, tls=trusting(certificates.ca))
                assert reason.startswith("its certificate is for another name")

    def test_expired(self, tmp_path: Path, certificates: Certificates) -> None:
        with Mosquitto(
            tmp_path, tls=server_side(certificates.expired_cert, certificates)
        ) as broker:
            reason = why_not(broker.port, tls=trusting(certificates.ca))
        assert reason == "its certificate has expired, or this device's clock is wrong"

    def test_client_certificate(self, tmp_path: Path, certificates: Certificates) -> None:
        with Mosquitto(
            tmp_path,
            tls=server_side(certificates.server_cert, certificates),
            client_ca=certificates.ca,
        ) as broker:
            tls = make_tls_context(
                ca_file=certificates.ca,
                cert_file=certificates.client_cert,
                key_file=certificates.client_key,
            )
            probe(access(broker.port, tls=tls))
            assert "client certificate" in why_not(broker.port, tls=trusting(certificates.ca))
            old = trusting(certificates.ca)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            assert "client certificate" in why_not(broker.port, tls=old)

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_client_certificate_that_the_broker_does_not_know(
        self, tmp_path: Path, certificates: Certificates, version: ssl.TLSVersion
    ) -> None:
        with Mosquitto(
            tmp_path,
            tls=server_side(certificates.server_cert, certificates),
            client_ca=certificates.other_ca,
        ) as broker:
            tls = make_tls_context(
                ca_file=certificates.ca,
                cert_file=certificates.client_cert,
                key_file=certificates.client_key,
            )
            tls.maximum_version = version
            for _ in range(5):
                reason = why_not(broker.port, tls=tls)
                assert reason.startswith("does not accept this client's certificate")

    def test_tls_to_a_plain_port(self, tmp_path: Path, certificates: Certificates) -> None:
        with Mosquitto(tmp_path) as broker:
            reason = why_not(broker.port, tls=trusting(certificates.ca))
        assert reason.startswith("does not speak TLS on this port")

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_plain_to_a_tls_port(
        self, tmp_path: Path, certificates: Certificates, protocol: Protocol
    ) -> None:
        with Mosquitto(tmp_path, tls=server_side(certificates.server_cert, certificates)) as broker:
            assert "whether it wants TLS" in why_not(broker.port, protocol=protocol)


def server_side(cert: Path, certificates: Certificates) -> tuple[Path, Path]:
    return cert, certificates.server_key


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    return make_tls_context(ca_file=ca_file, cert_file=None, key_file=None)


def http(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def http_over_tls_port(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(b"\x15\x03\x03\x00\x02\x02\x0a")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("talk", [http, http_over_tls_port])
def test_not_a_broker(talk: Callable[[socket.socket], None], protocol: Protocol) -> None:
    with server(talk) as port:
        assert "whether it wants TLS" in why_not(port, protocol=protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_answer(protocol: Protocol) -> None:
    with server(read_until_closed) as port:
        assert "did not answer within" in why_not(port, protocol=protocol, timeout_s=0.1)


def test_no_answer_to_the_tls_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_module, "_HANDSHAKE_TIMEOUT_S", 0.1)
    with server(read_until_closed) as port:
        assert why_not(port, tls=trusting(None)).startswith("no answer within")


def read_until_closed(sock: socket.socket) -> None:
    while sock.recv(4096):
        pass


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("welcome", [True, False])
def test_garbage_ends_the_connection_and_nothing_else(protocol: Protocol, welcome: bool) -> None:
    garbage = random.Random(1)

    def talk(sock: socket.socket) -> None:
        sock.recv(4096)
        # One packet of any kind and of a plausible size, and then anything.
        size = garbage.randrange(0, 40)
        packet = bytes([garbage.randrange(256), size]) + garbage.randbytes(size)
        sock.sendall((CONNACK_OK[protocol] if welcome else b"") + packet + garbage.randbytes(300))

    with server(talk) as port:
        for _ in range(150):
            connection = Connection(broker=access(port, protocol=protocol), will=None)
            try:
                connection.open()
                with pytest.raises(BrokerError):
                    step_until_it_ends(connection)
            finally:
                connection.close(politely=False)


def step_until_it_ends(connection: Connection) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        connection.step(1.0)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (133, RefusedError, "does not accept the client id 'device'"),
        (134, RefusedError, "wrong user name or password"),
        (137, BrokerError, "too busy"),
        (140, RefusedError, "bad authentication method (code 140)"),
    ],
)
def test_refusals(code: int, kind: type[BrokerError], words: str) -> None:
    def refuse(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(bytes([0x20, 3, 0, code, 0]))

    with server(refuse) as port, pytest.raises(BrokerError, match="connection refused") as caught:
        probe(access(port))
    assert words in str(caught.value)
    assert type(caught.value) is kind


def test_a_broker_of_another_protocol_version() -> None:
    def refuse(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(b"\x20\x02\x00\x01")

    with server(refuse) as port:
        assert 'set mqtt.protocol = "auto"' in why_not(port, protocol="5")
        assert why_not(port, protocol="3.1.1")


def test_the_reason_of_a_farewell_is_told(make_session: MakeSession) -> None:
    def say_goodbye(sock: socket.socket) -> None:
        sock.recv(4096)
        # Reason code 142 and a reason string; paho 2.1 overlooks a code that stands alone.
        sock.sendall(CONNACK_OK["5"] + b"\xe0\x07\x8e\x05\x1f\x00\x02hi")

    with server(say_goodbye) as port:
        session = make_session(port)
        assert wait_until(lambda: session.status.last_error)
    assert "another client connected as 'device'" in str(session.status.last_error)


def test_a_broker_that_welcomes_and_leaves_is_not_hammered_nor_logged_each_time(
    make_session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def welcome_and_leave(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(CONNACK_OK["5"])

    with server(welcome_and_leave) as port:
        session = make_session(port, reconnect_min_s=0.05)
        assert wait_until(lambda: session.status.reconnects >= 5)
        session.stop(last=None, timeout_s=PATIENCE_S)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert messages[0].endswith("connected")
    assert "the broker closed the connection" in messages[1]


def silent_broker(sock: socket.socket) -> None:
    """Welcome the client, and confirm nothing."""
    sock.recv(4096)
    sock.sendall(CONNACK_OK["5"])
    read_until_closed(sock)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("talk", [read_until_closed, silent_broker])
def test_stop_is_bounded_whatever_the_network_does(
    make_session: MakeSession, talk: Callable[[socket.socket], None], tls: bool
) -> None:
    seen = threading.Event()

    def talk_once_seen(sock: socket.socket) -> None:
        seen.set()
        talk(sock)

    with server(talk_once_seen) as port:
        session = make_session(port, tls=trusting(None) if tls else None)
        assert seen.wait(PATIENCE_S)
        if talk is silent_broker and not tls:
            assert wait_until(lambda: session.connected)
        session.publish(Message(topic="t", payload=b""))
        last = Message(topic="a", payload=b"offline")
        stop = threading.Thread(target=session.stop, kwargs={"last": last, "timeout_s": 0.1})
        stop.start()
        stop.join(5.0)
        assert not stop.is_alive()
        assert not session.publish(last)


@pytest.mark.parametrize("farewell", [Message(topic="a", payload=b"offline"), None])
def test_a_switch_leaves_the_will_to_speak_where_the_farewell_could_not(
    make_session: MakeSession, farewell: Message | None
) -> None:
    heard = b""
    closed = threading.Event()

    def confirm_nothing(sock: socket.socket) -> None:
        nonlocal heard
        sock.recv(4096)
        # At most two may be under way, so that the farewell has to wait.
        sock.sendall(b"\x20\x06\x00\x00\x03\x21\x00\x02")
        while data := sock.recv(4096):
            heard += data
        closed.set()

    with server(confirm_nothing) as port:
        session = make_session(port, switch_s=0.1)
        assert wait_until(lambda: session.connected)
        for _ in range(3):
            session.publish(Message(topic="t", payload=b"", keep=True))
        assert wait_until(lambda: heard.count(b"\x32\x06") == 2)
        session.switch(access(free_port()), will=None, farewell=farewell)
        assert closed.wait(PATIENCE_S)
    assert b"offline" not in heard
    # With this packet the broker forgets the will.
    assert (b"\xe0\x00" in heard) == (farewell is None)


def test_stop_ends_a_long_wait(make_session: MakeSession) -> None:
    session = make_session(free_port(), reconnect_min_s=3600, reconnect_max_s=3600)
    assert wait_until(lambda: session.status.last_error)
    session.stop(last=None, timeout_s=PATIENCE_S)
    assert not session.alive


def test_the_receive_maximum_of_the_broker_is_respected(make_session: MakeSession) -> None:
    most_under_way = 0

    def take_two(sock: socket.socket) -> None:
        """Confirm a message only when no more of them come."""
        nonlocal most_under_way
        sock.recv(4096)
        sock.sendall(b"\x20\x06\x00\x00\x03\x21\x00\x02")
        under_way: list[bytes] = []
        sock.settimeout(0.05)
        while True:
            try:
                header = sock.recv(2, socket.MSG_WAITALL)
            except TimeoutError:
                sock.sendall(b"".join(b"\x40\x02" + number for number in under_way))
                under_way.clear()
                continue
            # A topic of one letter, the packet's number, no properties, no payload.
            if header != b"\x32\x06":
                return
            under_way.append(sock.recv(6, socket.MSG_WAITALL)[3:5])
            most_under_way = max(most_under_way, len(under_way))

    with server(take_two) as port:
        session = make_session(port)
        assert wait_until(lambda: session.connected)
        assert all(session.publish(Message(topic="t", payload=b"")) for _ in range(10))
        assert wait_until(lambda: session.acknowledged == 10)
    assert most_under_way == 2


def test_a_wake_up_call_is_heard_once() -> None:
    wake_up = WakeUp()
    with contextlib.closing(wake_up), server(silent_broker) as port:
        connection = Connection(broker=access(port), will=None, wake=wake_up)
        connection.open()
        while not connection.accepted:
            connection.step(1.0)
        wake_up.ring()
        wake_up.ring()
        connection.step(PATIENCE_S)
        connection.close(politely=True)
        assert select.select([wake_up], [], [], 0) == ([], [], [])


@needs_mosquitto
def test_publishing_and_stopping_wait_for_no_timer(
    tmp_path: Path, make_session: MakeSession
) -> None:
    with Mosquitto(tmp_path) as broker:
        session = make_session(
            broker.port, reconnect_min_s=3600, reconnect_max_s=3600, step_s=3600.0
        )
        assert wait_until(lambda: session.connected)
        for count in range(1, 4):
            session.publish(Message(topic="t", payload=b""))
            assert wait_until(lambda: session.pending == 0)
            assert session.acknowledged == count
        session.stop(last=None, timeout_s=PATIENCE_S)
        assert not session.alive


@needs_mosquitto
def test_after_wrong_credentials_the_session_waits_long(
    tmp_path: Path, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []

    def slow_s(_backoff: Backoff) -> float:
        waits.append(1)
        return 3600.0

    monkeypatch.setattr(Backoff, "slow_s", slow_s)
    with Mosquitto(tmp_path, passwords={"device": "right"}) as broker:
        make_session(broker.port, username="device", password="wrong")
        assert wait_until(lambda: waits)


@needs_mosquitto
class TestRefusedMessages:
    def test_a_message_beyond_the_announced_limit_is_not_sent(
        self, tmp_path: Path, make_session: MakeSession, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Mosquitto(tmp_path, lines=["max_packet_size 1000"]) as broker:
            session = make_session(broker.port)
            assert wait_until(lambda: session.connected)
            for size in range(900, 1100):
                session.publish(Message(topic="t", payload=bytes(size)))
            assert wait_until(lambda: session.pending == 0)
        # 1 and 2 for the header, 2 and 1 for the topic, 2 for the packet's number, 1 for no
        # properties: 991 are left.
        assert (session.acknowledged, session.status.dropped) == (92, 108)
        assert session.status.reconnects == 0
        [warning] = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
        assert warning.endswith("dropped t (992 bytes): larger than the broker accepts")

    @pytest.mark.parametrize("retain", [True, False])
    @pytest.mark.parametrize("line", ["max_packet_size 20000", "message_size_limit 20000"])
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_a_message_that_breaks_connections_is_given_up(
        self,
        tmp_path: Path,
        make_session: MakeSession,
        protocol: Protocol,
        line: str,
        retain: bool,
    ) -> None:
        with Mosquitto(tmp_path, lines=[line]) as broker:
            session = make_session(broker.port, protocol=protocol)
            session.publish(Message(topic="a", payload=b"online", retain=True))
            assert wait_until(lambda: session.acknowledged == 1)
            session.publish(Message(topic="image", payload=bytes(50_000), retain=retain))
            assert wait_until(lambda: session.connected and session.pending == 0)
            assert session.publish(Message(topic="b", payload=b"after"))
            assert wait_until(lambda: session.pending == 0)
            with Subscriber(broker.port) as subscriber:
                assert subscriber.wait_for(lambda messages: messages)
        assert [message.payload for message in subscriber.messages] == [b"online"]

    def test_a_forbidden_topic_is_reported_once(
        self, tmp_path: Path, make_session: MakeSession, caplog: pytest.LogCaptureFixture
    ) -> None:
        acl = tmp_path / "acl"
        acl.write_text("topic write allowed/#\n")
        acl.chmod(0o700)
        with Mosquitto(tmp_path, lines=[f"acl_file {acl}"]) as broker:
            session = make_session(broker.port)
            assert wait_until(lambda: session.connected)
            for topic in ("allowed/x", "forbidden", "forbidden", "allowed/y"):
                assert session.publish(Message(topic=topic, payload=b""))
            assert wait_until(lambda: session.pending == 0)
        assert (session.acknowledged, session.status.dropped) == (2, 2)
        [warning] = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
        assert warning.endswith(
            "dropped forbidden (0 bytes): refused by the broker: not authorized"
        )
