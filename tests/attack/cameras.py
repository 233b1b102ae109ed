"""Cameras on the network that send what no camera should."""

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.brokers import Mosquitto
from support.mjpeg_forms import OK, CameraServer, encoded, multipart, part

from attack.report import Figures
from attack.victim import BASE, base_settings, running
from attack.witness import Messages, Subscriber

_PERIOD_S = 0.1
_SOF = b"\xff\xc0"
Send = Callable[[bytes], None]


def attack(folder: Path, *, short: bool) -> Iterator[Figures]:
    """Be a camera that turns on the daemon, one way after the other, and behaves in between."""
    messages, server = Messages(BASE), _Server()
    with Mosquitto(folder) as broker, contextlib.ExitStack() as stack:
        stack.callback(server.close)
        stack.callback(Subscriber(broker.port, BASE, messages).close)
        settings = base_settings(folder, broker.port)
        settings["camera"]["source"] = "stream"
        settings["camera.stream"] = {"url": server.url, "timeout_s": 1.0, "reconnect_max_s": 1.0}
        victim = stack.enter_context(running(folder, settings, messages, short=short))
        for name, send in _MODES.items():
            if short and name not in _QUICK:
                continue
            with victim.attacked(f"camera: {name}", keeps="nothing") as found:
                before = server.answered
                server.turn(send)
                time.sleep(victim.duration_s)
                server.turn(_behave)
                found.inputs = server.answered - before
            yield victim.figures[-1]


class _Server:
    """Answers every request as it was told last."""

    def __init__(self) -> None:
        self._mode: Callable[[Send], None] = _behave
        self.answered = 0
        self._server = CameraServer()
        self._server.answers["live"] = self._answer

    @property
    def url(self) -> str:
        return self._server.url("live")

    def close(self) -> None:
        self.turn(_behave)
        self._server.close()

    def turn(self, mode: Callable[[Send], None]) -> None:
        """Do something else, also on the connections that are open."""
        self._mode = mode

    def _answer(self, connection: socket.socket) -> None:
        mode = self._mode
        self.answered += 1
        connection.settimeout(2)

        def send(data: bytes) -> None:
            if self._mode is not mode:
                raise ConnectionError
            connection.sendall(data)

        mode(send)


def _behave(send: Send) -> None:
    send(multipart())
    while True:
        send(part())
        time.sleep(_PERIOD_S)


def _two_gigabytes(send: Send) -> None:
    send(multipart() + b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 2147483000\r\n\r\n")
    while True:
        send(bytes(1 << 20))


def _endless_picture(send: Send) -> None:
    picture = encoded()
    send(multipart() + b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + picture[:-2])
    while True:
        send(b"\x55" * (1 << 20))


def _endless_headers(send: Send) -> None:
    send(OK)
    while True:
        send(b"X-A: " + b"b" * 1000 + b"\r\n")


def _endless_part_headers(send: Send) -> None:
    send(multipart() + b"--frame\r\n")
    while True:
        send(b"X-A: " + b"b" * 1000 + b"\r\n")


def _drip(send: Send) -> None:
    for byte in multipart() + part():
        send(bytes([byte]))
        time.sleep(0.2)


def _huge_frames(send: Send) -> None:
    picture = bytearray(encoded())
    at = picture.index(_SOF) + 5
    picture[at : at + 4] = 2 * (16_384).to_bytes(2, "big")
    send(multipart())
    while True:
        send(part(bytes(picture)))
        time.sleep(_PERIOD_S)


def _garbage(send: Send) -> None:
    send(OK + b"Content-Type: video/mp4\r\n\r\n")
    chance = random.Random(1)
    while True:
        send(chance.randbytes(1 << 16))


def _redirect(to: bytes) -> Callable[[Send], None]:
    def answer(send: Send) -> None:
        send(b"HTTP/1.1 302 Found\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n")

    return answer


def _playlist_of_files(send: Send) -> None:
    body = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    head = b"Content-Type: application/vnd.apple.mpegurl\r\nContent-Length: %d\r\n\r\n"
    send(OK + head % len(body) + body)


def _sizes(send: Send) -> None:
    chance = random.Random(2)
    pictures = [
        encoded(size=(chance.randrange(1, 900), chance.randrange(1, 700))) for _ in "ab" * 6
    ]
    send(multipart())
    while True:
        send(part(chance.choice(pictures)))
        time.sleep(_PERIOD_S)


_MODES: dict[str, Callable[[Send], None]] = {
    "states 2 GB for one part": _two_gigabytes,
    "a picture without end": _endless_picture,
    "headers without end": _endless_headers,
    "headers of a part without end": _endless_part_headers,
    "one byte at a time": _drip,
    "frames of 268 megapixels": _huge_frames,
    "noise": _garbage,
    "redirects to file:": _redirect(b"file:///etc/passwd"),
    "redirects to itself": _redirect(b"/live"),
    "a playlist of local files": _playlist_of_files,
    "another size with each frame": _sizes,
}
_QUICK = (
    "states 2 GB for one part",
    "headers without end",
    "frames of 268 megapixels",
    "redirects to file:",
    "another size with each frame",
)
"""Those of a short run: one of each kind, none that takes long to recover from."""
