"""From pixels to what a model's input stores: channels, normalization, quantization."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.plain import Plain, plain_data


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
        self.levels = min(len(np.unique(each)) for each in table)
        # A value that misses the range by one step is the rounding of mean and std.
        outside = (stored < limits.min - 1) | (stored > limits.max + 1)
        self.clipped = float(outside.mean(axis=1).max())
        return table
