"""Visitors of the page who mean no good."""

import contextlib
import http.client
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from support.brokers import Mosquitto, free_port
from support.mjpeg_forms import encoded
from support.web_client import ask_port, basic

from attack.report import Figures
from attack.victim import BASE, PATIENCE_S, Victim, base_settings, for_a_while, running
from attack.witness import Messages, Subscriber

_PASSWORD = "correct horse"
_LONGEST_S = 15.0
"""For one picture: 3.5 s of a processor, and what a busy machine makes of it."""
_MOST_TURN_S = 30.0
"""A visitor who shares the address with a guesser waits 24 s at most."""
_REQUESTS = (
    *(b"", b"\0" * 100, b"GET", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\2\0\1\0\1\xfc\x03\x03"),
    *(b"GET / HTTP/1.1\r\n\r\n", b"GET http://[ HTTP/1.1\r\nHost: [\r\n\r\n"),
    b"POST /api/pause HTTP/1.1\r\nHost: localhost\r\nOrigin: http://[\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic \xff\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"a=b; " * 20_000 + b"\r\n\r\n",
    b"GET /" + b"%00" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
    b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nx",
    b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 4\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n",
)


def attack(folder: Path, *, short: bool) -> Iterator[Figures]:
    """Visit the page of a daemon."""
    messages, port = Messages(BASE), free_port()
    (password := folder / "password").write_text(_PASSWORD)
    password.chmod(0o600)
    with Mosquitto(folder) as broker, contextlib.ExitStack() as stack:
        stack.callback(Subscriber(broker.port, BASE, messages).close)
        settings = base_settings(folder, broker.port)
        settings["web"] = {"enabled": True, "port": port, "password_file": str(password)}
        victim = stack.enter_context(running(folder, settings, messages, short=short))
        # What the first picture loads stays loaded.
        _classify(port, encoded(size=(640, 480)))
        victim.get_ready()
        for act in (_malformed, _bombs, _slow, _guesses):
            act(victim, port)
            yield victim.figures[-1]


def _classify(port: int, picture: bytes) -> int:
    return ask_port(port, "POST", "/api/classify", picture, Authorization=basic(_PASSWORD)).status


def _lets_the_owner_in(port: int, found: Figures) -> None:
    until_s = time.monotonic() + _MOST_TURN_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask_port(port, "GET", "/", Authorization=basic(_PASSWORD)).status == 200:
                return
        time.sleep(0.2)
    found.hangs += 1


def _malformed(victim: Victim, port: int) -> None:
    with victim.attacked("page: malformed requests") as found:

        def send() -> None:
            data = _REQUESTS[found.inputs % len(_REQUESTS)]
            found.inputs += 1
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), PATIENCE_S) as link,
            ):
                link.sendall(data)
                link.shutdown(socket.SHUT_WR)
                while link.recv(65536):
                    pass

        for_a_while(victim.duration_s, send)
        _lets_the_owner_in(port, found)


def _bombs(victim: Victim, port: int) -> None:
    with victim.attacked("page: pictures that are huge when decoded") as found:
        for picture in _pictures():
            began_s = time.monotonic()
            with contextlib.suppress(http.client.HTTPException, OSError):
                status = _classify(port, picture)
                if status not in {200, 413, 422, 503}:
                    found.remarks.append(f"HTTP {status} for picture {found.inputs}")
            if (took_s := time.monotonic() - began_s) > _LONGEST_S:
                found.remarks.append(f"picture {found.inputs} took {took_s:.0f} s")
            found.inputs += 1
        _lets_the_owner_in(port, found)


def _slow(victim: Victim, port: int) -> None:
    with victim.attacked("page: 100 visitors that dawdle") as found:
        links: list[socket.socket] = []

        def visit() -> None:
            if len(links) < 100:
                links.append(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
                found.inputs += 1
            for link in links:
                with contextlib.suppress(OSError):
                    link.send(b"GET / HTTP/1.1\r\nX: " if found.inputs % 2 else b"x")
            time.sleep(0.02)

        for_a_while(victim.duration_s, visit)
        for link in links:
            link.close()
        _lets_the_owner_in(port, found)


def _guesses(victim: Victim, port: int) -> None:
    with victim.attacked("page: passwords are guessed") as found:
        lock, entered = threading.Lock(), []

        def guess() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                with lock:
                    found.inputs += 1
                    number = found.inputs
                answer = ask_port(port, "GET", "/", Authorization=basic(f"guess {number}"))
                if answer.status == 200:
                    entered.append(number)

        threads = [
            threading.Thread(target=for_a_while, args=(victim.duration_s, guess)) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        _lets_the_owner_in(port, found)
        for thread in threads:
            thread.join()
        found.remarks += ["a wrong password was taken"] * bool(entered)


def _pictures() -> Iterator[bytes]:
    for width, height, kind, depth in (
        *((1, 32_000_000, 0, 8), (32_000_000, 1, 2, 8), (5656, 5656, 6, 16), (5656, 5656, 0, 1)),
        *((4000, 4000, 2, 8), (2**31 - 1, 2**31 - 1, 2, 8), (0, 0, 2, 8)),
    ):
        yield _png(width, height, kind=kind, depth=depth)
    jpeg = bytearray(encoded())
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = b"\xff\xdc\xff\xdc"
    yield bytes(jpeg)
    progressive = encoded(size=(3000, 3000), progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    yield progressive[:-2] + scan * 200 + b"\xff\xd9"
    comments = b"\x21\xfe" + (b"\xff" + b"A" * 255) * 4000 + b"\0"
    yield b"GIF89a\xff\xff\xff\xff\0\0\0" + comments * 15
    yield b"P3 2600 2600 255\n" + b"1 " * 9_500_000
    yield b"\xff\xd8\xff" * 6_000_000
    yield b"II*\0\x08\0\0\0\0\0\x08\0\0\0"
    yield b""


def _png(width: int, height: int, *, kind: int, depth: int) -> bytes:
    """Write a picture of zeros, as small as it gets; the largest have their header alone."""
    samples = {0: 1, 2: 3, 6: 4}[kind]
    row_bytes = 1 + (width * samples * depth + 7) // 8
    packer, left, rows = zlib.compressobj(9), row_bytes * height, b""
    while 0 < left < 300_000_000 and left:
        size = min(left, 1 << 22)
        rows += packer.compress(bytes(size))
        left -= size
    header = struct.pack("!IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows + packer.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack("!I", len(data)) + name + data + struct.pack("!I", zlib.crc32(name + data))
        for name, data in chunks
    )
