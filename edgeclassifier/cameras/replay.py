"""Picture files in place of a camera."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.cameras.camera import FrameFactory, Pace
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.orientation import UPRIGHT, Orientation
from edgeclassifier.engine.pictures import find_pictures, load_picture
from edgeclassifier.errors import CameraError, CameraTimeout, PictureError

_CACHE_PICTURES = 8
_CACHE_BYTES = 64 * 2**20

log = logging.getLogger(__name__)


class ReplayCamera:
    """Gives the pictures of a folder, a pattern or one file, in the order of their names."""

    live = False

    def __init__(
        self,
        *,
        camera_id: str,
        path: str,
        loop: bool,
        rate_hz: float,
        orientation: Orientation = UPRIGHT,
    ) -> None:
        """Prepare to replay `path`, for ever if `loop`; `rate_hz` 0: as fast as it is read."""
        self._pace = Pace(rate_hz=rate_hz)
        self._rate_hz = rate_hz
        self._frames = FrameFactory(camera_id=camera_id, orientation=orientation)
        self._camera_id = camera_id
        self._path = path
        self._loop = loop
        self._pictures: list[Path] | None = None
        self._position = 0
        self._cache: dict[Path, tuple[int, NDArray[np.uint8]]] = {}
        self._unreadable = 0

    @property
    def unreadable(self) -> int:
        """How many files were left out because they could not be decoded."""
        return self._unreadable

    def open(self) -> None:
        """List the pictures. Raises CameraError if there is none."""
        try:
            self._pictures = find_pictures(self._path)
        except PictureError as error:
            raise CameraError(f"{self._camera_id}: {error}") from None
        self._position = 0
        self._pace = Pace(rate_hz=self._rate_hz)

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next picture once it is due, or None after the last.

        Raises CameraTimeout if it is due later than in `timeout_s` seconds, and CameraError if
        not one of the pictures can be decoded.
        """
        if self._pictures is None:
            raise CameraError(f"{self._camera_id}: is not open")
        if self._pictures and self._position == len(self._pictures) and not self._loop:
            return None
        if not self._pace.sleep(timeout_s):
            raise CameraTimeout(
                f"{self._camera_id}: the next picture is due in {self._pace.wait_s():.1f} s"
            )
        picture = self._next(self._pictures)
        if picture is None:
            return None
        self._pace.taken()
        path, pixels = picture
        return self._frames.frame(pixels, origin=path.name)

    def close(self) -> None:
        """Forget the list of pictures, and those in memory."""
        self._pictures = None
        self._cache.clear()

    def _next(self, pictures: list[Path]) -> tuple[Path, NDArray[np.uint8]] | None:
        while pictures:
            if self._position == len(pictures):
                if not self._loop:
                    return None
                self._position = 0
            path = pictures[self._position]
            try:
                pixels = self._load(path, cacheable=self._loop and len(pictures) <= _CACHE_PICTURES)
            except PictureError as error:
                # Not tried again: a broken file would cost time, and a warning, in every round.
                del pictures[self._position]
                self._unreadable += 1
                log.warning("%s: picture left out: %s", self._camera_id, error)
                continue
            self._position += 1
            return path, pixels
        raise CameraError(f"{self._camera_id}: none of the pictures of {self._path} can be read")

    def _load(self, path: Path, *, cacheable: bool) -> NDArray[np.uint8]:
        if not cacheable:
            return load_picture(path)
        try:
            version = path.stat().st_mtime_ns
        except OSError as error:
            raise PictureError(f"{path}: cannot be read: {error.strerror}") from None
        cached_version, pixels = self._cache.get(path, (None, None))
        if pixels is not None and cached_version == version:
            return pixels
        self._cache.pop(path, None)
        pixels = load_picture(path)
        pixels.setflags(write=False)  # the next round gives out the same array
        if pixels.nbytes + sum(kept.nbytes for _, kept in self._cache.values()) <= _CACHE_BYTES:
            self._cache[path] = version, pixels
        return pixels
