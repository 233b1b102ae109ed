"""MQTT in a WebSocket (RFC 6455), for a client that waits for the socket itself.

paho has one of its own, which keeps whole frames in memory, however long, and looks at each byte.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import io
import os
import socket
import ssl
import struct
import time

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_FINAL = _MASKED = 0x80
_LONGEST_CONTROL = 125
_SHORT, _LONG = 126, 127
_MOST_HEAD_BYTES = 16 * 1024
_CHUNK_BYTES = 64 * 1024
_MOST_WAITING_BYTES = 4 * 1024
"""Pings are not answered while more than this waits to be sent."""


class WebSocketError(ValueError):
    """What answers is no WebSocket that MQTT is spoken in."""


class WebSocket:
    """A socket to paho: takes and gives the bytes of MQTT."""

    def __init__(
        self, sock: socket.socket, *, host: str, port: int, path: str, timeout_s: float
    ) -> None:
        """Agree on WebSockets within `timeout_s`. Raises OSError or WebSocketError."""
        self._socket = sock
        self._raw = bytearray()
        """What has arrived and is not decoded."""
        self._payload = bytearray()
        self._left = 0
        """Bytes of the current frame that have not arrived."""
        self._out = bytearray()
        """The rest of the frames that are being sent."""
        self._promised = 0
        """The size of the data in them that paho has not been told of."""
        self._ended = False
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._shake_hands(_authority(sock, host, port), path, time.monotonic() + timeout_s)
        except BaseException:
            sock.close()
            raise

    def _shake_hands(self, authority: str, path: str, until_s: float) -> None:
        key = base64.b64encode(os.urandom(16))
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        self._wait_at_most(until_s)
        self._socket.sendall(request.encode())
        while (end := self._raw.find(b"\r\n\r\n")) < 0:
            self._wait_at_most(until_s)
            data = self._socket.recv(_CHUNK_BYTES)
            self._raw += data
            if not data or len(self._raw) > _MOST_HEAD_BYTES:
                raise WebSocketError("did not answer the request for a WebSocket as HTTP has it")
        head = bytes(self._raw[: end + 4])
        del self._raw[: end + 4]
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())  # noqa: S324 - RFC 6455
        _check_answer(head, accept.decode())

    def _wait_at_most(self, until_s: float) -> None:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes of MQTT, none after the end."""
        while not self._payload:
            if self._ended:
                return b""
            if not self._decode():
                data = self._socket.recv(_CHUNK_BYTES)
                if not data:
                    return b""
                self._raw += data
        data = bytes(self._payload[:size])
        del self._payload[:size]
        return data

    def pending(self) -> int:
        """Return more than 0 if recv() has something to say of which poll() does not know."""
        try:
            while not (self._payload or self._ended) and self._decode():
                pass
        except ConnectionResetError:
            return 1
        hidden = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._payload) + self._ended + hidden

    def _decode(self) -> bool:
        """Take apart what has arrived; return whether something could be."""
        if self._left:
            part = self._raw[: self._left]
            del self._raw[: len(part)]
            self._payload += part
            self._left -= len(part)
            return bool(part)
        header = _header(self._raw)
        if header is None:
            return False
        kind, length, start = header
        if kind in {_BINARY, _CONTINUATION}:
            del self._raw[:start]
            self._left = length
            return True
        if kind not in {_CLOSE, _PING, _PONG} or length > _LONGEST_CONTROL:
            raise ConnectionResetError(f"a WebSocket frame of kind {kind}, {length} bytes")
        if len(self._raw) < start + length:
            return False
        content = self._raw[start : start + length]
        del self._raw[: start + length]
        if kind == _PING and len(self._out) < _MOST_WAITING_BYTES:
            self._out += _frame(_PONG, content)
            with contextlib.suppress(OSError):
                self._flush()
        self._ended = kind == _CLOSE
        return True

    def send(self, data: bytes | bytearray) -> int:
        """Send all of it, or return 0, or raise BlockingIOError: then it wants the same again."""
        if not self._promised:
            self._promised = len(data)
            self._out += _frame(_BINARY, data)
        self._flush()
        if self._out:
            return 0
        sent, self._promised = self._promised, 0
        return sent

    def _flush(self) -> None:
        while self._out:
            del self._out[: self._socket.send(self._out)]

    def close(self) -> None:
        """Take leave, if there is room for that, and close the socket."""
        with contextlib.suppress(OSError, ValueError):
            if not self._out:
                self._socket.send(_frame(_CLOSE, b""))
        self._socket.close()

    def fileno(self) -> int:
        """Return what poll() waits for."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """Let recv() and send() wait, or not."""
        self._socket.setblocking(flag)


def _authority(sock: socket.socket, host: str, port: int) -> str:
    usual = 443 if isinstance(sock, ssl.SSLSocket) else 80
    name = f"[{host}]" if ":" in host else host
    return name if port == usual else f"{name}:{port}"


def _check_answer(head: bytes, accept: str) -> None:
    line, _, rest = head.partition(b"\r\n")
    version, _, status = line.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1."):
        raise WebSocketError("did not answer the request for a WebSocket as HTTP has it")
    if not status.startswith("101"):
        raise WebSocketError(
            f"answered the request for a WebSocket with {status[:60]!r}; check mqtt.websocket_path"
        )
    try:
        fields = http.client.parse_headers(io.BytesIO(rest))
    except http.client.HTTPException:
        raise WebSocketError("answered the request for a WebSocket with too much") from None
    if fields.get("Sec-WebSocket-Accept", "").strip() != accept:
        raise WebSocketError("answered as if it knew WebSockets, but with a wrong key")
    if fields.get("Sec-WebSocket-Protocol", "mqtt").strip() != "mqtt":
        raise WebSocketError("does not speak MQTT in this WebSocket; check mqtt.websocket_path")


def _header(raw: bytearray) -> tuple[int, int, int] | None:
    """Return kind and length of the frame that begins here, and where its content does."""
    if len(raw) < 2:  # noqa: PLR2004 - the shortest header
        return None
    kind, length = raw[0] & 0x0F, raw[1]
    if length & _MASKED:
        raise ConnectionResetError("a masked WebSocket frame")
    form = {_SHORT: "!H", _LONG: "!Q"}.get(length)
    if form is None:
        return kind, length, 2
    end = 2 + struct.calcsize(form)
    if len(raw) < end:
        return None
    return kind, int(struct.unpack_from(form, raw, 2)[0]), end


def _frame(kind: int, data: bytes | bytearray) -> bytes:
    """Return a whole frame, masked as a client has to."""
    size = len(data)
    if size < _SHORT:
        head = bytes([_FINAL | kind, _MASKED | size])
    elif size < 1 << 16:
        head = struct.pack("!BBH", _FINAL | kind, _MASKED | _SHORT, size)
    else:
        head = struct.pack("!BBQ", _FINAL | kind, _MASKED | _LONG, size)
    mask = os.urandom(4)
    repeated = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + masked.to_bytes(size, "big")
