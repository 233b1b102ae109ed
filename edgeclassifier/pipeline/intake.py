"""Between the camera and the interpreter: which frames go through, and in what form."""

import threading
import time
from dataclasses import dataclass, replace
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
class Taken:
    """A frame that the interpreter may ask for."""

    frame: Frame
    received_s: float
    compared_s: float = 0.0
    """How long it took to compare it with an earlier one."""
    look: Look | None = None
    """What later frames are compared with, if an answer may be repeated."""
    like: Look | None = None
    """Of an earlier frame on which nothing is different."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A frame that the interpreter can take."""

    taken: Taken
    inference: Inference
    crop: Pixels
    tensor: NDArray[Any]
    preprocess_s: float

    @property
    def frame(self) -> Frame:
        """The frame that was prepared."""
        return self.taken.frame


Work = Taken | Prepared


def prepare(taken: Taken, inference: Inference) -> Prepared:
    """Crop, resize and quantize a frame."""
    started_s = time.monotonic()
    crop, tensor = inference.prepare(taken.frame.pixels)
    return Prepared(
        taken=taken,
        inference=inference,
        crop=crop,
        tensor=tensor,
        preprocess_s=taken.compared_s + time.monotonic() - started_s,
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

        The frames of a `live` camera are lost if they are not taken, so they are prepared as late
        as possible: when the interpreter is free. Those of others wait, prepared.
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
            self.freeze.update(frame.pixels)
            if received_s >= self.view.due_s:
                self.view.update(frame.pixels, now_s=received_s)
        if self._demand.wanted:
            self._offer(frame)
        if self.paused:
            if live or not self._wait(frame):
                return not self._work.closed
            received_s = time.monotonic()
        taken = Taken(frame=frame, received_s=received_s)
        if self.scene is not None:
            taken = _compared(taken, self.scene)
        if live:
            self._work.put(taken)
            return not self._work.closed
        if taken.like is not None:
            return self._work.put_next(taken)
        return self._work.put_next(prepare(taken, self._models.current))

    def _offer(self, frame: Frame) -> None:
        taken = Taken(frame=frame, received_s=time.monotonic())
        self._demand.offer(prepare(taken, self._models.current))

    def _wait(self, frame: Frame) -> bool:
        """Wait for resume(); False if the frame is not wanted after it."""
        cameras = self._cameras
        while self.paused and cameras == self._cameras:
            self._resumed.wait(POLL_S)
            if self._demand.wanted:
                self._offer(frame)
        return cameras == self._cameras


def _compared(taken: Taken, scene: StillScene) -> Taken:
    started_s = time.monotonic()
    look = scene.look(scene.window(taken.frame.pixels))
    like = scene.unchanged(look)
    return replace(taken, look=look, like=like, compared_s=time.monotonic() - started_s)
