"""V4L2 cameras, network streams and video files."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

from edgeclassifier.cameras.camera import FrameFactory, Pace
from edgeclassifier.cameras.ffmpeg import (
    Converter,
    local_file,
    not_for_ffmpeg,
    open_video,
    pixel_aspect,
)
from edgeclassifier.cameras.httpcamera import HttpCamera, open_http
from edgeclassifier.cameras.live import LiveReader
from edgeclassifier.cameras.source import MAX_PIXELS, Source
from edgeclassifier.cameras.stills import SizeLimit
from edgeclassifier.cameras.video import VideoSource, WholeFrames, packets
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.orientation import UPRIGHT, Orientation
from edgeclassifier.errors import CameraError, CameraTimeout
from edgeclassifier.host.redaction import redact

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_CLOSE_TIMEOUT_S = 2.0
_TICK_S = 0.2
# Time stamps are rounded to the container's time base; that must not drop a frame.
_ROUNDING_PERIODS = 0.01


class StreamCamera:
    """Frames of /dev/video0, rtsp://…, http://… (MJPEG, pictures, video), a video file.

    Of a live source only the newest frame counts, and a lost connection is made again. A file is
    read in order, as fast as it is asked for; `max_rate_hz` drops frames by its own time stamps.
    """

    def __init__(
        self,
        *,
        camera_id: str,
        url: str,
        max_rate_hz: float,
        options: Mapping[str, str],
        timeout_s: float,
        reconnect_max_s: float,
        loop: bool,
        max_pixels: int = MAX_PIXELS,
        orientation: Orientation = UPRIGHT,
    ) -> None:
        """Prepare to read `url`.

        `max_rate_hz` 0: every frame; `options`: FFmpeg's, for opening; `timeout_s`: how long
        connecting and waiting for data may each take; `reconnect_max_s`: the longest pause
        between two attempts to connect; `loop`: begin a file again at its end; `max_pixels`:
        frames that have more are refused before they are decoded.
        """
        if not url:
            raise ValueError("url is empty")
        if timeout_s <= 0:
            raise ValueError(f"timeout_s is {timeout_s}, must be more than 0")
        if reconnect_max_s <= 0:
            raise ValueError(f"reconnect_max_s is {reconnect_max_s}, must be more than 0")
        self._pace = Pace(rate_hz=max_rate_hz)
        self._frames = FrameFactory(camera_id=camera_id, orientation=orientation)
        self._url = url
        self._name = redact(url)
        self._max_rate_hz = max_rate_hz
        self._options = dict(options)
        self._timeout_s = timeout_s
        self._reconnect_max_s = reconnect_max_s
        self._loop = loop
        self._limit = SizeLimit(name=self._name, max_pixels=max_pixels)
        self._source: LiveReader | _VideoFile | None = None
        self._unreadable_before = 0
        self._converter = Converter()
        self._aspect: Fraction | None = None

    @property
    def live(self) -> bool:
        """Whether it is anything but a file."""
        return local_file(self._url) is None

    @property
    def unreadable(self) -> int:
        """How many frames were damaged, refer to such, or were too large."""
        return self._unreadable_before + (self._source.unreadable if self._source else 0)

    def open(self) -> None:
        """Connect for the first time.

        Raises CameraError if the source is absent, busy, refuses, or is no video.
        """
        self.close()
        if not self.live:
            self._source = _VideoFile(
                name=self._name,
                connect=self._open_video,
                limit=self._limit,
                rate_hz=self._max_rate_hz,
                loop=self._loop,
            )
            return
        reader = LiveReader(
            name=self._name, connect=self._connect, reconnect_max_s=self._reconnect_max_s
        )
        # Opening and then looking into the stream may each take the time.
        reader.start(2 * self._timeout_s)
        self._pace = Pace(rate_hz=self._max_rate_hz)
        self._source = reader

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest frame of a live source, the next one of a file, None at its end.

        Raises CameraTimeout if a live source has no new frame, or `max_rate_hz` allows none,
        within `timeout_s` seconds; CameraError if a file is damaged.
        """
        if isinstance(self._source, _VideoFile):
            frame = self._source.next()
            if frame is None:
                return None
            return self._frames.frame(self._to_rgb(frame), origin=self._name)
        if self._source is None:
            raise CameraError(f"{self._name}: is not open")
        deadline_s = time.monotonic() + timeout_s
        while not self._pace.sleep(min(_TICK_S, max(0.0, deadline_s - time.monotonic()))):
            self._source.note_alive()
            if time.monotonic() >= deadline_s:
                raise CameraTimeout(
                    f"{self._name}: the next frame is due in {self._pace.wait_s():.1f} s"
                )
        captured = self._source.next(max(0.0, deadline_s - time.monotonic()))
        self._pace.taken()
        return self._frames.frame(
            self._to_rgb(captured.frame),
            origin=self._name,
            monotonic_s=captured.monotonic_s,
        )

    def close(self) -> None:
        """Disconnect; does not wait long for a source that hangs."""
        source, self._source = self._source, None
        if source is not None:
            source.stop(_CLOSE_TIMEOUT_S)
            self._unreadable_before += source.unreadable

    def _to_rgb(self, frame: "VideoFrame") -> Pixels:
        return self._converter.to_rgb(frame, aspect=self._aspect)

    def _connect(self) -> Source:
        if self._url.lower().startswith(("http://", "https://")):
            found = open_http(
                self._url,
                options=self._options,
                timeout_s=self._timeout_s,
                max_rate_hz=self._max_rate_hz,
                limit=self._limit,
            )
            if isinstance(found, HttpCamera):
                return found
            if found.unknown_to_ffmpeg is not None:
                raise CameraError(f"{self._name}: {not_for_ffmpeg(found.unknown_to_ffmpeg)}")
        container = self._open_video()
        try:
            return VideoSource(container, name=self._name, limit=self._limit)
        except CameraError:
            container.close()
            raise

    def _open_video(self) -> "InputContainer":
        container = open_video(self._url, options=self._options, timeout_s=self._timeout_s)
        self._aspect = pixel_aspect(container)
        return container


class _VideoFile:
    """The frames of a file, in order."""

    def __init__(
        self,
        *,
        name: str,
        connect: "Callable[[], InputContainer]",
        limit: SizeLimit,
        rate_hz: float,
        loop: bool,
    ) -> None:
        self._name = name
        self._connect = connect
        self._limit = limit
        self._rate_hz = rate_hz
        self._loop = loop
        self._unreadable_before = 0
        self._broken = 0
        self._begin()

    @property
    def unreadable(self) -> int:
        return self._unreadable_before + self._broken + self._decoder.unreadable

    def next(self) -> "VideoFrame | None":
        while True:
            for frame in self._frames:
                if self._is_due(frame):
                    return frame
            if not self._any_decoded:
                reason = self._limit.refusal or "not one frame of it can be decoded"
                raise CameraError(f"{self._name}: {reason}")
            if not self._loop:
                return None
            self._unreadable_before += self._decoder.unreadable
            self._container.close()
            self._begin()

    def stop(self, timeout_s: float) -> None:  # noqa: ARG002  # a file never hangs
        self._container.close()

    def _begin(self) -> None:
        self._container = self._connect()
        try:
            stream = self._container.streams.video[0]
            self._decoder = WholeFrames(stream, name=self._name, limit=self._limit)
        except CameraError:
            self._container.close()
            raise
        self._frames = self._decoded()
        self._any_decoded = False
        self._last_period = -math.inf

    def _decoded(self) -> "Iterator[VideoFrame]":
        for packet in packets(self._container, name=self._name, broken=self._note_broken):
            yield from self._decoder.decode(packet)

    def _note_broken(self) -> None:
        self._broken += 1

    def _is_due(self, frame: "VideoFrame") -> bool:
        """Say whether a frame is the first in its period of the rate."""
        self._any_decoded = True
        # A frame without a time stamp belongs to no period, and is not dropped.
        if not self._rate_hz or frame.pts is None:
            return True
        period = math.floor(frame.time * self._rate_hz + _ROUNDING_PERIODS)
        due = period > self._last_period
        self._last_period = max(self._last_period, period)
        return due
