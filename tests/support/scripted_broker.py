"""A broker that does what a test says: refuses, cuts, keeps silent, or sends what it must not."""

import contextlib
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from support.brokers import PATIENCE_S

Answer = Literal["confirm", "close", "ignore"] | int
"""What becomes of a message or a subscription; a number is the reason code of the refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One message that the broker received."""

    at_s: float
    connection: int
    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(slots=True)
class Link:
    """One connection of a client."""

    number: int
    sock: socket.socket
    v5: bool = True
    published: int = 0
    began_s: float = field(default_factory=time.monotonic)
    connect: bytes = b""
    """The body of its CONNECT."""

    @property
    def client_id(self) -> str:
        """The name that the client gave itself."""
        at = 10 + (1 + self.connect[10] if self.v5 else 0)
        [length] = struct.unpack_from("!H", self.connect, at)
        return self.connect[at + 2 : at + 2 + length].decode()

    confirmed: list[int] = field(default_factory=list)
    """Numbers of its PUBACKs."""

    def send(self, kind: int, body: bytes = b"") -> None:
        self.sock.sendall(bytes([kind]) + varint(len(body)) + body)

    def disconnect(self, code: int) -> None:
        """Say why, as MQTT 5 can, and close with what is unread, as many brokers do."""
        if self.v5:
            self.send(0xE0, bytes([code, 0]))
        raise ConnectionError

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 0, number: int = 1, properties: bytes = b""
    ) -> None:
        head = text(topic) + (struct.pack("!H", number) if qos else b"")
        self.send(0x30 | qos << 1, head + (prefixed(properties) if self.v5 else b"") + payload)


def varint(number: int) -> bytes:
    out = b""
    while True:
        number, digit = number >> 7, number & 127
        out += bytes([digit | (128 if number else 0)])
        if not number:
            return out


def text(value: str) -> bytes:
    return struct.pack("!H", len(value.encode())) + value.encode()


def prefixed(properties: bytes) -> bytes:
    return varint(len(properties)) + properties


def _prefixed_bytes(body: bytes, at: int) -> int:
    """Return how long properties are, with the length before them."""
    size = shift = 0
    for place in range(at, at + 4):
        size |= (body[place] & 127) << shift
        shift += 7
        if body[place] < 128:
            return place + 1 - at + size
    raise ConnectionError


class ScriptedBroker:
    """Speaks MQTT 5 and 3.1.1 to any number of clients, and lets a test decide.

    `welcome` returns the properties of CONNACK, `refuse` its code, `pong` whether a ping is
    answered, or the connection closed; `take` what becomes of a message; `hear` what
    becomes of a subscription. Each may also send something, or raise ConnectionError to close.
    """

    def __init__(
        self,
        *,
        take: Callable[[Link, Published], Answer] = lambda _link, _message: "confirm",
        hear: Callable[[Link, str], Answer] = lambda _link, _topic: "confirm",
        welcome: Callable[[Link], bytes] = lambda _link: b"",
        refuse: Callable[[Link], int] = lambda _link: 0,
        pong: Callable[[Link], bool] = lambda _link: True,
    ) -> None:
        self.take, self.hear, self.welcome, self.refuse = take, hear, welcome, refuse
        self.pong = pong
        self.messages: list[Published] = []
        self.subscribed: list[str] = []
        self.connections = self.pings = 0
        self.links: list[Link] = []
        """Of all connections, also those that have ended."""
        broker = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, EOFError):
                    self.request.settimeout(PATIENCE_S)
                    self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    broker._talk(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)
        for link in self.links:
            with contextlib.suppress(OSError):
                link.sock.shutdown(socket.SHUT_RDWR)

    def topics(self) -> list[str]:
        return [message.topic for message in self.messages]

    def payloads(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.messages if message.topic == topic]

    def _talk(self, sock: socket.socket) -> None:
        self.connections += 1
        link = Link(self.connections, sock)
        self.links.append(link)
        while True:
            header, body = _read_packet(sock)
            match header >> 4:
                case 1:
                    self._connect(link, body)
                case 3:
                    self._publish(link, header, body)
                case 4:
                    link.confirmed.append(struct.unpack_from("!H", body)[0])
                case 8:
                    self._subscribe(link, body)
                case 12:
                    self.pings += 1
                    if not self.pong(link):
                        return
                    link.send(0xD0)
                case 14:
                    return

    def _connect(self, link: Link, body: bytes) -> None:
        link.connect, link.v5 = body, body[6] == 5
        code = self.refuse(link)
        properties = prefixed(self.welcome(link)) if link.v5 else b""
        link.send(0x20, bytes([0, code]) + properties)
        if code:
            raise ConnectionError

    def _publish(self, link: Link, header: int, body: bytes) -> None:
        [length] = struct.unpack_from("!H", body)
        end, qos = 2 + length, header >> 1 & 3
        number = body[end : end + 2] if qos else b""
        start = end + len(number)
        if link.v5:
            start += _prefixed_bytes(body, start)
        message = Published(
            at_s=time.monotonic(),
            connection=link.number,
            topic=body[2:end].decode(),
            payload=body[start:],
            qos=qos,
            retain=bool(header & 1),
        )
        self.messages.append(message)
        link.published += 1
        answer = self.take(link, message)
        if answer == "close":
            raise ConnectionError
        if answer != "ignore" and qos:
            code = bytes([answer, 0]) if isinstance(answer, int) and link.v5 else b""
            link.send(0x40, number + code)

    def _subscribe(self, link: Link, body: bytes) -> None:
        at = 2 + (1 + body[2] if link.v5 else 0)
        codes = b""
        while at < len(body):
            [length] = struct.unpack_from("!H", body, at)
            topic = body[at + 2 : at + 2 + length].decode()
            at += 3 + length
            self.subscribed.append(topic)
            answer = self.hear(link, topic)
            if answer == "close":
                raise ConnectionError
            codes += bytes([answer if isinstance(answer, int) else 1])
        link.send(0x90, body[:2] + (b"\0" if link.v5 else b"") + codes)


def _read_packet(sock: socket.socket) -> tuple[int, bytes]:
    header = _read(sock, 1)[0]
    size = shift = 0
    while True:
        digit = _read(sock, 1)[0]
        size |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return header, _read(sock, size)


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := sock.recv(size - len(data))):
            raise EOFError
        data += more
    return data
