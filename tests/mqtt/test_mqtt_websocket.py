"""MQTT in WebSockets and behind ALPN, as brokers at port 443 want it."""

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.brokers import (
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

from edgeclassifier.contract.messages import Incoming, Message
from edgeclassifier.errors import BrokerError
from edgeclassifier.mqtt.once import probe
from edgeclassifier.mqtt.tls import make_tls_context
from edgeclassifier.mqtt.websocket import WebSocket, WebSocketError

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    chosen: Protocol = request.param
    return chosen


@pytest.fixture
def make_session() -> Iterator[MakeSession]:
    with sessions(websocket_path="/mqtt") as make:
        yield make


@needs_mosquitto
@pytest.mark.parametrize("encrypted", [False, True])
def test_messages_of_all_sizes_go_both_ways(
    tmp_path: Path,
    make_session: MakeSession,
    certificates: Certificates,
    protocol: Protocol,
    encrypted: bool,
) -> None:
    port = free_port()
    lines = [f"listener {port} 127.0.0.1", "protocol websockets"]
    of_tls: dict[str, Any] = {}
    if encrypted:
        lines += [f"certfile {certificates.server_cert}", f"keyfile {certificates.server_key}"]
        context = make_tls_context(
            ca_file=certificates.ca, cert_file=None, key_file=None, alpn=["http/1.1"]
        )
        of_tls = {"tls": context}
    payloads = [os.urandom(size) for size in (0, 1, 100, 125, 126, 65_000, 70_000, 900_000)]
    heard: list[Incoming] = []
    with Mosquitto(tmp_path, lines=lines) as broker, Subscriber(broker.port, "t") as watching:
        session = make_session(
            port, protocol=protocol, subscriptions=["request"], keepalive_s=5, **of_tls
        )
        session.listen(heard.append)
        for payload in payloads:
            session.publish(Message(topic="t", payload=payload, keep=True))
        assert watching.wait_for(lambda got: len(got) == len(payloads))
        assert [each.payload for each in watching.messages] == payloads
        assert wait_until(lambda: session.status.listening)
        for number in range(200):
            watching.publish("request", str(number))
        assert wait_until(lambda: len(heard) == 200)
        assert [each.payload for each in heard] == [str(number).encode() for number in range(200)]
        # Too large for a request: passed over, and the connection stands.
        # (mosquitto 2.0 itself stalls at more than some 200 kB in a WebSocket.)
        watching.publish("request", bytes(100_000))
        watching.publish("request", b"last")
        assert wait_until(lambda: heard[-1].payload == b"last")
        assert session.status.reconnects == 0
        broker.stop()
        broker.start()
        assert wait_until(lambda: session.connected and session.status.reconnects >= 1)
        # Retained, because the subscriber may be slower to come back.
        session.publish(Message(topic="t", payload=b"again", retain=True))
        assert watching.wait_for(lambda got: got[-1].payload == b"again")
        session.stop(last=Message(topic="t", payload=b"bye"), timeout_s=5)
        assert watching.wait_for(lambda got: got[-1].payload == b"bye")


@contextlib.contextmanager
def serving(
    answer: Callable[[socket.socket, bytes], None], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Answer each connection's first bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    sock = tls.wrap_socket(plain, server_side=True) if tls else plain
                    with sock:
                        answer(sock, sock.recv(4096))

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def switching(request: bytes) -> bytes:
    """Agree, as a server that knows WebSockets."""
    lines = request.decode().split("\r\n")
    key = next(line for line in lines if line.startswith("Sec-WebSocket-Key: "))[19:]
    accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: " + base64.b64encode(accept) + b"\r\n"
        b"sec-websocket-protocol: mqtt\r\n\r\n"
    )


WRONG_KEY = b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: x\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "'404 Not Found'; check mqtt.websocket_path"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", "'301 Moved'"),
        (WRONG_KEY, "with a wrong key"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "as HTTP has it"),
        (b"", "as HTTP has it"),
        (b"x" * 100_000, "as HTTP has it"),
        (b"HTTP/1.1 101 S\r\n" + b"a: b\r\n" * 500 + b"\r\n", "with too much"),
    ],
)
def test_what_is_no_websocket_is_told(answer: bytes, words: str) -> None:
    with serving(lambda sock, _request: sock.sendall(answer)) as port:
        with pytest.raises(BrokerError) as caught:
            probe(access(port, websocket_path="/mqtt"), timeout_s=5)
        assert words in str(caught.value)
        assert isinstance(caught.value.__cause__, WebSocketError)


def test_an_answer_that_comes_byte_by_byte_has_one_time_limit() -> None:
    ended = threading.Event()

    def drip(sock: socket.socket, _request: bytes) -> None:
        while not ended.wait(0.1):
            sock.sendall(b"x")

    with serving(drip) as port:
        with pytest.raises(BrokerError, match="no answer within 1 s"):
            probe(access(port, websocket_path="/mqtt"), timeout_s=1)
        ended.set()


def test_the_path_and_the_host_are_asked_for() -> None:
    requests: list[bytes] = []
    note = serving(lambda _sock, request: requests.append(request))
    with note as port, pytest.raises(BrokerError):
        probe(access(port, host="localhost", websocket_path="/a/b?c=1"), timeout_s=5)
    [line, host, *_] = requests[0].decode().split("\r\n")
    assert line == "GET /a/b?c=1 HTTP/1.1"
    assert host == f"Host: localhost:{port}"
    assert b"Sec-WebSocket-Protocol: mqtt\r\n" in requests[0]


def frame(kind: int, content: bytes, *, final: bool = True) -> bytes:
    size = len(content)
    head = bytes([kind | (0x80 if final else 0)])
    if size < 126:
        return head + bytes([size]) + content
    if size < 65_536:
        return head + struct.pack("!BH", 126, size) + content
    return head + struct.pack("!BQ", 127, size) + content


@pytest.fixture
def ends() -> Iterator[tuple[WebSocket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    with theirs:
        thread = threading.Thread(target=lambda: theirs.sendall(switching(theirs.recv(4096))))
        thread.start()
        client = WebSocket(ours, host="h", port=80, path="/", timeout_s=5)
        thread.join()
        client.setblocking(False)
        yield client, theirs
        client.close()


def received(client: WebSocket, size: int) -> bytes:
    """Read as paho does, in small and large parts."""
    data = bytearray()

    def read() -> bool:
        with contextlib.suppress(BlockingIOError):
            data.extend(client.recv(1 if len(data) % 3 else size))
        return len(data) >= size

    assert wait_until(read)
    return bytes(data)


def test_frames_may_be_split_joined_and_mixed_with_others(
    ends: tuple[WebSocket, socket.socket],
) -> None:
    client, server = ends
    content = os.urandom(200_000)
    sent = (
        frame(2, content[:10], final=False)
        + frame(9, b"ping")
        + frame(0, b"", final=False)
        + frame(0, content[10:100_000])
        + frame(10, b"pong")
        + frame(2, content[100_000:])
    )

    def write() -> None:
        for at in range(0, len(sent), 777):
            server.sendall(sent[at : at + 777])

    writing = threading.Thread(target=write)
    writing.start()
    assert received(client, len(content)) == content
    writing.join()
    answer = server.recv(100)
    assert answer[:2] == bytes([0x8A, 0x84]), "a masked pong"
    mask = answer[2:6]
    assert bytes(one ^ two for one, two in zip(answer[6:10], mask, strict=True)) == b"ping"


def test_what_is_decoded_and_not_read_is_pending(ends: tuple[WebSocket, socket.socket]) -> None:
    client, server = ends
    server.sendall(frame(2, b"ab") + frame(2, b"cd") + b"\x82")
    assert received(client, 1)[:1] == b"a"
    assert client.pending() > 0
    assert client.recv(10) in {b"b", b"bcd"}
    assert client.pending() > 0
    assert client.recv(10) == b"cd"
    assert client.pending() == 0, "half a header is nothing to wake up for"


@pytest.mark.parametrize("closing", [frame(8, b"\x03\xe8"), None])
def test_the_end_is_the_end(ends: tuple[WebSocket, socket.socket], closing: bytes | None) -> None:
    client, server = ends
    server.sendall(frame(2, b"last") + (closing or b""))
    if closing is None:
        server.shutdown(socket.SHUT_WR)
    assert received(client, 4) == b"last"
    assert wait_until(lambda: _ended(client))


def _ended(client: WebSocket) -> bool:
    with contextlib.suppress(BlockingIOError):
        return client.recv(1) == b""
    return False


@pytest.mark.parametrize(
    "wrong", [b"\x82\x80\0\0\0\0", frame(1, b"text"), frame(9, bytes(126)), frame(3, b"")]
)
def test_what_a_server_may_not_send_ends_the_connection(
    ends: tuple[WebSocket, socket.socket], wrong: bytes
) -> None:
    client, server = ends
    server.sendall(wrong)
    with pytest.raises(ConnectionResetError):
        wait_until(lambda: _ended(client))
    assert client.pending() > 0


def test_a_frame_without_end_takes_no_memory(ends: tuple[WebSocket, socket.socket]) -> None:
    client, server = ends
    server.sendall(struct.pack("!BBQ", 0x82, 127, 1 << 62))
    for _ in range(100):
        server.sendall(bytes(10_000))
        received(client, 10_000)
    assert len(client._payload) + len(client._raw) < 200_000


def test_a_slow_network_gets_the_frame_in_parts(ends: tuple[WebSocket, socket.socket]) -> None:
    client, server = ends
    content = os.urandom(5_000_000)
    got = bytearray()

    def read() -> None:
        while len(got) < len(content) + 14:
            got.extend(server.recv(65_536))

    reading = threading.Thread(target=read)

    def send() -> bool:
        with contextlib.suppress(BlockingIOError):
            return client.send(content) == len(content)
        return False

    assert not send(), "nobody reads yet"
    reading.start()
    assert wait_until(send)
    reading.join()
    assert struct.unpack_from("!BBQ", got) == (0x82, 0xFF, len(content))
    mask = (bytes(got[10:14]) * (len(content) // 4))[: len(content)]
    number = int.from_bytes(got[14:], "big") ^ int.from_bytes(mask, "big")
    assert number.to_bytes(len(content), "big") == content


def test_the_protocol_is_named_where_a_port_serves_several(certificates: Certificates) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.server_cert, certificates.server_key)
    server.set_alpn_protocols(["h2", "x-amzn-mqtt-ca"])
    chosen: list[str | None] = []

    def note(sock: socket.socket, _request: bytes) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        chosen.append(sock.selected_alpn_protocol())

    for alpn in ((), ("x-amzn-mqtt-ca",)):
        context = make_tls_context(
            ca_file=certificates.ca, cert_file=None, key_file=None, alpn=alpn
        )
        with serving(note, server) as port, pytest.raises(BrokerError):
            probe(access(port, host="localhost", tls=context), timeout_s=5)
    assert chosen == [None, "x-amzn-mqtt-ca"]
