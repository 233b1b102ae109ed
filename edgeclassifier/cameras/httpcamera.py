"""Cameras that send JPEG over HTTP: a stream of pictures, or one for each request."""

import http.client
import re
import time
from collections.abc import Callable, Iterator, Mapping

from edgeclassifier.cameras.camera import Pace
from edgeclassifier.cameras.http import HttpClient, UnavailableError
from edgeclassifier.cameras.mjpeg import MAX_PICTURE_BYTES, Jpeg, JpegScanner
from edgeclassifier.cameras.source import Captured, Piece
from edgeclassifier.cameras.stills import SizeLimit, StillDecoder, codec_of
from edgeclassifier.errors import CameraError

SNAPSHOT_RATE_HZ = 1.0
"""How often a camera is asked for a picture if `max_rate_hz` is 0."""

_CHUNK_BYTES = 256 * 1024
# Within so many bytes an answer of unknown type has shown what it is.
_SNIFFED_BYTES = 4096
_JPEG_FORMATS = frozenset({"", "mjpeg", "mpjpeg", "jpeg_pipe", "image2", "image2pipe"})
_JPEG = b"\xff\xd8\xff"
_HEADERS = re.compile(rb"[\t\r\n\x20-\x7e]*")
_PAGES = frozenset({"text/html", "application/xhtml+xml", "application/json"})
_PAGE = re.compile(rb"\s*(?:<!doctype html|<html)", re.IGNORECASE)
# A camera that is busy may answer so many requests in a row with an error or without a picture.
_MOST_FAILURES = 5


def open_http(
    url: str, *, options: Mapping[str, str], timeout_s: float, max_rate_hz: float, limit: SizeLimit
) -> "HttpCamera | HttpClient":
    """Connect to a camera that sends pictures; if it sends anything else, only the client returns.

    Raises CameraError if it cannot be reached, refuses, or sends a page for people.
    """
    client = HttpClient(url, options=options, timeout_s=timeout_s)
    if options.get("format", "") not in _JPEG_FORMATS:
        return client
    try:
        answer = _Answer(client)
        if answer.has_pictures():
            return HttpCamera(client, answer, rate_hz=max_rate_hz or SNAPSHOT_RATE_HZ, limit=limit)
        answer.refuse_pages()
    except BaseException:
        client.close()
        raise
    client.close()
    return client


class _Answer:
    """An answer of the server, of which the beginning may have been looked at."""

    def __init__(self, client: HttpClient) -> None:
        """Ask for it. Raises CameraError."""
        self.asked_s = time.monotonic()
        self._client = client
        self._response = client.get()
        headers = self._response.headers
        self.kind = headers.get_content_type() if "Content-Type" in headers else ""
        self.is_one_picture = self._response.length is not None and self.kind.startswith("image/")
        self.is_multipart = self.kind.startswith("multipart/")
        self._seen = b""
        self._ended = False

    @property
    def boundary(self) -> bytes:
        """What the server says that stands between two parts."""
        return str(self._response.headers.get_param("boundary", "")).encode("latin-1", "replace")

    def has_pictures(self) -> bool:
        """Say whether it is what StillDecoder can read, whatever its type says."""
        if self.is_multipart:
            return True
        while not self._ended and len(self._seen) < _SNIFFED_BYTES and _JPEG not in self._seen:
            self._seen += self._receive()
        before, jpeg, _ = self._seen.partition(_JPEG)
        if jpeg:
            return _HEADERS.fullmatch(before) is not None
        return self.kind.startswith("image/") and codec_of(self._seen) is not None

    def refuse_pages(self) -> None:
        """Raise CameraError if it is meant for a browser, or empty."""
        if self._ended and not self._seen:
            raise CameraError(f"{self._client.name}: answers without a picture")
        if self.kind in _PAGES or _PAGE.match(self._seen):
            raise CameraError(
                f"{self._client.name}: answers with a page ({self.kind or 'HTML'}): "
                "check that the URL is the one that sends video or pictures"
            )

    def chunks(self) -> Iterator[bytes]:
        """Receive the content. Raises CameraError if the connection breaks."""
        if self._seen:
            yield self._seen
        while not self._ended:
            yield self._receive()

    def _receive(self) -> bytes:
        try:
            data = self._response.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # The last two if it was closed meanwhile.
            raise self._client.explain(error) from None
        self._ended = not data
        return data


class HttpCamera:
    """A Source. If an answer ends after one picture, the next one is asked for."""

    def __init__(
        self, client: HttpClient, answer: _Answer, *, rate_hz: float, limit: SizeLimit
    ) -> None:
        """Go on with the first answer; ask for further ones `rate_hz` times a second at most."""
        self._client = client
        self._answer = answer
        self._pace = Pace(rate_hz=rate_hz)
        self._decoder = StillDecoder(limit=limit)
        self._broken_parts = 0
        self._failure: CameraError | None = None

    @property
    def unreadable(self) -> int:
        """How many pictures or parts were damaged."""
        return self._decoder.unreadable + self._broken_parts

    @property
    def refusal(self) -> str | None:
        """Why whole pictures are refused; None if they are not."""
        return self._decoder.refusal

    def pieces(self, wait: Callable[[float], bool]) -> Iterator[Piece]:
        """Receive pictures until the stream ends. Raises CameraError if the connection breaks."""
        answer: _Answer | None = self._answer
        failures = 0
        while True:
            count = 0
            if answer is not None:
                for picture, arrived_s in self._pictures(answer):
                    count += 1
                    size = len(picture.data)
                    yield Piece(data=picture, arrived_s=arrived_s, size=size, is_key=True)
                if count > 1:
                    return
                if count == 0 and answer.is_multipart:
                    raise self._without_picture()
            failures = 0 if count else failures + 1
            if failures == _MOST_FAILURES:
                raise self._failure or self._without_picture()
            self._pace.taken()
            if not wait(self._pace.wait_s()):
                return
            answer = self._ask()

    def _without_picture(self) -> CameraError:
        return CameraError(f"{self._client.name}: answers without a picture")

    def _ask(self) -> _Answer | None:
        """Ask for the next picture; None if the server has none now."""
        self._failure = None
        try:
            return _Answer(self._client)
        except UnavailableError as error:
            self._failure = error
            self._broken_parts += 1
            return None

    def decode(self, piece: Piece, *, after_gap: bool) -> list[Captured]:  # noqa: ARG002  # all are keys
        """Decode one picture; nothing if it is not whole."""
        frame = self._decoder.decode(piece.data)
        return [] if frame is None else [Captured(frame, piece.arrived_s)]

    def abort(self) -> None:
        """End a wait for data in another thread."""
        self._client.abort()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def _pictures(self, answer: _Answer) -> Iterator[tuple[Jpeg, float]]:
        if answer.is_one_picture:
            # Its age counts from the question: the server may have taken it at once.
            yield from ((each, answer.asked_s) for each in self._single(answer))
            return
        scanner = JpegScanner(boundary=answer.boundary)
        before = self._broken_parts
        try:
            for data in answer.chunks():
                now_s = time.monotonic()
                for picture in scanner.feed(data):
                    yield picture, now_s
                self._broken_parts = before + scanner.unreadable
        except CameraError as error:
            raise self._named(error) from None
        rest = scanner.finish()
        self._broken_parts = before + scanner.unreadable
        if rest is not None:
            yield rest, answer.asked_s

    def _single(self, answer: _Answer) -> Iterator[Jpeg]:
        """Read an answer that is one picture, perhaps with a smaller one behind it."""
        content = bytearray()
        for data in answer.chunks():
            content += data
            if len(content) > MAX_PICTURE_BYTES:
                text = f"sends a picture of more than {MAX_PICTURE_BYTES} bytes"
                raise CameraError(f"{self._client.name}: {text}")
        scanner = JpegScanner()
        found = [*scanner.feed(bytes(content)), scanner.finish()]
        if found[0] is not None:
            yield found[0]
        elif content:
            yield Jpeg(data=bytes(content), width=0, height=0)

    def _named(self, error: CameraError) -> CameraError:
        text = str(error)
        known = text.startswith(self._client.name)
        return error if known else CameraError(f"{self._client.name}: {text}")
