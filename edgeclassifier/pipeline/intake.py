"""Between the camera and the interpreter: which frames go through, and in what form."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.engine.inference import Inference
from edgeclassifier.engine.preprocess import Area
from edgeclassifier.pipeline.idle import IdleSettings, Look, StillScene
from edgeclassifier.pipeline.mailbox import Mailbox, Turns
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.ondemand import OnDemand
from edgeclassifier.pipeline.sight import FreezeDetector, ViewWatch

if TYPE_CHECKING:
    from edgeclassifier.pipeline.runner import Answered


class Lane:
    """One view's way through the pipeline: what it looks at, with which model, and its answer.

    The thread of the camera puts work into `work`, that of the interpreter takes it; whoever
    changes the rest does it between two frames.
    """

    def __init__(
        self,
        *,
        models: ModelSlot,
        view: str = "",
        area: Area | None = None,
        idle: IdleSettings | None = None,
        max_rate_hz: float = 0.0,
    ) -> None:
        """Take the slot of the model, which several lanes may share.

        Without an `area` it is the model's own. With `idle`, the last answer is repeated while
        nothing changes in it. Of a live camera at most `max_rate_hz` frames are taken; 0: every
        one.
        """
        self.view = view
        self.models = models
        self.scene: StillScene | None = None
        """Compares frames, if answers may be repeated."""
        self.last: Answered | None = None
        """What may be repeated."""
        self.work: Mailbox[Work] | None = None
        """None while the lane is in no pipeline."""
        self._due_s = 0.0
        self.configure(area=area, idle=idle, max_rate_hz=max_rate_hz)

    def configure(
        self, *, area: Area | None, idle: IdleSettings | None, max_rate_hz: float = 0.0
    ) -> None:
        """Look at this area from the next frame on, and repeat answers by these settings."""
        self.area = area
        self._interval_s = 1 / max_rate_hz if max_rate_hz else 0.0
        if idle is None:
            self.scene = None
        elif self.scene is None or self.scene.settings != idle:
            self.scene = StillScene(idle)

    def wants(self, at_s: float) -> bool:
        """Tell whether it is time for another frame of a live camera, and count it if it is."""
        if not self._interval_s:
            return True
        # Half an interval early is in time: frames do not come to the millisecond.
        if at_s < self._due_s - self._interval_s / 2:
            return False
        self._due_s = max(at_s, self._due_s) + self._interval_s
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A frame that the interpreter may ask for."""

    lane: Lane
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
    crop, tensor = inference.prepare(taken.frame.pixels, taken.lane.area)
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
        self, *, lanes: Sequence[Lane], turns: Turns[Work], demand: OnDemand[Prepared]
    ) -> None:
        """Leave work in the lanes, and in `demand` if a question waits for a frame."""
        self.lanes: tuple[Lane, ...] = ()
        self.freeze = FreezeDetector()
        self.view = ViewWatch()
        self.paused = False
        self.outdated = 0
        """How many frames came before there was a model."""
        self._turns = turns
        self._demand = demand
        self._decided = False
        self._resumed = threading.Event()
        self._cameras = 0
        self._superseded_before = 0
        """In lanes that are gone."""
        self.follow(lanes)

    @property
    def superseded(self) -> int:
        """How many frames gave way to a newer one, counted for each lane."""
        replaced = sum(lane.work.replaced for lane in self.lanes if lane.work is not None)
        return self.outdated + self._superseded_before + replaced

    def follow(self, lanes: Sequence[Lane]) -> None:
        """Let frames through these lanes from the next one on."""
        before = self.lanes
        for lane in lanes:
            if lane.work is None:
                lane.work = self._turns.mailbox()
        self.lanes = tuple(lanes)
        for lane in before:
            if lane not in lanes and lane.work is not None:
                self._superseded_before += lane.work.replaced
                self._turns.remove(lane.work)

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
        if not self._decided:
            late = any(lane.models.empty for lane in self.lanes)
            if not self._wait_for_models():
                return False
            if live and late:
                self.outdated += 1  # the frame is as old as the wait was long
                return not self._turns.closed
            received_s = time.monotonic()
        if live:
            self.freeze.update(frame.pixels)
            if received_s >= self.view.due_s:
                self.view.update(frame.pixels, now_s=received_s)
        if self._demand.wanted:
            self._demand.offer(frame)
        if self.paused:
            if live or not self._wait(frame):
                return not self._turns.closed
            received_s = time.monotonic()
        for lane in self.lanes:
            if lane.work is not None and not lane.models.empty:
                taken = Taken(lane=lane, frame=frame, received_s=received_s)
                _leave(taken, lane.work, live=live)
        return not self._turns.closed

    def _wait_for_models(self) -> bool:
        """Wait until it is known which there are; False if there is none."""
        for lane in self.lanes:
            lane.models.decided.wait()
        self._decided = not all(lane.models.empty for lane in self.lanes)
        return self._decided

    def _wait(self, frame: Frame) -> bool:
        """Wait for resume(); False if the frame is not wanted after it."""
        cameras = self._cameras
        while self.paused and cameras == self._cameras:
            self._resumed.wait(POLL_S)
            if self._demand.wanted:
                self._demand.offer(frame)
        return cameras == self._cameras


def _leave(taken: Taken, work: Mailbox[Work], *, live: bool) -> None:
    lane = taken.lane
    if live and not lane.wants(taken.frame.monotonic_s):
        return
    if lane.scene is not None:
        taken = _compared(taken, lane.scene)
    if live:
        work.put(taken)
    elif taken.like is not None:
        work.put_next(taken)
    else:
        work.put_next(prepare(taken, lane.models.current))


def _compared(taken: Taken, scene: StillScene) -> Taken:
    started_s = time.monotonic()
    look = scene.look(scene.window(taken.frame.pixels))
    like = scene.unchanged(look)
    return replace(taken, look=look, like=like, compared_s=time.monotonic() - started_s)
