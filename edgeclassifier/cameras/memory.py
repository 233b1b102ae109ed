"""Frames from memory, for measuring everything but the camera."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.contract.frame import Frame


class MemoryCamera:
    """Gives the same pictures round and round, as fast as they are read."""

    live = False
    unreadable = 0

    def __init__(
        self, *, camera_id: str, pictures: Sequence[NDArray[np.uint8]], count: int | None
    ) -> None:
        """Take pictures of height x width x 3 in RGB; `count` frames are given, None: no end."""
        if not pictures:
            raise ValueError("pictures is empty")
        if count is not None and count < 0:
            raise ValueError(f"count is {count}, must be 0 or more")
        self._frames = FrameFactory(camera_id=camera_id)
        self._pictures = tuple(pictures)
        self._count = count
        self._given = 0

    def open(self) -> None:
        """Begin with the first picture."""
        self._given = 0

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002  # the protocol's signature
        """Return the next frame, or None after `count` of them. Never waits."""
        if self._given == self._count:
            return None
        index = self._given % len(self._pictures)
        self._given += 1
        return self._frames.frame(self._pictures[index], origin=f"memory:{index}")

    def close(self) -> None:
        """Nothing is held that needs to be released."""
