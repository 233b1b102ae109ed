"""Whether a camera sees anything: the same picture all the time, darkness, a covered lens."""

import time
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.orientation import as_stored
from edgeclassifier.contract.status import View

GRID: Final = 32
"""Cells in each direction."""
Cells = NDArray[np.float32]

_ROW_STEP = 16
_INTERVAL_S = 1.0
_HOLD_S = 5.0
"""A view counts once it has lasted this long: a person may just be passing."""
_ROWS = 256
_ALMOST_ALL = 0.98
_DARK_BELOW, _DARK_UNTIL = 16.0, 24.0
"""Brightness, 0 to 255, of all cells but the brightest 2 %, which leaves room for a lamp.

Of 204 photos at half exposure the darkest has 45, and a sensor's noise of 20 levels on black 9.
"""
_COVERED_BELOW, _COVERED_UNTIL = 3.5, 4.5
"""Detail, in levels: how far a cell is from the mean of its four neighbours, but for the strongest
2 %. A plain slope from dark to bright, as a finger shows it, has none.

The same photos have 12.7 at least, and 6.2 at half exposure. Blurred over a tenth of their width
or more, which is what a finger on the lens leaves, they have 3.0 at most, with a sensor's noise of
12 levels.
"""


def mean_colours(pixels: Pixels, *, rows: int) -> Cells:
    """Return the mean colours of a picture H x W x 3: 3 x GRID x GRID, 0 to 255.

    Samples about `rows` rows; more rows average out more noise.
    """
    stored, upright = as_stored(pixels)
    some = stored[:: max(1, len(stored) // rows)]
    # Whole blocks of pixels first, the rest of each cell's size afterwards.
    small = Image.fromarray(some).resize((GRID, GRID), Image.Resampling.BOX, reducing_gap=1.0)
    # Planes of one colour each are what NumPy is fast with.
    return upright.turn(np.asarray(small)).transpose(2, 0, 1).astype(np.float32, order="C")


class FreezeDetector:
    """Compares each picture with the one before. A sensor's noise makes any two differ."""

    def __init__(self) -> None:
        self._rows: Pixels | None = None
        self._checksum: int | None = None
        self._since_s = self._newest_s = 0.0

    @property
    def same_s(self) -> float:
        """For how long all pictures have been the same."""
        return self._newest_s - self._since_s

    def update(self, picture: Pixels) -> None:
        """Take the next picture, H x W x 3."""
        now_s = time.monotonic()
        if not self._is_same(as_stored(picture)[0]):
            self._since_s = now_s
        self._newest_s = now_s

    def _is_same(self, picture: Pixels) -> bool:
        """Compare some rows, and only if those are equal all of them, by their checksum."""
        rows = picture[::_ROW_STEP]
        if self._rows is None or not np.array_equal(rows, self._rows):
            # Copied, so that the frame is not kept.
            self._rows, self._checksum = rows.copy(), None
            return False
        before, self._checksum = self._checksum, zlib.crc32(np.ascontiguousarray(picture).data)
        return before in (None, self._checksum)


class ViewWatch:
    """Looks at a frame about once a second.

    What is dark is not called covered, because it shows nothing in either case.
    """

    def __init__(self) -> None:
        self.view: View = "clear"
        self.due_s = 0.0
        """When the next frame is wanted, on the monotonic clock."""
        self._different_since_s: float | None = None

    def update(self, pixels: Pixels, *, now_s: float) -> None:
        """Take a frame H x W x 3."""
        self.due_s = now_s + _INTERVAL_S
        seen = view_of(pixels, before=self.view)
        if seen == self.view:
            self._different_since_s = None
        elif self._different_since_s is None:
            self._different_since_s = now_s
        elif now_s - self._different_since_s >= _HOLD_S:
            self.view = seen
            self._different_since_s = None


def view_of(pixels: Pixels, *, before: View = "clear") -> View:
    """Judge one frame H x W x 3; what it was `before` ends later than it would begin."""
    brightness, detail = measure(pixels)
    if brightness < (_DARK_UNTIL if before == "dark" else _DARK_BELOW):
        return "dark"
    if detail < (_COVERED_UNTIL if before == "covered" else _COVERED_BELOW):
        return "covered"
    return "clear"


def measure(pixels: Pixels) -> tuple[float, float]:
    """Return the brightness and the detail of a frame H x W x 3, both in levels of 255."""
    grey = mean_colours(pixels, rows=_ROWS).mean(axis=0)
    around = (grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]) / 4
    detail = np.abs(grey[1:-1, 1:-1] - around)
    return _almost_highest(grey), _almost_highest(detail)


def _almost_highest(values: NDArray[np.float32]) -> float:
    """Return what _ALMOST_ALL of the values are below: quantile() would take ten times as long."""
    place = int(_ALMOST_ALL * values.size)
    return float(np.partition(values.reshape(-1), place)[place])
