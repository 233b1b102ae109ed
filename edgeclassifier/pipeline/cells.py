"""A picture as a coarse grid of mean colours: enough to see that something changed, and cheap."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeclassifier.contract.frame import Pixels

GRID = 32
"""Cells in each direction."""
Cells = NDArray[np.float32]


def mean_colours(pixels: Pixels, *, rows: int) -> Cells:
    """Return the mean colours of a picture H x W x 3: 3 x GRID x GRID, 0 to 255.

    Of the picture's rows about so many are looked at: the more, the less noise is left.
    """
    some = pixels[:: max(1, len(pixels) // rows)]
    # Whole blocks of pixels first, the rest of each cell's size afterwards.
    small = Image.fromarray(some).resize((GRID, GRID), Image.Resampling.BOX, reducing_gap=1.0)
    # Planes of one colour each are what NumPy is fast with.
    return np.asarray(small).transpose(2, 0, 1).astype(np.float32, order="C")
