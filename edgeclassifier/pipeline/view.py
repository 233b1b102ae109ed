"""Notices that a camera sees nothing: at night, or with something in front of its lens."""

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.status import View
from edgeclassifier.pipeline.cells import mean_colours

_INTERVAL_S = 1.0
_HOLD_S = 5.0
"""A view lasts for this long before it is believed: somebody may just be passing."""
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
