"""Keeps frames coming: opens the camera again when it fails or hangs, or another one on request."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgeclassifier.cameras import Camera
from edgeclassifier.cameras.reader import POLL_S, Reader, no_frame
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.status import CameraStatus
from edgeclassifier.errors import CameraError

_OPEN_S = 30.0
"""What open() may take beyond the deadline: cameras bound it themselves."""
_CLOSE_S = 6.0
"""After this a camera that does not close is left behind."""
_PAUSE_MIN_S, _PAUSE_MAX_S = 1.0, 30.0
_STEADY_DEADLINES = 3
"""A camera that delivered frames for this many deadlines has recovered for good."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
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
        deliver: Callable[[Frame], bool],
        on_end: Callable[[], None],
        nice: int = 0,
    ) -> None:
        """Hand frames to `deliver`, in the thread that read them; it returns whether to go on.

        `on_end` is called behind the last frame of a source that has an end, `nice` is the
        niceness of the threads. Raises what making the camera raises.
        """
        self.settings = settings
        self.refused: CameraError | None = None
        """Why the camera that replace() brought is not used; None where it is."""
        self._before: CameraSettings | None = None
        self._deliver = deliver
        self._on_end = on_end
        self._nice = nice
        self._reader = self._new_reader()
        self._left: Reader | None = None
        self._close_due_s = self._retry_at_s = 0.0
        self._delivered = False
        self._attempts = self._recoveries = 0
        self._unreadable_before = 0
        self._trouble: CameraError | None = None

    def open(self) -> None:
        """Begin to open the camera."""
        self._reader.thread.start()

    def close(self) -> None:
        """Stop reading; the camera is closed in its thread, which join() waits for."""
        self._reader.wanted = False

    def join(self, timeout_s: float) -> None:
        """Wait for the camera to be closed, but no longer."""
        if self._reader.thread.is_alive():
            self._reader.thread.join(timeout_s)

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
    def health(self) -> CameraStatus:
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

    def check(self) -> None:
        """Look after the camera; to be called a few times each second, from one thread.

        Raises CameraError where it failed and will not be tried again, and whatever else ended
        the thread.
        """
        now_s = time.monotonic()
        if self._left is not None:
            if now_s >= self._retry_at_s and (self._left.closed or now_s > self._close_due_s):
                self._try_again(self._left)
            return
        reader = self._reader
        failure = reader.failure or self._overdue(reader, now_s)
        if failure is not None:
            self._handle(failure, now_s)
        elif reader.last_frame_s is not None and reader.first_frame_s is not None:
            self._delivered = True
            self._before = self._trouble = None
            steady_s = reader.last_frame_s - reader.first_frame_s
            if steady_s > _STEADY_DEADLINES * self.settings.deadline_s:
                self._attempts = 0

    def _overdue(self, reader: Reader, now_s: float) -> CameraError | None:
        call = reader.call
        if call is None:
            return None
        what, since_s = call
        limit_s = self.settings.deadline_s + (_OPEN_S if what == "open" else POLL_S)
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
            self._retry_at_s = now_s + min(_PAUSE_MIN_S * 2**self._attempts, _PAUSE_MAX_S)
            self._attempts += 1
            self._trouble = known
            limit = self.settings.max_recoveries
            log.warning("%s: opening the camera again (%d of %d)", failure, self._attempts, limit)
        self._leave()

    def _leave(self) -> None:
        self._left = self._reader
        self._left.wanted = False
        self._left.failure = None
        self._close_due_s = time.monotonic() + _CLOSE_S

    def _try_again(self, left: Reader) -> None:
        self._left = None
        self._unreadable_before += left.camera.unreadable
        self._recoveries += self._trouble is not None
        self._reader = self._new_reader()
        self._reader.thread.start()

    def _new_reader(self) -> Reader:
        return Reader(
            self.settings.make(),
            deliver=self._deliver,
            on_end=self._on_end,
            deadline_s=self.settings.deadline_s,
            nice=self._nice,
        )
