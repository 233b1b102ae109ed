"""Decodes pictures that are whole in themselves, one by one: JPEG above all."""

import logging
from typing import TYPE_CHECKING, cast

from edgeclassifier.cameras.mjpeg import Jpeg

if TYPE_CHECKING:
    from av import VideoCodecContext
    from av.video.frame import VideoFrame

_CODECS = ((b"\xff\xd8\xff", "mjpeg"), (b"\x89PNG", "png"), (b"RIFF", "webp"), (b"BM", "bmp"))

log = logging.getLogger(__name__)


def codec_of(data: bytes) -> str | None:
    """Tell from its beginning which FFmpeg codec a picture needs; None if none that is known."""
    return next((codec for begin, codec in _CODECS if data.startswith(begin)), None)


class SizeLimit:
    """Refuses frames of too many pixels, and says so once."""

    def __init__(self, *, name: str, max_pixels: int) -> None:
        self._name = name
        self.max_pixels = max_pixels
        self.refusal: str | None = None
        """What is refused, once something was."""

    def refuses(self, width: int, height: int) -> bool:
        """Say whether a frame of this size must not be decoded."""
        if width * height <= self.max_pixels:
            return False
        if self.refusal is None:
            self.refusal = (
                f"frames of {width}x{height} are refused: camera.stream.max_pixels is "
                f"{self.max_pixels}"
            )
            log.warning("%s: %s", self._name, self.refusal)
        return True


class StillDecoder:
    """Refuses what is truncated, broken or too large, and counts it."""

    def __init__(self, *, limit: SizeLimit) -> None:
        self._limit = limit
        self._jpeg: VideoCodecContext | None = None
        self.unreadable = 0

    @property
    def refusal(self) -> str | None:
        """Why whole pictures are refused; None if they are not."""
        return self._limit.refusal

    def decode(self, picture: Jpeg) -> "VideoFrame | None":
        """Decode a picture; None if it is not whole."""
        frame = self._decode(picture)
        if frame is None:
            self.unreadable += 1
        return frame

    def _decode(self, picture: Jpeg) -> "VideoFrame | None":
        from av import FFmpegError, Packet

        codec = codec_of(picture.data)
        if codec is None or self._limit.refuses(picture.width, picture.height):
            return None
        if codec == "mjpeg":
            context = self._jpeg = self._jpeg or self._context(codec)
        else:
            # FFmpeg's decoder of PNG begins a picture with what the last one left.
            context = self._context(codec)
        # Of a size, so that FFmpeg adds the padding that its decoders may read.
        packet = Packet(len(picture.data))
        packet.update(picture.data)
        try:
            frames = context.decode(packet)
        except FFmpegError:
            return None
        whole = [frame for frame in frames if not frame.is_corrupt]
        return whole[0] if whole else None

    def _context(self, codec: str) -> "VideoCodecContext":
        from av import CodecContext

        context = cast("VideoCodecContext", CodecContext.create(codec, "r"))
        # FFmpeg would fill up what is missing of a picture with grey.
        context.options = {"err_detect": "explode", "max_pixels": str(self._limit.max_pixels)}
        return context
