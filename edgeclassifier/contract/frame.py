"""One picture, and when and where it was taken."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture: height x width x 3, RGB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture and where it came from."""

    pixels: Pixels
    seq: int
    """Counts the frames of this camera from 0."""
    monotonic_s: float
    """Time of capture on the monotonic clock: for ages and durations."""
    utc: datetime
    """Time of capture on the wall clock: for people, never for arithmetic."""
    camera: str
    origin: str
    """What the frame was read from: a file's name, a device, a URL without credentials."""
