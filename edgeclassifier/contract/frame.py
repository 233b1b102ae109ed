"""One picture, and when and where it was taken."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture and where it came from."""

    pixels: NDArray[np.uint8]
    """Height x width x 3, RGB."""
    seq: int
    """Counts the frames of this camera from 0."""
    monotonic_s: float
    """Time of capture on the monotonic clock: for ages and durations."""
    utc: datetime
    """Time of capture on the wall clock: for people, never for arithmetic."""
    camera: str
    origin: str
    """What the frame was read from: a file's name, a device, a URL without credentials."""

    @property
    def clock_lead_s(self) -> float:
        """How far the wall clock was ahead of the monotonic one, in seconds."""
        return self.utc.timestamp() - self.monotonic_s


Pixels = NDArray[np.uint8]
