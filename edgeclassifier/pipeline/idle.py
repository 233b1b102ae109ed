"""Notices whether anything has changed since the frame that was classified last."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.engine.preprocess import crop_box
from edgeclassifier.pipeline.sight import GRID, Cells, mean_colours

_ROWS = 128
"""Of a picture, which makes each cell the mean of dozens of pixels."""
_FILLED = 0.4
"""Of the cells that an object covers, so many are covered well enough to show its contrast."""
_LEARN_EVERY = 5
"""Two frames this far apart show the noise, and hardly ever anything else."""
_NOISE_LEVELS = (6.0, 18.0)
"""A difference below the first is never a change, one above the second always is."""
_FLICKER = (0.02, 0.12)
"""The same for how much brighter or darker a row of cells has become, as a fraction."""
_MARGIN = 1.35
"""From what the noise reaches in one comparison of ten to what it hardly ever passes."""
_FIRST_SAMPLES = 8
_UP, _DOWN = 1.05, 0.995
"""Their balance is where one sample of eleven is above: a lively minute moves it little."""
_BLACK = 24.0
"""Added to the sum of R, G and B, so that noise in the dark does not look like flicker."""


@plain_data
class IdleSettings(Plain):
    """When the last answer is repeated in place of a new one."""

    max_age_s: float
    """An answer older than this is not repeated."""
    min_area: float = 0.005
    """The smallest thing whose coming or going counts, as a fraction of the classified picture."""
    crop_fraction: float = 1.0
    """As the preprocessor has it, like `region`."""
    region: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for what has no meaning."""
        if self.max_age_s <= 0:
            raise ValueError(f"max_age_s is {self.max_age_s}, must be more than 0")
        if not 0 < self.min_area <= 1:
            raise ValueError(f"min_area is {self.min_area}, must be more than 0, and 1 at most")


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What of a frame is compared."""

    scene: "StillScene"
    cells: Cells
    light: NDArray[np.float32]
    """GRID x GRID: how bright the cells are."""

    def remember(self) -> None:
        """Note that this is the frame that is classified, which later ones are compared with."""
        self.scene.reference = self


class StillScene:
    """Compares frames with the one that was classified last, so that slow changes add up.

    Two frames are the same if no more cells differ than an object of the smallest size would
    fill. What counts as different is learned from frames shortly after one another: how far the
    noise of sensor and encoder goes, and how much the light flickers. Flicker, of the whole or in
    bands as mains light draws them, is taken out first, as far as it is usual in this scene.

    look() is for the thread of the camera, the rest for any.
    """

    def __init__(self, settings: IdleSettings) -> None:
        self.settings = settings
        self.reference: Look | None = None
        self._fewest = max(1, round(_FILLED * settings.min_area * GRID * GRID))
        self._noise = _Usual(*_NOISE_LEVELS)
        self._flicker = _Usual(*_FLICKER)
        self._earlier: Look | None = None
        self._looks = 0

    def window(self, pixels: Pixels) -> Pixels:
        """Return the part of a frame H x W x 3 that is classified, in whole pixels: a view."""
        height, width = pixels.shape[:2]
        fraction, region = self.settings.crop_fraction, self.settings.region
        box = crop_box(width, height, crop_fraction=fraction, region=region)
        right, bottom = math.ceil(box.x + box.width), math.ceil(box.y + box.height)
        return pixels[int(box.y) : bottom, int(box.x) : right]

    def look(self, window: Pixels) -> Look:
        """Take what window() returned for the next frame."""
        cells = mean_colours(window, rows=_ROWS)
        look = Look(self, cells, cells.sum(axis=0) + _BLACK)
        if self._looks < _FIRST_SAMPLES or self._looks % _LEARN_EVERY == 0:
            if self._earlier is not None:
                gain = _gain(look, self._earlier)
                self._noise.learn(self._difference(look, self._earlier, gain))
                self._flicker.learn(float(np.abs(gain - 1).max()))
            self._earlier = look
        self._looks += 1
        return look

    def unchanged(self, look: Look) -> Look | None:
        """Return the look of the classified frame where this one is the same, else None."""
        reference = self.reference
        return reference if reference is not None and self.same(look, reference) else None

    def same(self, look: Look, before: Look) -> bool:
        """Tell whether nothing is different. May be called from any thread."""
        return self._difference(look, before, _gain(look, before)) <= self._noise.limit

    def _difference(self, look: Look, before: Look, gain: NDArray[np.float32]) -> float:
        """Return by how many levels so many cells differ that together they make an object."""
        limit = self._flicker.limit
        usual = gain.clip(1 - limit, 1 + limit)[:, np.newaxis]
        # Where the picture is as bright as it can be, it does not follow the light.
        followed, stayed = look.cells - usual * before.cells, look.cells - before.cells
        by_cell = np.minimum(np.abs(followed), np.abs(stayed)).max(axis=0).reshape(-1)
        return float(np.partition(by_cell, -self._fewest)[-self._fewest])


def _gain(look: Look, before: Look) -> NDArray[np.float32]:
    """Return how much brighter each row of cells is: the median, which no object in it moves."""
    ratios: NDArray[np.float32] = look.light / before.light
    return np.partition(ratios, GRID // 2, axis=1)[:, GRID // 2]


class _Usual:
    """How far something usually goes, between two limits: a quantile that follows slowly."""

    def __init__(self, lowest: float, highest: float) -> None:
        self._lowest, self._highest = lowest, highest
        self._value = lowest / _MARGIN
        self._samples = 0

    @property
    def limit(self) -> float:
        return min(self._value * _MARGIN, self._highest)

    def learn(self, sample: float) -> None:
        if sample > self._highest:
            return  # a change, and no noise
        self._samples += 1
        if self._samples <= _FIRST_SAMPLES:
            self._value = max(self._value, sample)
        else:
            self._value *= _UP if sample > self._value else _DOWN
        self._value = min(max(self._value, self._lowest / _MARGIN), self._highest / _MARGIN)
