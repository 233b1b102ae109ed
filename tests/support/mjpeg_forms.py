"""The forms in which cameras send JPEG over HTTP, and a server that has each at a path."""

import base64
import hashlib
import io
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

OK = b"HTTP/1.1 200 OK\r\n"
RED = (200, 30, 30)


def encoded(mode: str = "RGB", size: tuple[int, int] = (96, 64), **options: Any) -> bytes:
    colours: dict[str, Any] = {"RGB": RED, "L": 90, "CMYK": (0, 220, 220, 20)}
    buffer = io.BytesIO()
    Image.new(mode, size, colours[mode]).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def noisy(size: tuple[int, int] = (96, 64)) -> bytes:
    levels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def with_thumbnail() -> bytes:
    """A picture with a smaller JPEG in its header, as cameras put there."""
    exif = Image.Exif()
    exif[0x9286] = encoded(size=(16, 16))
    return encoded(exif=exif)


def without_huffman_tables(data: bytes) -> bytes:
    """Leave out the standard tables, as UVC cameras do."""
    kept, at = bytearray(data[:2]), 2
    while data[at + 1] != 0xDA:
        size = 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] != 0xC4:
            kept += data[at : at + size]
        at += size
    return bytes(kept) + data[at:]


PICTURE = encoded()
NOISY = noisy()


def part(
    data: bytes = PICTURE,
    *,
    boundary: bytes = b"--frame",
    kind: bytes = b"Content-Type: image/jpeg",
    length: int | None = -1,
    more: bytes = b"",
    end: bytes = b"\r\n",
) -> bytes:
    """One part; `length` None: not stated, -1: the true one."""
    lines = [boundary, kind]
    if length is not None:
        lines.append(b"Content-Length: %d" % (len(data) if length < 0 else length))
    head = end.join(line for line in [*lines, more] if line)
    return head + end + end + data + end


def multipart(boundary: bytes = b"frame", *, before: bytes = b"; boundary=") -> bytes:
    return OK + b"Content-Type: multipart/x-mixed-replace" + before + boundary + b"\r\n\r\n"


class Form(NamedTuple):
    head: bytes
    repeated: bytes
    first: bytes = b""


def _late(data: bytes = PICTURE) -> bytes:
    head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
    return head + data + b"\r\n--frame\r\n"


WHOLE: dict[str, Form] = {
    "as-it-should-be": Form(multipart(), part()),
    "no-length": Form(multipart(), part(length=None)),
    "no-length-of-noise": Form(multipart(), part(NOISY, length=None)),
    "dashes-in-the-header": Form(multipart(b"--mine"), part(boundary=b"--mine")),
    "another-boundary": Form(multipart(b"abc"), part(boundary=b"--xyz")),
    "no-dashes": Form(multipart(b"mine"), part(boundary=b"mine")),
    "no-boundary-stated": Form(multipart(b"", before=b""), part()),
    "no-boundary-at-all": Form(multipart(), part(boundary=b"")),
    "quoted": Form(multipart(b'"my own"'), part(boundary=b"--my own")),
    "spaces-in-the-header": Form(multipart(before=b" ; boundary = "), part()),
    "boundary-after-the-picture": Form(multipart(), _late()),
    "first-without-boundary": Form(multipart(), part(), _late().removesuffix(b"--frame\r\n")),
    "image-jpg": Form(multipart(), part(kind=b"Content-Type: image/jpg")),
    "no-type-of-parts": Form(multipart(), part(kind=b"")),
    "neither-type-nor-length": Form(multipart(), part(kind=b"", length=None)),
    "lower-case": Form(multipart(), part(kind=b"content-type:image/jpeg", length=None)),
    "line-feeds": Form(multipart(), part(end=b"\n")),
    "more-headers": Form(multipart(), part(more=b"X-Timestamp: 12.5\r\nDate: now")),
    "length-too-short": Form(multipart(), part(length=len(PICTURE) - 7)),
    "length-too-long": Form(multipart(), part(length=len(PICTURE) + 7)),
    "length-zero": Form(multipart(), part(length=0)),
    "http-1.0-without-type": Form(b"HTTP/1.0 200 OK\r\n\r\n", part()),
    "octets": Form(OK + b"Content-Type: application/octet-stream\r\n\r\n", part()),
    "wrong-type": Form(OK + b"Content-Type: text/plain\r\n\r\n", part()),
    "one-after-the-other": Form(OK + b"Content-Type: image/jpeg\r\n\r\n", PICTURE),
    "motion-jpeg": Form(OK + b"Content-Type: video/x-motion-jpeg\r\n\r\n", PICTURE),
    "blank-lines-first": Form(multipart(), part(), b"\r\n\r\n"),
    "chunked": Form(
        multipart()[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
        b"%x\r\n%s\r\n" % (len(part()), part()),
    ),
    "no-huffman-tables": Form(multipart(), part(without_huffman_tables(NOISY))),
    "no-end-of-image": Form(multipart(), part(PICTURE[:-2])),
    "no-end-no-length": Form(multipart(), part(PICTURE[:-2], length=None)),
    "padded": Form(multipart(), part(PICTURE + bytes(500))),
    "with-thumbnail": Form(multipart(), part(with_thumbnail())),
    "grey": Form(multipart(), part(encoded("L"))),
    "cmyk": Form(multipart(), part(encoded("CMYK"))),
    "progressive": Form(multipart(), part(encoded(progressive=True))),
    "odd-size": Form(multipart(), part(encoded(size=(97, 65)))),
    "preview-behind-it": Form(multipart(), part(PICTURE + encoded("L", (32, 24)))),
    "rubbish-behind-it": Form(multipart(), part(PICTURE + b"\xff\xd8\xff" + NOISY[700:1000])),
    "boundary-in-a-comment": Form(multipart(), part(encoded(comment=b"\r\n--frame\r\n\r\n"))),
    "pictures-in-a-comment": Form(
        multipart(), part(encoded(comment=b"\xff\xd8\xff\xe0ab\xff\xd9\xff\xd8"), length=None)
    ),
    "chunked-by-bytes": Form(
        multipart()[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
        b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in part()),
    ),
    "negative-length-of-all": Form(multipart()[:-2] + b"Content-Length: -1\r\n\r\n", part()),
    "restarts": Form(multipart(), part(encoded(restart_marker_blocks=2))),
    "data-between": Form(multipart(), part() + part(b"<x/>", kind=b"Content-Type: text/xml")),
}
"""Each of these is a stream of whole pictures."""

DAMAGED: dict[str, Form] = {
    "truncated": Form(multipart(), part(NOISY[: len(NOISY) * 7 // 10])),
    "truncated-no-length": Form(multipart(), part(NOISY[: len(NOISY) // 2], length=None)),
    "truncated-in-its-header": Form(multipart(), part(NOISY[:300])),
    "a-hole-in-it": Form(multipart(), part(NOISY[:2000] + NOISY[3000:])),
    "twelve-bits": Form(multipart(), part(PICTURE.replace(b"\x00\x11\x08", b"\x00\x11\x0c"))),
    "no-picture": Form(multipart(), part(b"\x55" * 500)),
    "empty-parts": Form(multipart(), part(b"\xff\xd8\xff\xd9")),
}
"""Of these not one picture is whole."""

STILL = OK + b"Content-Type: image/jpeg\r\n"


class Lock(NamedTuple):
    """How a server asks for the password: at once, or again after each `uses` requests."""

    challenges: tuple[str, ...]
    algorithm: str = "MD5"
    session: bool = False
    uses: int = 0


class CameraServer:
    """Serves WHOLE and DAMAGED by name, pictures at /still, and what a test puts into `answers`."""

    def __init__(self, *, user: str = "admin", password: str = "hunter2") -> None:
        self.requests: list[str] = []
        self.connections = 0
        self.answers: dict[str, Callable[[socket.socket], None]] = {}
        self.lock: Lock | None = None
        self.picture = PICTURE
        self._user, self._password = user, password
        self._nonces: dict[str, int] = {}
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def url(self, path: str, user_info: str = "") -> str:
        return f"http://{user_info}127.0.0.1:{self.port}/{path}"

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
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.1)
        with connection:
            try:
                while (request := self._request(connection)) is not None:
                    self.requests.append(request)
                    if not self._answer(connection, request):
                        return
            except OSError:
                pass

    def _request(self, connection: socket.socket) -> str | None:
        data = b""
        while not self._closing.is_set():
            try:
                more = connection.recv(4096)
            except TimeoutError:
                continue
            data += more
            if not more or data.endswith(b"\r\n\r\n"):
                break
        return data.decode() if data.endswith(b"\r\n\r\n") else None

    def _answer(self, connection: socket.socket, request: str) -> bool:
        """Answer, and say whether the connection may be used again."""
        if self.lock is not None and (refusal := self._refusal(self.lock, request)):
            connection.sendall(refusal)
            return True
        path = request.split()[1].removeprefix("/").partition("?")[0]
        if path in self.answers:
            self.answers[path](connection)
            return False
        if path == "still":
            head = STILL + b"Content-Length: %d\r\n\r\n" % len(self.picture)
            connection.sendall(head + self.picture)
            return True
        form = (WHOLE | DAMAGED).get(path)
        if form is None:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        connection.sendall(form.head + form.first)
        while not self._closing.is_set():
            connection.sendall(form.repeated)
            time.sleep(0.02)
        return False

    def _refusal(self, lock: Lock, request: str) -> bytes | None:
        found = re.search(r"(?mi)^Authorization: (.*)\r$", request)
        stale = ""
        if found is not None and found[1].startswith("Digest "):
            nonce = self._accepted_nonce(lock, request, found[1])
            if nonce is not None:
                self._nonces[nonce] += 1
                if not lock.uses or self._nonces[nonce] <= lock.uses:
                    return None
                stale = ", stale=TRUE"
        elif found is not None and found[1] == self.basic:
            return None
        nonce = f"n{len(self._nonces)}"
        self._nonces[nonce] = 0
        lines = "".join(
            f"WWW-Authenticate: {each.replace('NONCE', nonce)}{stale}\r\n"
            for each in lock.challenges
        )
        return f"HTTP/1.1 401 Unauthorized\r\n{lines}Content-Length: 0\r\n\r\n".encode()

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()

    def _accepted_nonce(self, lock: Lock, request: str, header: str) -> str | None:
        def digest(text: str) -> str:
            name = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}[lock.algorithm]
            return hashlib.new(name, text.encode()).hexdigest()

        fields = {
            name: quoted or plain
            for name, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^",]+))', header)
        }
        realm = re.sub(r"\\(.)", r"\1", fields["realm"])
        first = digest(f"{self._user}:{realm}:{self._password}")
        if lock.session:
            first = digest(f"{first}:{fields['nonce']}:{fields['cnonce']}")
        target = request.split()[1]
        whole = ":" + digest("") if fields.get("qop") == "auth-int" else ""
        second = digest(f"GET:{target}{whole}")
        middle = fields["nonce"]
        if "qop" in fields:
            middle += f":{fields['nc']}:{fields['cnonce']}:{fields['qop']}"
        right = digest(f"{first}:{middle}:{second}")
        known = fields["nonce"] in self._nonces and fields["uri"] == target
        return fields["nonce"] if known and fields["response"] == right else None
