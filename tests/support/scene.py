"""What a fixed camera sees: a photo, noise, flickering light, and a change now and then."""

import io
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeclassifier.engine.pictures import cover, load_picture
from support.daemon import SAMPLES

Pixels = NDArray[np.uint8]
Encoding = Literal["raw", "jpeg", "h264"]

RATE_HZ = 10
CROP_FRACTION = 0.875
_MARGIN = 16


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that a daemon must notice within a second."""

    name: str
    at: int
    """The first frame that shows all of it."""
    since: int | None = None
    """The first frame that shows anything of a slow one."""

    def noticed(self, classified: Collection[int]) -> bool:
        """Tell whether a frame was classified soon enough."""
        begin = self.at if self.since is None else self.since
        return any(begin <= each < self.at + RATE_HZ for each in classified)


class Scene:
    """Makes frames of a scene, one after the other, always the same for the same arguments."""

    def __init__(
        self,
        *,
        background: str = "coffee.png",
        thing: str = "chelsea.png",
        width: int = 320,
        height: int = 320,
        area: float = 0.01,
        contrast: float = 1.0,
        read_noise: float = 4.0,
        shot_noise: float = 0.3,
        bands: float = 0.02,
        wobble: float = 0.01,
    ) -> None:
        """Take sample pictures for the background, and for a thing of `area` of the square.

        Noise is in levels, and in levels squared for each level of brightness. `bands` is what
        the mains do to the rows of a picture, `wobble` what automatic exposure does to all of it.
        """
        self.width, self.height = width, height
        photo = load_picture(SAMPLES / background)
        self._photo = cover(photo, width + 2 * _MARGIN, height + 2 * _MARGIN).astype(np.float32)
        self._side = min(width, height)
        half = np.sqrt(area * (CROP_FRACTION * self._side) ** 2 / np.pi / 1.33)
        columns, rows = int(2 * 1.33 * half), int(2 * half)
        self._thing = cover(load_picture(SAMPLES / thing), columns, rows).astype(np.float32)
        y, x = np.mgrid[:rows, :columns]
        inside = ((x - columns / 2) / (columns / 2)) ** 2 + ((y - rows / 2) / (rows / 2)) ** 2 < 1
        self._shape = inside[..., np.newaxis] * np.float32(contrast)
        self._noise = read_noise, shot_noise
        self._bands, self._wobble = bands, wobble
        self._random = np.random.default_rng(0)
        self._grain = self._random.standard_normal((height + 64, width + 64, 3)).astype(np.float32)
        self._count = 0

    def clean(
        self,
        *,
        thing_at: tuple[float, float] | None = None,
        light: float = 1.0,
        shift: tuple[int, int] = (0, 0),
    ) -> NDArray[np.float32]:
        """Return the scene as it is; `thing_at` is from the centre, in sides of the square."""
        top, left = _MARGIN + shift[1], _MARGIN + shift[0]
        seen = self._photo[top : top + self.height, left : left + self.width].copy()
        if thing_at is not None:
            rows, columns = self._thing.shape[:2]
            y = int(self.height / 2 + thing_at[1] * self._side)
            x = int(self.width / 2 + thing_at[0] * self._side)
            part = seen[y : y + rows, x : x + columns]
            part += self._shape * (self._thing - part)
        return seen * np.float32(light)

    def frame(self, **what: Any) -> Pixels:
        """Return the scene as a sensor sees it; `what` as clean() has it."""
        seen = self.clean(**what)
        self._count += 1
        rows = np.arange(self.height, dtype=np.float32) / self.height
        mains = self._bands * np.sin(2 * np.pi * (3 * rows + 0.37 * self._count))
        exposure = self._wobble * (np.sin(0.21 * self._count) + self._random.normal(0, 0.3))
        seen *= (1 + mains + exposure)[:, np.newaxis, np.newaxis]
        y, x = self._random.integers(0, 64, 2)
        grain = self._grain[y : y + self.height, x : x + self.width]
        read, shot = self._noise
        seen += grain * np.sqrt(read**2 + shot * seen.clip(0))
        return (seen + 0.5).clip(0, 255).astype(np.uint8)

    def quiet(self, frames: int) -> Iterator[Pixels]:
        """Show the scene without a change."""
        return (self.frame() for _ in range(frames))

    def eventful(self, frames: int) -> tuple[Iterator[Pixels], list[Change]]:
        """Show a few changes, and say when."""
        part = frames // 6
        changes = [
            Change(name="a thing comes", at=part),
            Change(name="it moves", at=2 * part),
            Change(name="it goes", at=3 * part),
            Change(name="the light fades by a fifth", since=4 * part, at=4 * part + part // 2),
            Change(name="the light comes back", at=5 * part),
            Change(name="the camera is bumped", at=5 * part + part // 2),
        ]

        def at(number: int) -> dict[str, Any]:
            turn, since = divmod(number, part)
            if turn == 1:
                return {"thing_at": (-0.2, 0.1)}
            if turn == 2:
                return {"thing_at": (0.2, -0.2)}
            if turn == 4:
                return {"light": 1 - 0.4 * since / part}
            return {"shift": (4, 3)} if number >= changes[-1].at else {}

        return (self.frame(**at(number)) for number in range(frames)), changes


def encoded(frames: Iterable[Pixels], encoding: Encoding) -> Iterator[Pixels]:
    """Send frames through an encoder and its decoder, as a camera and its reader do."""
    if encoding == "jpeg":
        return map(_jpeg, frames)
    return _h264(frames) if encoding == "h264" else iter(frames)


def _jpeg(frame: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=75)
    with Image.open(buffer) as picture:
        return np.asarray(picture)


def _h264(frames: Iterable[Pixels]) -> Iterator[Pixels]:
    import av

    encoder: Any = av.CodecContext.create("libx264", "w")
    decoder: Any = av.CodecContext.create("h264", "r")
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, RATE_HZ)
    # A key frame every two seconds, each of which looks a little different.
    encoder.gop_size, encoder.thread_count = 2 * RATE_HZ, 1
    encoder.options = {"crf": "28", "preset": "veryfast", "tune": "zerolatency"}
    for frame in frames:
        if not encoder.is_open:
            encoder.height, encoder.width = frame.shape[:2]
        for packet in encoder.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
            for decoded in decoder.decode(packet):
                yield decoded.to_ndarray(format="rgb24")
