"""Keeps frames coming: opens the camera again if it fails or hangs, or another one on request."""

import functools
import logging
import time
from collections.abc import Callable
from typing import Protocol

from edgeclassifier.cameras import Camera
from edgeclassifier.cameras.reader import POLL_S, Reader, no_frame
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.status import CameraStatus
from edgeclassifier.errors import CameraError
from edgeclassifier.host.backoff import Backoff

_PAUSE_MAX_S = 30.0
log = logging.getLogger(__name__)


class Deliver(Protocol):
    """Where frames go."""

    def __call__(self, frame: Frame, *, live: bool) -> bool:
        """Take a frame in the thread that read it; return whether to go on."""


@plain_data
class CameraSettings(Plain):
    """Which camera, and how it is watched."""

    make: Callable[[], Camera]
    """Makes a closed camera, as often as it is called."""
    deadline_s: float
    """The longest time from one frame to the next."""
    max_recoveries: int = 0
    """How often in a row a live camera that fails is opened again."""
    frozen_after_s: float = 0.0
    """A live camera whose picture stays the same for this long is reported; 0: never."""


class Capture:
    """Delivers the frames of one camera, from threads of its own.

    Every attempt has a new camera object and a new thread, so that a driver that hangs is left
    behind. A live camera that fails after its first frame is opened again, a bounded number of
    times in a row; one that cannot be opened at the start, or that reads files, is not.
    """

    def __init__(
        self,
        settings: CameraSettings,
        *,
        deliver: Deliver,
        on_end: Callable[[], None],
        nice: int = 0,
        open_s: float = 30.0,
        close_s: float = 6.0,
        pause_min_s: float = 1.0,
        steady_deadlines: float = 3,
    ) -> None:
        """Hand frames to `deliver`.

        `on_end` is called behind the last frame of a source that has an end, `nice` is the
        niceness of the threads. open() may take `open_s` beyond the deadline: cameras bound it
        themselves. One that does not close within `close_s` is left behind, and one that failed is
        opened again after a pause of `pause_min_s` or more; it has recovered for good once it
        delivered frames for `steady_deadlines` deadlines. Raises what making the camera raises.
        """
        self.settings = settings
        self.refused: CameraError | None = None
        """Why the camera that replace() brought is not used; None if it is."""
        self._before: CameraSettings | None = None
        self._deliver = deliver
        self._on_end = on_end
        self._nice = nice
        self._open_s = open_s
        self._close_s = close_s
        self._steady_deadlines = steady_deadlines
        self._backoff = Backoff(min_s=pause_min_s, max_s=_PAUSE_MAX_S)
        self._reader = self._new_reader()
        self._left: Reader | None = None
        self._close_due_s = self._retry_at_s = 0.0
        self._delivered = False
        self._attempts = self._recoveries = 0
        self._unreadable_before = 0
        self._trouble: CameraError | None = None

    def open(self) -> None:
        """Begin to open the camera."""
        self._reader.start()

    def close(self) -> None:
        """Stop reading; the camera is closed in its thread, which join() waits for."""
        self._reader.wanted = False

    def join(self, timeout_s: float) -> None:
        """Wait for the camera to be closed, but no longer."""
        self._reader.join(timeout_s)

    def replace(self, settings: CameraSettings) -> None:
        """Close the camera and open another one.

        If that does not deliver a frame, the one before is opened again, and `refused` says why.
        """
        self.refused = None
        self._before = self._before or self.settings
        self.settings = settings
        self._leave()

    @property
    def live(self) -> bool:
        """Whether frames that nobody takes are lost."""
        return self._reader.camera.live

    @property
    def recovering(self) -> bool:
        """Whether the camera failed and has not delivered a frame since."""
        return self._trouble is not None

    @property
    def unreadable(self) -> int:
        """How many frames or files could not be decoded."""
        return self._unreadable_before + self._reader.camera.unreadable

    @property
    def status(self) -> CameraStatus:
        """How the camera is, as far as the thread that reads it knows."""
        reader, trouble, recoveries = self._reader, self._trouble, self._recoveries
        if trouble is not None:
            return CameraStatus(state="recovering", problem=str(trouble), recoveries=recoveries)
        if reader.last_frame_s is None:
            return CameraStatus(state="starting", recoveries=recoveries)
        if broken := reader.camera.unreadable - reader.unreadable_at_last_frame:
            problem = f"{broken} frames in a row could not be decoded"
            return CameraStatus(state="undecodable", problem=problem, recoveries=recoveries)
        return CameraStatus(state="ok", recoveries=recoveries)

    def check(self, *, resumed_s: float = 0.0) -> None:
        """Look after the camera; to be called a few times each second, from one thread.

        No deadline began before `resumed_s`, when the process came back from standing still.
        Raises CameraError if it failed and will not be tried again, and whatever else ended the
        thread.
        """
        now_s = time.monotonic()
        if self._left is not None:
            if now_s >= self._retry_at_s and (self._left.closed or now_s > self._close_due_s):
                self._try_again(self._left)
            return
        reader = self._reader
        failure = reader.failure or self._overdue(reader, now_s, resumed_s)
        if failure is not None:
            self._handle(failure, now_s)
        elif reader.last_frame_s is not None and reader.first_frame_s is not None:
            self._delivered = True
            self._before = self._trouble = None
            steady_s = reader.last_frame_s - reader.first_frame_s
            if steady_s > self._steady_deadlines * self.settings.deadline_s:
                self._attempts = 0
                self._backoff.reset()

    def _overdue(self, reader: Reader, now_s: float, resumed_s: float) -> CameraError | None:
        call = reader.call
        if call is None:
            return None
        what, called_s = call
        since_s = max(called_s, resumed_s)
        limit_s = self.settings.deadline_s + (self._open_s if what == "open" else POLL_S)
        if now_s - since_s <= limit_s:
            return None
        return no_frame(now_s - since_s, self.settings.deadline_s)

    def _handle(self, failure: BaseException, now_s: float) -> None:
        if not isinstance(failure, CameraError):
            raise failure
        # Without the traceback, which would keep a camera and a frame in memory.
        known = CameraError(str(failure))
        self._delivered = self._delivered or self._reader.last_frame_s is not None
        if self._before is not None and self._reader.last_frame_s is None:
            log.warning("%s: back to the camera before", failure)
            self.refused = known
            self.settings, self._before = self._before, None
        elif not (self.live and self._delivered and self.settings.max_recoveries):
            raise failure
        elif self._attempts >= self.settings.max_recoveries:
            raise CameraError(f"{failure} (opened again {self._attempts} times)") from None
        else:
            self._retry_at_s = now_s + self._backoff.next_s()
            self._attempts += 1
            self._trouble = known
            limit = self.settings.max_recoveries
            log.warning("%s: opening the camera again (%d of %d)", failure, self._attempts, limit)
        self._leave()

    def _leave(self) -> None:
        self._left = self._reader
        self._left.wanted = False
        self._left.failure = None
        self._close_due_s = time.monotonic() + self._close_s

    def _try_again(self, left: Reader) -> None:
        self._left = None
        self._unreadable_before += left.camera.unreadable
        self._recoveries += self._trouble is not None
        self._reader = self._new_reader()
        self._reader.start()

    def _new_reader(self) -> Reader:
        camera = self.settings.make()
        return Reader(
            camera,
            deliver=functools.partial(self._deliver, live=camera.live),
            on_end=self._on_end,
            deadline_s=self.settings.deadline_s,
            nice=self._nice,
        )
