"""A thread that keeps the newest frame of a live source, and connects again when it is lost."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from edgeclassifier.cameras.ffmpeg import decode
from edgeclassifier.errors import CameraError, CameraTimeout

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_FIRST_DELAY_S = 0.5
# A connection that lasted this long was good: after it, trying again begins with short delays.
_STABLE_S = 10.0

log = logging.getLogger(__name__)


class Captured(NamedTuple):
    """A decoded frame that nobody has converted yet, and its time on the monotonic clock."""

    frame: "VideoFrame"
    monotonic_s: float


class LiveReader:
    """Decodes a live source in a thread of its own, so that FFmpeg may hang without harm."""

    def __init__(
        self, *, name: str, connect: Callable[[], "InputContainer"], reconnect_max_s: float
    ) -> None:
        """Prepare to read what `connect` opens. `name` is for messages: no password in it."""
        if reconnect_max_s <= 0:
            raise ValueError(f"reconnect_max_s is {reconnect_max_s}, must be more than 0")
        self._name = name
        self._connect = connect
        self._reconnect_max_s = reconnect_max_s
        self._thread = threading.Thread(target=self._run, name="stream-reader", daemon=True)
        self._stopping = threading.Event()
        self._opened = threading.Event()
        self._open_error: CameraError | None = None
        self._changed = threading.Condition()  # guards what follows
        self._newest: Captured | None = None
        self._lost_since_s: float | None = None
        self.unreadable = 0

    def start(self, timeout_s: float) -> None:
        """Connect for the first time. Raises CameraError where that fails or takes too long."""
        self._thread.start()
        if not self._opened.wait(timeout_s):
            self._stopping.set()
            raise CameraError(f"{self._name}: does not answer within {timeout_s:g} s")
        if self._open_error is not None:
            raise self._open_error

    def next(self, timeout_s: float) -> Captured:
        """Take the newest frame; each is given out once. Raises CameraTimeout and CameraError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._newest is not None, timeout_s):
                if not self._thread.is_alive():
                    raise CameraError(f"{self._name}: the reader has ended unexpectedly")
                state = "no frame" if self._lost_since_s is None else "lost, no frame"
                raise CameraTimeout(f"{self._name}: {state} for {timeout_s:.1f} s")
            newest, self._newest = self._newest, None
            assert newest is not None  # noqa: S101  # wait_for() says so, for the type checker
            return newest

    def stop(self, timeout_s: float) -> None:
        """End the thread; leaves it to itself where FFmpeg does not come back in time."""
        self._stopping.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("%s: does not let go, left behind", self._name)

    def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._stopping.is_set():
            began_s = time.monotonic()
            reason = self._read_until_lost()
            if not self._opened.is_set():
                self._open_error = reason
                self._opened.set()
                return
            if self._stopping.is_set():
                return
            self._mark_lost(reason)
            if time.monotonic() - began_s >= _STABLE_S:
                delay_s = _FIRST_DELAY_S
            # Jitter, so that many devices do not all come back to one server at once.
            jitter = random.uniform(0.5, 1.0)  # noqa: S311  # no secret depends on it
            self._stopping.wait(min(delay_s, self._reconnect_max_s) * jitter)
            delay_s = min(delay_s * 2, self._reconnect_max_s)

    def _read_until_lost(self) -> CameraError:
        try:
            container = self._connect()
            with container:
                self._opened.set()
                for frame in decode(container, name=self._name):
                    if self._stopping.is_set():
                        break
                    if frame is None:
                        self.unreadable += 1
                    else:
                        self._publish(frame)
        except CameraError as error:
            return error
        return CameraError(f"{self._name}: the stream has ended")

    def _publish(self, frame: "VideoFrame") -> None:
        now_s = time.monotonic()
        with self._changed:
            lost_since_s, self._lost_since_s = self._lost_since_s, None
            self._newest = Captured(frame, now_s)
            self._changed.notify()
        if lost_since_s is not None:
            log.info("%s: back after %.0f s", self._name, now_s - lost_since_s)

    def _mark_lost(self, reason: CameraError) -> None:
        with self._changed:
            if self._lost_since_s is not None:
                return
            self._lost_since_s = time.monotonic()
        log.warning("lost, connecting again: %s", reason)
