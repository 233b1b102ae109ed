"""The picture for the visitors: smaller than the frame, encoded once for all of them."""

import asyncio
import io
import time
from concurrent.futures import Executor

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.web.live import Live, Seen

_LONG_SIDE = 960
_QUALITY = 80
_REDUCING_GAP = 1.5
_INTERVAL_S = 0.08
"""However many look, and however fast frames come, no more is encoded than an eye can see."""


def encode(pixels: Pixels) -> bytes:
    """Encode H x W x 3 RGB as a JPEG of at most _LONG_SIDE."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.BILINEAR, _REDUCING_GAP)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


class Pictures:
    """Encodes the newest frame when somebody asks for it. Belongs to one event loop."""

    def __init__(self, live: Live, *, workers: Executor) -> None:
        """Encode in `workers`."""
        self._live = live
        self._workers = workers
        self._lock = asyncio.Lock()
        self._seq = 0
        self._jpeg = b""
        self._encoded_s = float("-inf")

    async def newest(self) -> tuple[int, bytes] | None:
        """Return the newest frame's number and JPEG, or those of a moment ago."""
        async with self._lock:
            seen = self._live.newest
            if seen is None:
                return None
            fresh = time.monotonic() - self._encoded_s < _INTERVAL_S
            if seen.seq != self._seq and not fresh:
                await self._encode(seen)
            return self._seq, self._jpeg

    async def _encode(self, seen: Seen) -> None:
        loop = asyncio.get_running_loop()
        pixels = seen.result.frame.pixels
        self._jpeg = await loop.run_in_executor(self._workers, encode, pixels)
        self._seq, self._encoded_s = seen.seq, time.monotonic()
