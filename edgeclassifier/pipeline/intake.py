"""Between the camera and the interpreter: which frames go through, and in what form."""

import threading
import time
from collections.abc import Callable

from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.engine.inference import Inference
from edgeclassifier.pipeline.freeze import FreezeDetector
from edgeclassifier.pipeline.idle import StillScene
from edgeclassifier.pipeline.mailbox import Mailbox
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.ondemand import OnDemand
from edgeclassifier.pipeline.view import ViewWatch
from edgeclassifier.pipeline.work import Unchanged, Work, prepare


class Intake:
    """Takes frames in the thread that read them, and leaves work for the interpreter.

    Until there is a model, and while it is paused, frames of a live camera are dropped and those
    from files wait.
    """

    def __init__(
        self, *, work: Mailbox[Work], demand: OnDemand, is_live: Callable[[], bool]
    ) -> None:
        """Leave work in `work`; `is_live` says whether the camera's frames are lost otherwise."""
        self.scene: StillScene | None = None
        """Compares frames, where answers may be repeated."""
        self.freeze = FreezeDetector()
        self.view = ViewWatch()
        self.attached = threading.Event()
        """Whether there is a model, or will never be one."""
        self.paused = False
        self.outdated = 0
        """How many frames came before there was a model."""
        self._work = work
        self._demand = demand
        self._is_live = is_live
        self._models: ModelSlot | None = None
        self._resumed = threading.Event()
        self._cameras = 0

    def attach(self, models: ModelSlot) -> None:
        """Say what the frames go through."""
        self._models = models
        self.attached.set()

    def pause(self) -> None:
        """Let no frame through until resume()."""
        self._resumed.clear()
        self.paused = True

    def resume(self) -> None:
        """Let frames through again."""
        self.paused = False
        self._resumed.set()

    def camera_changed(self) -> None:
        """Forget the frame of a camera that waits for resume()."""
        self._cameras += 1

    def close(self) -> None:
        """Keep nobody waiting."""
        self.attached.set()
        self.resume()

    def deliver(self, frame: Frame) -> bool:
        """Take the next frame; False where no more are wanted."""
        received_s = time.monotonic()
        live = self._is_live()
        if not self.attached.is_set():
            self.attached.wait()
            if live:
                self.outdated += 1  # the frame is as old as the wait was long
                return not self._work.closed
            received_s = time.monotonic()
        models = self._models
        if models is None:
            return False
        if live and received_s >= self.view.due_s:
            self.view.update(frame.pixels, now_s=received_s)
        if self._demand.wanted:
            self._demand.offer(frame, models.current)
        if self.paused:
            if live or not self._wait(frame, models):
                return not self._work.closed
            received_s = time.monotonic()
        work: Work
        scene = self.scene
        if scene is None:
            work = prepared = prepare(frame, models.current, received_s=received_s)
            picture = prepared.crop
        else:
            picture = scene.window(frame.pixels)
            work = _compare(frame, picture, models.current, scene, received_s=received_s)
        if not live:
            return self._work.put_next(work)
        self.freeze.update(picture)
        self._work.put(work)
        return not self._work.closed

    def _wait(self, frame: Frame, models: ModelSlot) -> bool:
        """Wait for resume(); False where the frame is not wanted after it."""
        cameras = self._cameras
        while self.paused and cameras == self._cameras:
            self._resumed.wait(POLL_S)
            if self._demand.wanted:
                self._demand.offer(frame, models.current)
        return cameras == self._cameras


def _compare(
    frame: Frame, window: Pixels, inference: Inference, scene: StillScene, *, received_s: float
) -> Work:
    look = scene.look(window)
    like = scene.unchanged(look)
    if like is None:
        return prepare(frame, inference, received_s=received_s, look=look)
    return Unchanged(
        frame=frame, received_s=received_s, ready_s=time.monotonic(), look=look, like=like
    )
