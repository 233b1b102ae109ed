"""Finds the JPEG pictures in what a camera sends, whatever it puts around them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edgeclassifier.errors import CameraError

MAX_PICTURE_BYTES = 16 * 2**20
"""More than a JPEG of 12 megapixels takes. What states more is refused, what has more cut off."""
_MAX_GAP_BYTES = 4096
"""Between two pictures there are a boundary and some headers."""

_NEXT_PART_BYTES = 32
"""So many show whether something is the next part."""

_START = b"\xff\xd8\xff"
_SOI, _EOI, _SOS, _FILL = 0xD8, 0xD9, 0xDA, 0xFF
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a segment behind them."""
_BITS = 8
"""Of a colour. Medicine has JPEGs of 12, which FFmpeg would decode to something else."""
_SHORTEST_FRAME_HEADER = 8
"""Bytes for its length, the bits, height, width and the number of colours."""
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# In the compressed data FF is followed by 00, or by the number of a restart.
# One FF, and not "some": a search for a known byte is twenty times as fast.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_SEGMENT = re.compile(rb"\xff+[^\xff]", re.DOTALL)
_LENGTH = re.compile(rb"(?i)content-length[ \t]*:[ \t]*(\d{1,20})[ \t]*\r?\n")
_HEADERS = re.compile(
    rb"(?i)content-type[ \t]*:[ \t]*image/[^\n]*\n(?:[^\r\n]+\r?\n)*(?:\r?\n)+(?=[^\r\n](?s:..))"
)
_NEXT_PART = re.compile(rb"(?i)(?:\r?\n)+(?:--[^\r\n]+\r?\n|content-(?:type|length)[ \t]*:)")
_AFTER_PART = rb"(?:\r?\n)*(?:--|content-(?:type|length)[ \t]*:|\xff\xd8\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg:
    """One compressed picture, perhaps damaged."""

    data: bytes
    width: int
    height: int
    """Both 0 if it does not say."""


def picture_size(data: bytes) -> tuple[int, int]:
    """Read width and height of a JPEG without decoding it; zeros if it does not say."""
    scanner = JpegScanner()
    picture = next(scanner.feed(data), None) or scanner.finish()
    return (picture.width, picture.height) if picture else (0, 0)


class JpegScanner:
    """Takes bytes as they come, and gives the pictures in them.

    It follows the structure of JPEG, not that of the multipart answer: boundaries, types and
    lengths are missing, wrong or late in what cameras send. A length is believed if something
    that looks like the next part follows there.
    """

    def __init__(self, *, boundary: bytes = b"") -> None:
        """Prepare for a stream; `boundary` is the one that the server states, if it does."""
        self.unreadable = 0
        """How many parts are no JPEG, or are broken in their structure."""
        token = rb"|" + re.escape(boundary) if boundary else b""
        self._after_part = re.compile(_AFTER_PART + token + rb")", re.IGNORECASE)
        self._buffer = bytearray()
        self._inside = False
        self._at = 0
        self._in_scan = False
        self._stated: int | None = None
        self._size = (0, 0)
        self._left_of_part = 0
        self._without_picture = 0

    def feed(self, data: bytes) -> Iterator[Jpeg]:
        """Give the pictures that are complete with `data`.

        Raises CameraError, without a URL, if it is too much for a picture, or holds none.
        """
        self._buffer += data
        while self._inside or self._find_start():
            picture = self._find_end()
            if picture is not None:
                yield picture
            elif self._inside:
                break
        if len(self._buffer) > MAX_PICTURE_BYTES:
            raise CameraError(f"sends a picture of more than {MAX_PICTURE_BYTES} bytes")

    def finish(self) -> Jpeg | None:
        """Return what is left at the end of the stream: a picture without its end."""
        if self._inside and self._in_scan:
            return self._take(len(self._buffer))
        self.unreadable += self._inside
        self._inside = False
        return None

    def _find_start(self) -> bool:
        buffer = self._buffer
        if self._left_of_part and not self._skip_preview():
            return False
        start = buffer.find(_START)
        gap_end = start if start >= 0 else len(buffer)
        stated = [int(found) for found in _LENGTH.findall(buffer[:gap_end])]
        if stated and stated[-1] > MAX_PICTURE_BYTES:
            raise CameraError(
                f"states a picture of {stated[-1]} bytes, more than {MAX_PICTURE_BYTES}"
            )
        while (part := _HEADERS.search(buffer, 0, gap_end)) is not None:
            # What the headers announce as a picture is something else.
            self.unreadable += 1
            self._drop(part.end())
            start, gap_end = start - part.end(), gap_end - part.end()
        if start < 0:
            self._drop(max(0, len(buffer) - _MAX_GAP_BYTES))
            if self._without_picture > MAX_PICTURE_BYTES:
                raise CameraError("sends data without a picture in it")
            return False
        self._drop(start)
        self._without_picture = 0
        self._stated = stated[-1] if stated else None
        self._inside, self._in_scan, self._at, self._size = True, False, 2, (0, 0)
        return True

    def _skip_preview(self) -> bool:
        """Leave out a second, smaller picture in the same part; False if it needs more data."""
        left, buffer = self._left_of_part, self._buffer
        if buffer.startswith(_START):
            if len(buffer) < left + _NEXT_PART_BYTES:
                return False
            if self._after_part.match(buffer, left):
                self._drop(left)
        elif len(buffer) < len(_START):
            return False
        self._left_of_part = 0
        return True

    def _find_end(self) -> Jpeg | None:
        """Go on through the picture; None if it needs more data, or was thrown away."""
        buffer = self._buffer
        while True:
            found = (_MARKER.search if self._in_scan else _SEGMENT.match)(buffer, self._at)
            if self._in_scan and (end := self._stated_end(found)):
                return self._take(end)
            if found is None:
                if self._in_scan:
                    self._at = max(self._at, len(buffer) - 1)
                elif self._at < len(buffer) and buffer[self._at] != _FILL:
                    self._throw_away()
                return None
            marker, begin, at = buffer[found.end() - 1], found.start(), found.end()
            if marker == 0:
                self._throw_away()
                return None
            if marker == _EOI:
                picture = self._take(at)
                self._left_of_part = max(0, (self._stated or 0) - at)
                return picture
            if marker == _SOI:
                # The next picture has begun before the end of this one.
                cut = _NEXT_PART.search(buffer, max(0, begin - _MAX_GAP_BYTES), begin)
                return self._take(cut.start() if cut else begin)
            length = 0 if marker in _ALONE else int.from_bytes(buffer[at : at + 2])
            if len(buffer) < at + max(2, length):
                self._in_scan, self._at = False, begin
                return None
            if marker in _SIZES:
                if length < _SHORTEST_FRAME_HEADER or buffer[at + 2] != _BITS:
                    self._throw_away()
                    return None
                height, width = buffer[at + 3 : at + 5], buffer[at + 5 : at + 7]
                self._size = int.from_bytes(width), int.from_bytes(height)
            self._at = at + length
            self._in_scan = marker == _SOS

    def _stated_end(self, found: re.Match[bytes] | None) -> int | None:
        """Return where the stated length ends the picture, if no marker does so earlier."""
        stated = self._stated
        reached = found.start() if found else len(self._buffer)
        if stated is None or reached < stated:
            return None
        return stated if self._after_part.match(self._buffer, stated) else None

    def _take(self, end: int) -> Jpeg:
        width, height = self._size
        with memoryview(self._buffer) as buffer:
            data = bytes(buffer[:end])
        picture = Jpeg(data=data, width=width, height=height)
        self._drop(end)
        self._without_picture = 0
        self._inside = False
        return picture

    def _throw_away(self) -> None:
        self.unreadable += 1
        self._drop(self._at)
        self._inside = False

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._without_picture += count
