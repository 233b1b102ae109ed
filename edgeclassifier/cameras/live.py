"""Keeps the newest frame of a live source, and connects again when the connection is lost."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from edgeclassifier.cameras.ffmpeg import decode
from edgeclassifier.errors import CameraError, CameraTimeout
from edgeclassifier.host import threads
from edgeclassifier.host.backoff import Backoff

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_RECONNECT_MIN_S = 0.25
# After a connection that lasted this long, the pauses are short again.
_STEADY_S = 10.0

log = logging.getLogger(__name__)


class Captured(NamedTuple):
    """A decoded frame, not yet converted, and its time on the monotonic clock."""

    frame: "VideoFrame"
    monotonic_s: float


class LiveReader:
    """Decodes a live source in a thread of its own, so that FFmpeg may hang without harm."""

    def __init__(
        self, *, name: str, connect: Callable[[], "InputContainer"], reconnect_max_s: float
    ) -> None:
        """Prepare to read what `connect` opens. `name` is for messages: no password in it."""
        self._name = name
        self._connect = connect
        self._backoff = Backoff(min_s=min(_RECONNECT_MIN_S, reconnect_max_s), max_s=reconnect_max_s)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._opened = threading.Event()
        self._open_error: CameraError | None = None
        self._changed = threading.Condition()  # guards what follows
        self._newest: Captured | None = None
        self._died = False
        self._lost_since_s: float | None = None
        self.unreadable = 0

    def start(self, timeout_s: float) -> None:
        """Connect for the first time. Raises CameraError if that fails or takes too long."""
        self._thread = threads.start(self._run, name="stream-reader", on_death=self._note_death)
        if not self._opened.wait(timeout_s):
            self._stopping.set()
            raise CameraError(f"{self._name}: does not answer within {timeout_s:g} s")
        if self._open_error is not None:
            raise self._open_error

    def next(self, timeout_s: float) -> Captured:
        """Take the newest frame; each is given out once. Raises CameraTimeout and CameraError."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._died, timeout_s)
            newest, self._newest = self._newest, None
            if newest is not None:
                return newest
            if self._died:
                raise self._death()
            state = "no frame" if self._lost_since_s is None else "lost, no frame"
            raise CameraTimeout(f"{self._name}: {state} for {timeout_s:.1f} s")

    def stop(self, timeout_s: float) -> None:
        """End the thread; leave it behind if FFmpeg does not return in time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("%s: does not end, left behind", self._name)

    def _run(self) -> None:
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
            if time.monotonic() - began_s >= _STEADY_S:
                self._backoff.reset()
            self._stopping.wait(self._backoff.next_s())

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
        # Before the frame is given out: what it leads to must not be logged first.
        if self._lost_since_s is not None:
            log.info("%s: back after %.0f s", self._name, now_s - self._lost_since_s)
        with self._changed:
            self._lost_since_s = None
            self._newest = Captured(frame, now_s)
            self._changed.notify()

    def _mark_lost(self, reason: CameraError) -> None:
        with self._changed:
            if self._lost_since_s is not None:
                return
            self._lost_since_s = time.monotonic()
        log.warning("lost, connecting again: %s", reason)

    def _note_death(self, _error: BaseException) -> None:
        self._open_error = self._death()
        self._opened.set()
        with self._changed:
            self._died = True
            self._changed.notify()

    def _death(self) -> CameraError:
        # Without the fault's own words, which may name the URL with its password.
        return CameraError(f"{self._name}: its reader has ended unexpectedly")
