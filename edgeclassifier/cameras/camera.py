"""The frame, and what every camera can do."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.frame import Frame


class FrameFactory:
    """Numbers and time-stamps the frames of one camera."""

    def __init__(self, *, camera_id: str) -> None:
        self._camera_id = camera_id
        self._next_seq = 0

    def frame(
        self, pixels: NDArray[np.uint8], *, origin: str, monotonic_s: float | None = None
    ) -> Frame:
        """Make the next frame, captured now or at `monotonic_s` on the monotonic clock."""
        now = time.monotonic()
        captured = now if monotonic_s is None else monotonic_s
        seq = self._next_seq
        self._next_seq += 1
        return Frame(
            pixels=pixels,
            seq=seq,
            monotonic_s=captured,
            utc=datetime.now(UTC) - timedelta(seconds=now - captured),
            camera=self._camera_id,
            origin=origin,
        )


class Camera(Protocol):
    """A source of frames. All methods are called from one thread."""

    @property
    def live(self) -> bool:
        """Whether frames that nobody reads are lost (the newest wins) or wait to be read."""

    @property
    def unreadable(self) -> int:
        """How many frames or files could not be decoded and were skipped."""

    def open(self) -> None:
        """Start capturing.

        Raises CameraError where the source is absent, busy or not usable.
        """

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest frame, or None when the source has come to its end.

        Raises CameraTimeout where no frame came within `timeout_s` seconds and CameraError
        where none will come any more. Never blocks much longer than `timeout_s`.
        """

    def close(self) -> None:
        """Release the source. May be called twice, and after a failed open()."""
