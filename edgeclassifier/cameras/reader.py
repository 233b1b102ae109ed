"""One camera in one thread, from open() to close()."""

import threading
import time
from collections.abc import Callable

from edgeclassifier.cameras.camera import Camera
from edgeclassifier.contract.frame import Frame
from edgeclassifier.errors import CameraError, CameraTimeout, EdgeclassifierError
from edgeclassifier.host import threads
from edgeclassifier.host.priority import be_nice

POLL_S = 0.2
"""How long a read waits before it checks whether it is still wanted."""
_LONGEST_POLL_S = 1.0
"""What one read counts as silence at most: if it took longer, the process itself stood still."""


class Reader:
    """Reads one camera until it ends, fails, or is not wanted any more.

    Its attributes are written by its thread and may be read from any other, which can thus see
    that a driver hangs. Set `wanted` to False to end it.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        deliver: Callable[[Frame], bool],
        on_end: Callable[[], None],
        deadline_s: float,
        nice: int,
    ) -> None:
        """Hand frames to `deliver`, which returns whether to go on; `on_end` follows the last."""
        self.camera = camera
        self._deliver = deliver
        self._on_end = on_end
        self._deadline_s = deadline_s
        self._nice = nice
        self.wanted = True
        self.closed = False
        self.failure: BaseException | None = None
        self.call: tuple[str, float] | None = None
        """What the camera was asked to do, and when, until it returns."""
        self.first_frame_s: float | None = None
        self.last_frame_s: float | None = None
        self.unreadable_at_last_frame = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to open the camera."""
        self._thread = threads.start(self._run, name="capture", on_death=self._note_death)

    def join(self, timeout_s: float) -> None:
        """Wait for the camera to be closed, but no longer."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self.call = ("open", time.monotonic())
            self.camera.open()
            self.call = None
            be_nice(self._nice)
            self._read()
        except BaseException as error:
            # Before close() is called, which may hang.
            self.failure = error
            if not isinstance(error, EdgeclassifierError):
                raise
        finally:
            self.call = None
            self.camera.close()
            self.closed = True

    def _note_death(self, error: BaseException) -> None:
        self.failure = self.failure or error

    def _read(self) -> None:
        silent_s = 0.0
        while self.wanted:
            called_s = time.monotonic()
            self.call = ("read", called_s)
            try:
                frame = self.camera.read(POLL_S)
            except CameraTimeout:
                silent_s += min(time.monotonic() - called_s, _LONGEST_POLL_S)
                if silent_s > self._deadline_s:
                    broken = self.camera.unreadable - self.unreadable_at_last_frame
                    raise no_frame(silent_s, self._deadline_s, broken=broken) from None
                continue
            finally:
                self.call = None
            if frame is None:
                self._on_end()
                return
            if not self.wanted:
                return
            self.last_frame_s = time.monotonic()
            self.first_frame_s = self.first_frame_s or self.last_frame_s
            self.unreadable_at_last_frame = self.camera.unreadable
            if not self._deliver(frame):
                return
            # A wait in deliver() is not the camera's delay.
            silent_s = 0.0


def no_frame(silent_s: float, deadline_s: float, *, broken: int = 0) -> CameraError:
    """Return the error of a camera that missed its deadline, with `broken` frames meanwhile."""
    what = "no whole frame" if broken else "no frame"
    advice = (
        f"{broken} came damaged or were refused"
        if broken
        else "check the camera and its connection"
    )
    return CameraError(
        f"{what} for {silent_s:.1f} s, more than camera.deadline_s ({deadline_s:g}): {advice}"
    )
