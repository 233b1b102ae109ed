"""Between the camera and the interpreter: which frames go through, and in what form."""

import threading
import time
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.engine.inference import Inference
from edgeclassifier.pipeline.idle import Look, StillScene
from edgeclassifier.pipeline.mailbox import Mailbox
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.ondemand import OnDemand
from edgeclassifier.pipeline.sight import FreezeDetector, ViewWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A frame that the interpreter can take."""

    frame: Frame
    inference: Inference
    crop: Pixels
    tensor: NDArray[Any]
    received_s: float
    ready_s: float
    look: Look | None
    """What later frames are compared with, if an answer may be repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """A frame on which nothing is different from one that was, or is being, classified."""

    frame: Frame
    received_s: float
    ready_s: float
    look: Look
    like: Look
    """Of the frame it was compared with."""


Work = Prepared | Unchanged


def prepare(
    frame: Frame, inference: Inference, *, received_s: float, look: Look | None = None
) -> Prepared:
    """Crop, resize and quantize a frame."""
    crop, tensor = inference.prepare(frame.pixels)
    return Prepared(
        frame=frame,
        inference=inference,
        crop=crop,
        tensor=tensor,
        received_s=received_s,
        ready_s=time.monotonic(),
        look=look,
    )


class Intake:
    """Takes frames in the thread that read them, and leaves work for the interpreter.

    Until there is a model, and while it is paused, frames of a live camera are dropped and those
    from files wait.
    """

    def __init__(
        self, *, work: Mailbox[Work], demand: OnDemand[Prepared], models: ModelSlot
    ) -> None:
        """Leave work in `work`, and in `demand` if a question waits for a frame."""
        self.scene: StillScene | None = None
        """Compares frames, if answers may be repeated."""
        self.freeze = FreezeDetector()
        self.view = ViewWatch()
        self.paused = False
        self.outdated = 0
        """How many frames came before there was a model."""
        self.period_s = 0.0
        """From one frame of a live camera to the next."""
        self._newest_s = 0.0
        self._work = work
        self._demand = demand
        self._models = models
        self._resumed = threading.Event()
        self._cameras = 0

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

    def deliver(self, frame: Frame, *, live: bool) -> bool:
        """Take the next frame; False if no more are wanted.

        The frames of a `live` camera are lost if they are not taken, those of others wait.
        """
        received_s = time.monotonic()
        if self._models.empty:
            self._models.decided.wait()
            if self._models.empty:
                return False
            if live:
                self.outdated += 1  # the frame is as old as the wait was long
                return not self._work.closed
            received_s = time.monotonic()
        if live:
            self.period_s, self._newest_s = received_s - self._newest_s, received_s
            if received_s >= self.view.due_s:
                self.view.update(frame.pixels, now_s=received_s)
        if self._demand.wanted:
            self._offer(frame)
        if self.paused:
            if live or not self._wait(frame):
                return not self._work.closed
            received_s = time.monotonic()
        work: Work
        scene = self.scene
        if scene is None:
            work = prepared = prepare(frame, self._models.current, received_s=received_s)
            picture = prepared.crop
        else:
            picture = scene.window(frame.pixels)
            work = self._compare(frame, picture, scene, received_s=received_s)
        if not live:
            return self._work.put_next(work)
        self.freeze.update(picture)
        self._work.put(work)
        return not self._work.closed

    def _offer(self, frame: Frame) -> None:
        self._demand.offer(prepare(frame, self._models.current, received_s=time.monotonic()))

    def _wait(self, frame: Frame) -> bool:
        """Wait for resume(); False if the frame is not wanted after it."""
        cameras = self._cameras
        while self.paused and cameras == self._cameras:
            self._resumed.wait(POLL_S)
            if self._demand.wanted:
                self._offer(frame)
        return cameras == self._cameras

    def _compare(
        self, frame: Frame, window: Pixels, scene: StillScene, *, received_s: float
    ) -> Work:
        look = scene.look(window)
        like = scene.unchanged(look)
        if like is None:
            return prepare(frame, self._models.current, received_s=received_s, look=look)
        return Unchanged(
            frame=frame, received_s=received_s, ready_s=time.monotonic(), look=look, like=like
        )
