"""Frames through crop, resize and inference, each in a thread of its own."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from edgeclassifier.cameras import FrameFactory
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.results import Result
from edgeclassifier.contract.status import CameraStatus, PipelineStatus
from edgeclassifier.engine.inference import Inference
from edgeclassifier.errors import CameraError, InferenceError
from edgeclassifier.host.suspension import Suspension
from edgeclassifier.pipeline.capture import CameraSettings, Capture
from edgeclassifier.pipeline.intake import Intake, Lane, Prepared, Taken, Work, prepare
from edgeclassifier.pipeline.mailbox import Closed, Turns
from edgeclassifier.pipeline.ondemand import OnDemand
from edgeclassifier.pipeline.runner import Done, Runner

_CHECK_S = 1.0
_ASK_S = 0.01
_ON_REQUEST = "request"
"""Camera and origin of pictures that come from no camera."""
_RGB = 3


class EndOfFrames(Exception):  # noqa: N818 - an event, not an error
    """The camera has come to its end, and every frame was given out."""


class Pipeline:
    """Joins a camera and the lanes of its views, each with a model.

    One thread reads the camera, another runs the interpreter, and the caller's thread takes the
    results: none of them waits for the work of the others. From a live camera the newest frame
    wins, and is prepared when the interpreter is free; from files every frame is classified, and
    is prepared beforehand. Lanes take turns at the interpreter.
    """

    def __init__(
        self,
        *,
        camera: CameraSettings,
        lanes: Sequence[Lane],
        inference_deadline_s: float = 60.0,
        nice: int = 0,
        join_s: float = 2.0,
    ) -> None:
        """Take a closed camera, how it is watched, and the lanes, with slots for their models.

        An interpreter that takes longer than `inference_deadline_s` hangs. `nice` is the niceness
        of the thread that captures. close() waits up to `join_s` for the threads. Raises what
        making the camera raises.
        """
        self._inference_deadline_s = inference_deadline_s
        self._join_s = join_s
        self._turns: Turns[Work] = Turns()
        self._answers: Turns[Done] = Turns()
        self._kept: deque[Done] = deque()
        """Answers that came while none may be given out yet."""
        self._demand: OnDemand[Prepared] = OnDemand()
        self._pictures = FrameFactory(camera_id=_ON_REQUEST)
        self._closed = False
        self._checked_s = 0.0
        self._suspension = Suspension()
        self._caller: int | None = None
        self._runner = Runner(
            turns=self._turns,
            answers=self._answers.mailbox(),
            demand=self._demand,
            on_end=self._answers.close,
            spare=self._spare,
        )
        self._intake = Intake(lanes=lanes, turns=self._turns, demand=self._demand)
        self._capture = Capture(
            camera, deliver=self._intake.deliver, on_end=self._turns.close, nice=nice
        )

    def open(self) -> None:
        """Begin to open the camera, and to answer once there is a model."""
        self._capture.open()
        self._runner.start()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that frames go through; at least one."""
        return self._intake.lanes

    def follow(self, lanes: Sequence[Lane]) -> None:
        """Let the next frame go through these lanes, some of which may have been there before."""
        self._intake.follow(lanes)

    def replace_camera(self, camera: CameraSettings) -> None:
        """Close the camera and take another one.

        If that delivers nothing, the one before takes over again, and `camera_refused` says why.
        """
        self._intake.camera_changed()
        self._capture.replace(camera)

    def pause(self) -> None:
        """Let no frame through, and give out no result, until resume().

        The camera stays open and is watched as ever. The frames of a live one are dropped, those
        from files wait.
        """
        self._intake.pause()

    def resume(self) -> None:
        """Go on after pause()."""
        self._intake.resume()

    def close(self) -> None:
        """Stop all threads. Neither a hanging driver nor a hanging interpreter is waited for."""
        if self._closed:
            return
        self._closed = True
        self._capture.close()
        self._turns.close()
        self._answers.close()
        self._demand.close()
        models = {lane.models: None for lane in self.lanes}
        for each in models:
            each.decided.set()
        self._intake.resume()
        deadline_s = time.monotonic() + self._join_s
        self._capture.join(self._join_s)
        self._runner.join(max(0.0, deadline_s - time.monotonic()))
        for each in models:
            each.close()

    @property
    def paused(self) -> bool:
        """Whether frames are kept back, between pause() and resume()."""
        return self._intake.paused

    @property
    def status(self) -> PipelineStatus:
        """Where frames go, once there is a model, and how many did not get there."""
        accelerator = self.inference.accelerator
        return PipelineStatus(
            camera=self.camera,
            backend=self.inference.backend,
            accelerator=None if accelerator is None else accelerator.status,
            paused=self.paused,
            superseded_frames=self._intake.superseded,
            unreadable_frames=self._capture.unreadable,
        )

    @property
    def live(self) -> bool:
        """Whether the camera's frames are lost when none of them is taken."""
        return self._capture.live

    @property
    def recovering(self) -> bool:
        """Whether the camera is being opened again."""
        return self._capture.recovering

    @property
    def camera(self) -> CameraStatus:
        """How the camera is."""
        camera, view = self._capture.status, self._intake.view.view
        if camera.view != view:
            camera = replace(camera, view=view)
        same_s = self._intake.freeze.same_s
        if camera.state != "ok" or not 0 < self._capture.settings.frozen_after_s <= same_s:
            return camera
        problem = f"the picture has not changed by one bit for {same_s:.0f} s"
        return replace(camera, state="frozen", problem=problem)

    @property
    def inference(self) -> Inference:
        """What the newest frames of the first view with a model go through."""
        return next(lane.models.current for lane in self.lanes if not lane.models.empty)

    @property
    def camera_refused(self) -> CameraError | None:
        """Why the camera that came last is not used; None if it is."""
        return self._capture.refused

    def next(self, timeout_s: float) -> Result | None:
        """Return the next result, None if there is none within `timeout_s`; for one thread.

        Also looks after the camera, so call it a few times each second. Raises EndOfFrames behind
        the last result; CameraError if the camera cannot be opened, or fails for good; and
        InferenceError if the interpreter fails or hangs.
        """
        self._caller = threading.get_ident()
        if self._kept and not self._intake.paused:
            return self._kept.popleft().result()
        try:
            done = self._answers.take(timeout_s)
        except Closed:
            if self._runner.failure is not None:
                raise self._runner.failure from None
            if not self._kept:
                raise EndOfFrames from None
            time.sleep(_ASK_S)
            return None
        now_s = time.monotonic()
        if done is None or now_s - self._checked_s >= _CHECK_S:
            self._check(now_s)
        if done is None:
            return None
        if self._kept or self._intake.paused:
            self._keep(done)
            return None
        return done.result()

    def classify(
        self, pixels: Pixels | None, *, timeout_s: float, lane: Lane | None = None
    ) -> Result:
        """Classify one picture between two frames; next() does not give it out.

        `pixels` is H x W x 3, RGB. None: the next frame of the camera, also while paused, and
        never with a repeated answer. It goes the way of `lane`, or of the first one. May be called
        from any thread. Raises CameraError if no frame came within `timeout_s`, and InferenceError
        if there is no answer to it.
        """
        deadline_s = time.monotonic() + timeout_s
        asked = lane or self.lanes[0]
        asked.models.decided.wait(timeout_s)
        if asked.models.empty:
            raise InferenceError(
                asked.models.problem or "there is no model yet that could classify a picture"
            )
        takes_results = threading.get_ident() == self._caller

        def prepared(frame: Frame) -> Prepared:
            taken = Taken(lane=asked, frame=frame, received_s=time.monotonic())
            return prepare(taken, asked.models.current)

        return self._demand.classify(
            None if pixels is None else prepared(self._framed(pixels)),
            prepare=prepared,
            timeout_s=deadline_s - time.monotonic(),
            problem=lambda: self.camera.problem,
            meanwhile=self._make_room if takes_results else lambda: timeout_s,
        )

    def _spare(self, failed: Lane) -> bool:
        """Tell whether there are views with another model, which go on if that of one fails."""
        return any(
            lane.models is not failed.models and not lane.models.empty for lane in self.lanes
        )

    def _framed(self, pixels: Pixels) -> Frame:
        if pixels.shape[2:] != (_RGB,) or pixels.dtype != "uint8":
            raise ValueError(f"a picture of {pixels.shape} {pixels.dtype} is not H x W x 3 uint8")
        return self._pictures.frame(pixels, origin=_ON_REQUEST)

    def _make_room(self) -> float:
        """Take what the interpreter would wait with: no other call does in this thread."""
        with contextlib.suppress(Closed):
            done = self._answers.take(0.0)
            if done is not None:
                self._keep(done)
        return _ASK_S

    def _keep(self, done: Done) -> None:
        """Give it out later, unless it is of a live camera that is paused."""
        if not (self.paused and self.live):
            self._kept.append(done)

    def _check(self, now_s: float) -> None:
        self._checked_s = now_s
        resumed_s = self._suspension.resumed_s()
        if not self._turns.closed:
            self._capture.check(resumed_s=resumed_s)
        since_s = self._runner.busy_since_s
        busy_s = 0.0 if since_s is None else now_s - max(since_s, resumed_s)
        if busy_s > self._inference_deadline_s:
            raise InferenceError(
                f"the interpreter has not answered for {busy_s:.0f} s, more than "
                f"model.deadline_s ({self._inference_deadline_s:g})"
            )
