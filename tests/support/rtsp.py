"""An RTSP camera with H.264 over TCP or UDP, whose pictures tell when they were taken."""

import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np

RATE_HZ = 10
KEY_EVERY = 5
_MOST_PAYLOAD = 1200
_LEVELS = range(20, 236, 5)
_START_CODE = re.compile(rb"\x00\x00\x00?\x01")


class RtspServer:
    """Encodes live: the grey level of a picture is its number, and taken_s tells its time."""

    def __init__(self, *, transports: Iterable[str] = ("tcp", "udp"), refusal: int = 461) -> None:
        self.asked: list[str] = []
        self.lose: set[int] = set()  # numbers of pictures that are lost on the way
        self.challenge = ""  # refuses everybody with it
        self.delay_s = 0.0  # how long pictures wait before they are sent
        self._transports = frozenset(transports)
        self._refusal = refusal
        self._taken: dict[int, float] = {}
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"

    def age_s(self, grey: float) -> float:
        """Return how long ago the newest picture of this grey level was taken."""
        nearest = min(_LEVELS, key=lambda level: abs(level - grey))
        return time.monotonic() - self._taken[nearest]

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.1)
        sender: threading.Thread | None = None
        gone = threading.Event()
        target: tuple[str, int] | None = None
        data = b""
        try:
            while not self._closing.is_set():
                try:
                    more = connection.recv(4096)
                except TimeoutError:
                    continue
                data += more
                if not more:
                    break
                while b"\r\n\r\n" in data:
                    if data.startswith(b"$"):  # reports of what was received
                        data = data[4 + int.from_bytes(data[2:4]) :]
                        continue
                    raw, _, data = data.partition(b"\r\n\r\n")
                    request = raw.decode()
                    method = request.split(" ", 1)[0]
                    status, lines = self._answer(method, request)
                    number = re.search(r"(?mi)^CSeq: *(\d+)", request)
                    head = f"RTSP/1.0 {status}\r\nCSeq: {number[1] if number else 0}\r\n{lines}"
                    connection.sendall((head if "\r\n\r\n" in head else head + "\r\n").encode())
                    if method == "SETUP" and (port := re.search(r"client_port=(\d+)", request)):
                        target = ("127.0.0.1", int(port[1]))
                    if method == "PLAY":
                        sender = threading.Thread(
                            target=self._send, args=(connection, target, gone)
                        )
                        sender.start()
        except OSError:
            pass
        finally:
            gone.set()
            if sender is not None:
                sender.join(10)
            connection.close()

    def _answer(self, method: str, request: str) -> tuple[str, str]:
        if method == "OPTIONS":
            return "200 OK", "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        if method == "DESCRIBE" and self.challenge:
            return "401 Unauthorized", f"WWW-Authenticate: {self.challenge}\r\n"
        if method == "DESCRIBE":
            text = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n"
            text += "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            text += "a=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
            head = f"Content-Type: application/sdp\r\nContent-Length: {len(text)}\r\n\r\n"
            return "200 OK", head + text
        if method == "SETUP":
            stated = re.search(r"(?mi)^Transport: *(.*)$", request)
            assert stated is not None
            way = "tcp" if "TCP" in stated[1] else "udp"
            self.asked.append(way)
            if way not in self._transports:
                return f"{self._refusal} No", ""
            ports = ";server_port=5000-5001" if way == "udp" else ""
            return "200 OK", f"Transport: {stated[1].strip()}{ports}\r\nSession: 1;timeout=60\r\n"
        return "200 OK", "Session: 1\r\n"

    def _send(
        self, connection: socket.socket, target: tuple[str, int] | None, gone: threading.Event
    ) -> None:
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = 160, 120, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, RATE_HZ), Fraction(RATE_HZ)
        encoder.gop_size = KEY_EVERY
        encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "sc_threshold": "0"}
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sequence = itertools.count(1)
        began_s = time.monotonic()
        connection.settimeout(5)
        with udp:
            for number in itertools.count():
                if gone.wait(max(0.0, began_s + number / RATE_HZ - time.monotonic())):
                    return
                now_s = time.monotonic()
                level = _LEVELS[int((now_s - began_s) * RATE_HZ) % len(_LEVELS)]
                pixels = np.full((120, 160, 3), level, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
                stamp = int((now_s - began_s) * 90_000)
                self._taken[level] = now_s
                for packet in encoder.encode(frame):
                    if number in self.lose:
                        continue
                    time.sleep(self.delay_s)
                    for payload in _payloads(bytes(packet), stamp, sequence):
                        try:
                            if target:
                                udp.sendto(payload, target)
                            else:
                                prefix = b"$\x00" + len(payload).to_bytes(2)
                                connection.sendall(prefix + payload)
                        except OSError:
                            return


def _payloads(data: bytes, stamp: int, sequence: "itertools.count[int]") -> Iterable[bytes]:
    units = [unit for unit in _START_CODE.split(data) if unit]
    for unit in units:
        last_unit = unit is units[-1]
        if len(unit) <= _MOST_PAYLOAD:
            yield _head(next(sequence), stamp, marker=last_unit) + unit
            continue
        pieces = [unit[at : at + _MOST_PAYLOAD] for at in range(1, len(unit), _MOST_PAYLOAD)]
        for index, piece in enumerate(pieces):
            first, last = index == 0, index == len(pieces) - 1
            bits = (0x80 if first else 0) | (0x40 if last else 0) | (unit[0] & 0x1F)
            head = _head(next(sequence), stamp, marker=last and last_unit)
            yield head + bytes([(unit[0] & 0x60) | 28, bits]) + piece


def _head(number: int, stamp: int, *, marker: bool) -> bytes:
    kind = 96 | (0x80 if marker else 0)
    return struct.pack(">BBHII", 0x80, kind, number & 0xFFFF, stamp & 0xFFFFFFFF, 7)
