"""What every camera can do, and what the cameras share."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.orientation import UPRIGHT, Orientation


class FrameFactory:
    """Numbers and time-stamps the frames of one camera, and turns them upright."""

    def __init__(self, *, camera_id: str, orientation: Orientation = UPRIGHT) -> None:
        self._camera_id = camera_id
        self.orientation = orientation
        """How `pixels` of frame() are turned; a camera that turns them itself may change it."""
        self._next_seq = 0

    def frame(
        self, pixels: NDArray[np.uint8], *, origin: str, monotonic_s: float | None = None
    ) -> Frame:
        """Make the next frame, captured now or at `monotonic_s` on the monotonic clock.

        `pixels` are as the camera gives them, H x W x 3; those of the frame are upright, as a view.
        """
        now = time.monotonic()
        captured = now if monotonic_s is None else monotonic_s
        seq = self._next_seq
        self._next_seq += 1
        return Frame(
            pixels=pixels if self.orientation == UPRIGHT else self.orientation.turn(pixels),
            seq=seq,
            monotonic_s=captured,
            utc=datetime.now(UTC) - timedelta(seconds=now - captured),
            camera=self._camera_id,
            origin=origin,
        )


class Pace:
    """When the next frame is due: without drift, and without a burst after a stall."""

    def __init__(self, *, rate_hz: float) -> None:
        if rate_hz < 0:
            raise ValueError(f"rate_hz is {rate_hz}, must be 0 (no limit) or more")
        self._period_s = 1 / rate_hz if rate_hz else 0.0
        self._due_s = time.monotonic()

    def wait_s(self) -> float:
        """Return the seconds until the next frame is due, 0 if it is."""
        return max(0.0, self._due_s - time.monotonic())

    def sleep(self, timeout_s: float) -> bool:
        """Sleep until the next frame is due, `timeout_s` at most; say whether it is due."""
        wait_s = self.wait_s()
        if wait_s:
            time.sleep(min(wait_s, max(0.0, timeout_s)))
        return wait_s <= timeout_s

    def taken(self) -> None:
        """Count a frame as taken now."""
        now = time.monotonic()
        self._due_s += self._period_s
        if self._due_s <= now:
            self._due_s = now + self._period_s


class Camera(Protocol):
    """A source of frames. All methods are called from one thread."""

    @property
    def live(self) -> bool:
        """Whether frames that are not read in time are lost (the newest wins), or wait."""

    @property
    def unreadable(self) -> int:
        """How many frames or files could not be decoded and were skipped."""

    def open(self) -> None:
        """Start capturing.

        Raises CameraError if the source is absent, busy or not usable.
        """

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest frame, or None at the end of the source.

        Raises CameraTimeout if no frame came within `timeout_s` seconds, and CameraError if none
        will come any more. Never blocks much longer than `timeout_s`.
        """

    def close(self) -> None:
        """Release the source. May be called twice, and after a failed open()."""
