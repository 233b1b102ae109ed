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


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels, whole or not."""

    x: float
    y: float
    width: float
    height: float


@plain_data
class Normalization(Plain):
    """(pixel - mean) / std for each channel in R, G, B order; pixels are 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@plain_data
class InputSpec(Plain):
    """What a model takes: one picture of height x width x 3 in `dtype`.

    For uint8 and int8, real value = scale * (stored value - zero_point); a scale of 0 means that
    the tensor is not quantized.
    """

    height: int
    width: int
    dtype: np.dtype[Any]
    scale: float = 0.0
    zero_point: int = 0


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
    if side.is_integer():
        # On whole pixels nothing has to be interpolated that is not scaled.
        return Box(x=(width - side) // 2, y=(height - side) // 2, width=side, height=side)
    return Box(x=(width - side) / 2, y=(height - side) / 2, width=side, height=side)


def crop_and_resize(pixels: Pixels, box: Box, *, width: int, height: int) -> Pixels:
    """Cut `box` out of `pixels` (H x W x 3) and scale it to `height` x `width` x 3.

    Bilinear with antialiasing, as the models were trained and measured with.
    """
    left, top = int(box.x), int(box.y)
    right, bottom = math.ceil(box.x + box.width), math.ceil(box.y + box.height)
    cut = pixels[top:bottom, left:right]
    inner = (box.x - left, box.y - top, box.x - left + box.width, box.y - top + box.height)
    if inner == (0, 0, width, height):
        return np.ascontiguousarray(cut)
    # Sums of fractions may reach past the edge by a rounding error.
    inner = (*inner[:2], min(inner[2], cut.shape[1]), min(inner[3], cut.shape[0]))
    resized = Image.fromarray(cut).resize(
        (width, height), Image.Resampling.BILINEAR, box=inner, reducing_gap=_REDUCING_GAP
    )
    return np.asarray(resized)


def usual_normalization(spec: InputSpec) -> tuple[Normalization, bool]:
    """Guess the normalization of a model that does not state it, and whether the guess is sure.

    Where the input tensor spans one of the usual ranges, -1 to 1, 0 to 1 or 0 to 255, the pixels
    were meant to go straight in. Otherwise -1 to 1 is what most image classifiers were trained
    with.
    """
    if spec.dtype.kind in "ui" and spec.scale > 0:
        limits = np.iinfo(spec.dtype)
        low = spec.scale * (limits.min - spec.zero_point)
        high = spec.scale * (limits.max - spec.zero_point)
        for usual_low, usual_high in ((-1, 1), (0, 1), (0, 255)):
            tolerance = 0.015 * (usual_high - usual_low)
            if abs(low - usual_low) <= tolerance and abs(high - usual_high) <= tolerance:
                straight = Normalization(
                    mean=(spec.zero_point - limits.min,), std=(1 / spec.scale,)
                )
                return straight, True
    return Normalization(mean=(127.5,), std=(127.5,)), False


class Quantizer:
    """Turns uint8 RGB into what a model's input tensor stores.

    Normalization and quantization are both linear in a pixel, so for the quantized types they are
    one table of 256 entries a channel, and nothing at all if that table is the identity.
    """

    def __init__(self, spec: InputSpec, normalization: Normalization) -> None:
        self._spec = spec
        self._mean = np.broadcast_to(np.asarray(normalization.mean, np.float64), 3)
        self._std = np.broadcast_to(np.asarray(normalization.std, np.float64), 3)
        self._table = self._make_table() if spec.dtype.kind in "ui" else None
        self.is_identity = self._table is not None and bool(
            np.array_equal(self._table, np.broadcast_to(np.arange(256), (3, 256)))
        )

    def __call__(self, rgb: Pixels) -> NDArray[Any]:
        """Return the tensor 1 x H x W x 3 for `rgb` (H x W x 3)."""
        if self.is_identity:
            return rgb[np.newaxis]
        if self._table is None:
            mean, std = self._mean.astype(np.float32), self._std.astype(np.float32)
            scaled: NDArray[Any] = ((rgb - mean) / std).astype(self._spec.dtype)
            return scaled[np.newaxis]
        if (self._table == self._table[0]).all():
            taken: NDArray[Any] = self._table[0].take(rgb)
            return taken[np.newaxis]
        planes = [self._table[channel].take(rgb[..., channel]) for channel in range(3)]
        return np.stack(planes, axis=-1)[np.newaxis]

    def _make_table(self) -> NDArray[Any]:
        real = (np.arange(256) - self._mean[:, np.newaxis]) / self._std[:, np.newaxis]
        scale = self._spec.scale or 1.0
        stored = np.rint(real / scale) + self._spec.zero_point
        limits = np.iinfo(self._spec.dtype)
        table: NDArray[Any] = stored.clip(limits.min, limits.max).astype(self._spec.dtype)
        return table


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


class Preprocessor:
    """All steps from a frame to a tensor, for one model and one choice of crop."""

    def __init__(
        self,
        *,
        spec: InputSpec,
        normalization: Normalization,
        crop_fraction: float = 1.0,
        region: tuple[float, ...] = (),
    ) -> None:
        self.spec = spec
        self.quantizer = Quantizer(spec, normalization)
        self._crop_fraction = crop_fraction
        self._region = region

    def __call__(self, pixels: Pixels) -> tuple[Pixels, NDArray[Any]]:
        """Return the crop, h x w x 3 RGB, and the tensor made of it, for a frame H x W x 3."""
        height, width = pixels.shape[:2]
        box = crop_box(width, height, crop_fraction=self._crop_fraction, region=self._region)
        crop_it = crop_and_resize if pixels.flags.c_contiguous else _crop_turned
        crop = crop_it(pixels, box, width=self.spec.width, height=self.spec.height)
        return crop, self.quantizer(crop)
