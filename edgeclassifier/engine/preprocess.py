"""From a frame to the model's input tensor: crop, resize, normalize, quantize. Pure functions."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.orientation import as_stored
from edgeclassifier.contract.plain import Plain, plain_data

_REDUCING_GAP = 1.5
"""Pillow averages whole blocks of pixels first if a crop is at least three times what is wanted,
then resizes with the antialiasing filter: two thirds of the time on 1920x1080, and half a point of
accuracy at most (`edgeclassifier evaluate --short-side 1080`)."""


@plain_data
class Normalization(Plain):
    """(pixel - mean) / std for each channel, in the model's order of channels; pixels are 0 to 255.

    One number stands for all channels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@plain_data
class InputSpec(Plain):
    """What a model takes: one picture of height x width x channels in `dtype`.

    For uint8 and int8, real value = scale * (stored value - zero_point); a scale of 0 means that
    the tensor is not quantized. A model with one channel takes brightness.
    """

    height: int
    width: int
    dtype: np.dtype[Any]
    scale: float = 0.0
    zero_point: int = 0
    channels: int = 3

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and the largest real value that a quantized tensor holds."""
        limits, scale = np.iinfo(self.dtype), self.scale or 1.0
        return scale * (limits.min - self.zero_point), scale * (limits.max - self.zero_point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels, whole or not."""

    x: float
    y: float
    width: float
    height: float


@plain_data
class Area(Plain):
    """Which part of a frame is classified: `region`, or else the centred square."""

    crop_fraction: float = 1.0
    """Side of the square, as a fraction of the frame's short side."""
    region: tuple[float, ...] = ()
    """[x, y, width, height] in fractions of the frame."""

    def box(self, width: int, height: int) -> Box:
        """Return it in pixels, for a frame of `width` x `height`."""
        return crop_box(width, height, crop_fraction=self.crop_fraction, region=self.region)


def crop_box(
    width: int, height: int, *, crop_fraction: float = 1.0, region: tuple[float, ...] = ()
) -> Box:
    """Return the part of a frame of `width` x `height` that is classified.

    `region` is [x, y, width, height] in fractions of the frame; if it is empty, the box is the
    centred square with `crop_fraction` of the frame's short side. It is never empty.
    """
    if region:
        x, y = min(region[0] * width, width - 1), min(region[1] * height, height - 1)
        return Box(
            x=x,
            y=y,
            width=max(1.0, min(region[2] * width, width - x)),
            height=max(1.0, min(region[3] * height, height - y)),
        )
    side = max(1.0, min(width, height) * crop_fraction)
    return Box(x=(width - side) / 2, y=(height - side) / 2, width=side, height=side)


def crop_and_resize(pixels: Pixels, box: Box, *, width: int, height: int) -> Pixels:
    """Cut `box` out of `pixels` (H x W x 3) and scale it to `height` x `width` x 3.

    Bilinear with antialiasing: what Pillow's resize() gives for the whole frame and this box.
    """
    x, y = int(box.x), int(box.y)
    if (box.x, box.y, box.width, box.height) == (x, y, width, height):
        return np.ascontiguousarray(pixels[y : y + height, x : x + width])
    # Pillow copies all that it is given: only what the filter reads.
    left, right = _reach(box.x, box.width, target=width, end=pixels.shape[1])
    top, bottom = _reach(box.y, box.height, target=height, end=pixels.shape[0])
    cut = pixels[top:bottom, left:right]
    # Sums of fractions may reach past the edge by a rounding error.
    inner = (
        box.x - left,
        box.y - top,
        min(box.x - left + box.width, cut.shape[1]),
        min(box.y - top + box.height, cut.shape[0]),
    )
    resized = Image.fromarray(cut).resize(
        (width, height), Image.Resampling.BILINEAR, box=inner, reducing_gap=_REDUCING_GAP
    )
    return np.asarray(resized)


def _reach(start: float, length: float, *, target: int, end: int) -> tuple[int, int]:
    """Return the pixels that are read to scale `length` of them to `target`, along one side."""
    # A triangle as wide as a pixel of the result on both sides, and a block that is averaged.
    margin = 2 * max(1.0, length / target)
    return max(0, math.floor(start - margin)), min(end, math.ceil(start + length + margin))


def _crop_turned(pixels: Pixels, box: Box, *, width: int, height: int) -> Pixels:
    """Do the same for a turned frame: crop it as it lies in memory, and turn the small crop."""
    stored, upright = as_stored(pixels)
    full_height, full_width = pixels.shape[:2]
    x = full_width - box.x - box.width if upright.mirror else box.x
    y = full_height - box.y - box.height if upright.upside_down else box.y
    if upright.transpose:
        box = Box(x=y, y=x, width=box.height, height=box.width)
        width, height = height, width
    else:
        box = Box(x=x, y=y, width=box.width, height=box.height)
    small = crop_and_resize(stored, box, width=width, height=height)
    return np.ascontiguousarray(upright.turn(small))


class Quantizer:
    """Turns uint8 RGB into what a model's input tensor stores.

    Normalization and quantization are both linear in a pixel, so for the quantized types they are
    one table of 256 entries a channel, and nothing at all if that table is the identity.
    """

    def __init__(self, spec: InputSpec, normalization: Normalization, *, bgr: bool = False) -> None:
        """Take one number or one a channel of mean and std; `bgr` swaps red and blue before."""
        self._spec = spec
        self._bgr = bgr and spec.channels > 1
        self._mean = np.broadcast_to(np.asarray(normalization.mean, np.float64), spec.channels)
        self._std = np.broadcast_to(np.asarray(normalization.std, np.float64), spec.channels)
        self.levels = 256
        """How many of a channel's 256 values the input still tells apart; the worst channel's."""
        self.clipped = 0.0
        """The share of the values that lie outside of what the input holds; the worst channel's."""
        self._table = self._make_table() if spec.dtype.kind in "ui" else None
        unchanged = np.broadcast_to(np.arange(256), (3, 256))
        self.is_identity = not self._bgr and (
            self._table is not None and bool(np.array_equal(self._table, unchanged))
        )

    def __call__(self, rgb: Pixels) -> NDArray[Any]:
        """Return the tensor 1 x H x W x channels for `rgb` (H x W x 3)."""
        if self.is_identity:
            return rgb[np.newaxis]
        pixels = self._channels_of(rgb)
        if self._table is None:
            mean, std = self._mean.astype(np.float32), self._std.astype(np.float32)
            scaled: NDArray[Any] = ((pixels - mean) / std).astype(self._spec.dtype)
            return scaled[np.newaxis]
        if (self._table == self._table[0]).all():
            taken: NDArray[Any] = self._table[0].take(pixels)
            return taken[np.newaxis]
        planes = [table.take(pixels[..., channel]) for channel, table in enumerate(self._table)]
        return np.stack(planes, axis=-1)[np.newaxis]

    def _channels_of(self, rgb: Pixels) -> Pixels:
        if self._spec.channels == 1:
            return np.asarray(Image.fromarray(rgb).convert("L"))[..., np.newaxis]
        return np.ascontiguousarray(rgb[..., ::-1]) if self._bgr else rgb

    def _make_table(self) -> NDArray[Any]:
        real = (np.arange(256) - self._mean[:, np.newaxis]) / self._std[:, np.newaxis]
        scale = self._spec.scale or 1.0
        stored = np.rint(real / scale) + self._spec.zero_point
        limits = np.iinfo(self._spec.dtype)
        table: NDArray[Any] = stored.clip(limits.min, limits.max).astype(self._spec.dtype)
        self.levels = min(len(set(each.tolist())) for each in table)
        # A value that misses the range by one step is the rounding of mean and std.
        outside = (stored < limits.min - 1) | (stored > limits.max + 1)
        self.clipped = float(outside.mean(axis=1).max())
        return table


class Preprocessor:
    """All steps from a frame to a tensor, for one model, and an area that a call may replace."""

    def __init__(
        self,
        *,
        spec: InputSpec,
        normalization: Normalization,
        crop_fraction: float = 1.0,
        region: tuple[float, ...] = (),
        bgr: bool = False,
    ) -> None:
        self.spec = spec
        self.quantizer = Quantizer(spec, normalization, bgr=bgr)
        self._area = Area(crop_fraction=crop_fraction, region=region)

    def __call__(self, pixels: Pixels, area: Area | None = None) -> tuple[Pixels, NDArray[Any]]:
        """Return the crop, h x w x 3 RGB, and the tensor made of it, for a frame H x W x 3."""
        height, width = pixels.shape[:2]
        box = (area or self._area).box(width, height)
        crop_it = crop_and_resize if pixels.flags.c_contiguous else _crop_turned
        crop = crop_it(pixels, box, width=self.spec.width, height=self.spec.height)
        return crop, self.quantizer(crop)
