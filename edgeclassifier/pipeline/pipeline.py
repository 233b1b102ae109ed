"""Frames through crop, resize and inference, each in a thread of its own."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.results import Result
from edgeclassifier.contract.status import CameraStatus
from edgeclassifier.engine.inference import Inference
from edgeclassifier.errors import CameraError, EdgeclassifierError, InferenceError
from edgeclassifier.host.priority import be_nice
from edgeclassifier.pipeline.capture import CameraSettings, Capture
from edgeclassifier.pipeline.idle import IdleSettings, StillScene
from edgeclassifier.pipeline.intake import Intake
from edgeclassifier.pipeline.mailbox import Closed, Mailbox
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.ondemand import OnDemand
from edgeclassifier.pipeline.runner import Runner
from edgeclassifier.pipeline.work import Done, Work

_JOIN_S = 2.0
_CHECK_S = 1.0
_ASK_S = 0.01


class Pipeline:
    """Joins a camera and a model.

    One thread reads the camera and prepares tensors, another runs the interpreter, and the
    caller's thread takes the results: none of them waits for the work of the others. From a live
    camera the newest frame wins; from files every frame is classified.
    """

    def __init__(
        self,
        *,
        camera: CameraSettings,
        inference_deadline_s: float = 60.0,
        nice: int = 0,
        idle: IdleSettings | None = None,
    ) -> None:
        """Take a closed camera, and how it is watched.

        An interpreter that takes longer than `inference_deadline_s` hangs. `nice` is the niceness
        of all but the interpreter: of the thread that captures, and of the one that calls
        results(). With `idle`, the last answer is repeated while nothing changes. Raises what
        making the camera raises.
        """
        self._inference_deadline_s = inference_deadline_s
        self._nice = nice
        self._models: ModelSlot | None = None
        self._work: Mailbox[Work] = Mailbox()
        self._answers: Mailbox[Done] = Mailbox()
        self._kept: deque[Done] = deque()
        """Answers that came while nobody may have them yet."""
        self._demand = OnDemand()
        self._closed = False
        self._checked_s = 0.0
        self._reader: int | None = None
        self._runner = Runner(work=self._work, answers=self._answers, demand=self._demand)
        self._intake = Intake(work=self._work, demand=self._demand, is_live=lambda: self.live)
        self._capture = Capture(
            camera, deliver=self._intake.deliver, on_end=self._work.close, nice=nice
        )
        self.configure_idle(idle)

    def open(self) -> None:
        """Begin to open the camera. It goes on while the model is loaded."""
        self._capture.open()

    def attach(self, inference: Inference) -> None:
        """Say what the frames go through."""
        self._models = ModelSlot(inference)
        self._runner.models = self._models
        self._intake.attach(self._models)

    def swap(self, inference: Inference) -> None:
        """Let the next frame go through another model.

        If that fails on one of its first frames, the model before takes over again, with this
        frame, and `model_refused` says why.
        """
        self._slot.swap(inference)

    def replace_camera(self, camera: CameraSettings) -> None:
        """Close the camera and take another one.

        If that delivers nothing, the one before takes over again, and `camera_refused` says why.
        """
        self._intake.camera_changed()
        self._capture.replace(camera)

    def configure_idle(self, settings: IdleSettings | None) -> None:
        """Repeat answers by these settings from the next frame on; None: classify every frame."""
        self._intake.scene = None if settings is None else StillScene(settings)

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
        self._work.close()
        self._answers.close()
        self._demand.close()
        self._intake.close()
        deadline_s = time.monotonic() + _JOIN_S
        self._capture.join(_JOIN_S)
        if self._runner.thread.is_alive():
            self._runner.thread.join(max(0.0, deadline_s - time.monotonic()))
        if self._models is not None:
            self._models.close()

    @property
    def paused(self) -> bool:
        """Whether frames are kept back, between pause() and resume()."""
        return self._intake.paused

    @property
    def superseded(self) -> int:
        """How many frames gave way to a newer one before they were classified."""
        return self._intake.outdated + self._work.replaced

    @property
    def unreadable(self) -> int:
        """How many frames or files could not be decoded."""
        return self._capture.unreadable

    @property
    def live(self) -> bool:
        """Whether the camera's frames are lost when nobody takes them."""
        return self._capture.live

    @property
    def recovering(self) -> bool:
        """Whether the camera is being opened again."""
        return self._capture.recovering

    @property
    def camera_health(self) -> CameraStatus:
        """How the camera is."""
        health, view = self._capture.health, self._intake.view.view
        if health.view != view:
            health = replace(health, view=view)
        same_s = self._intake.freeze.same_s
        if health.state != "ok" or not 0 < self._capture.settings.frozen_after_s <= same_s:
            return health
        problem = f"the picture has not changed by one bit for {same_s:.0f} s"
        return replace(health, state="frozen", problem=problem)

    @property
    def inference(self) -> Inference:
        """What the newest frames go through, once attach() was called."""
        return self._slot.current

    @property
    def camera_refused(self) -> CameraError | None:
        """Why the camera that came last is not used; None where it is."""
        return self._capture.refused

    @property
    def model_refused(self) -> InferenceError | None:
        """Why the model that came last is not used; None where it is."""
        return self._slot.refused

    def results(self, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[Result]:
        """Classify the frames of the open camera until it ends, or until `stopped()`; then close.

        `stopped` is asked at least every POLL_S seconds. Raises CameraError where the camera
        cannot be opened, or fails for good, and InferenceError where the interpreter fails or
        hangs.
        """
        self._reader = threading.get_ident()
        self._runner.thread.start()
        be_nice(self._nice)
        try:
            while not stopped():
                if self._kept and not self.paused:
                    yield self._kept.popleft().result()
                    continue
                try:
                    done = self._answers.take(POLL_S)
                except Closed:
                    if not self._kept:
                        break
                    time.sleep(_ASK_S)
                    continue
                self._check(idle=done is None)
                if done is None:
                    continue
                if self._kept or self._intake.paused:
                    self._keep(done)
                else:
                    yield done.result()
        except EdgeclassifierError:
            if not stopped():
                raise
        finally:
            self.close()
        if self._runner.failure is not None and not stopped():
            raise self._runner.failure

    def classify(self, pixels: Pixels | None, *, timeout_s: float) -> Result:
        """Classify one picture between two frames; results() does not give it out.

        `pixels` is H x W x 3, RGB. None: the next frame of the camera, also while paused, and
        never with a repeated answer. May be called from any thread. Raises CameraError where no
        frame came within `timeout_s`, and InferenceError where there is no answer to it.
        """
        deadline_s = time.monotonic() + timeout_s
        self._intake.attached.wait(timeout_s)
        if self._models is None:
            raise InferenceError("there is no model yet that could classify a picture")
        reads_results = threading.get_ident() == self._reader
        return self._demand.classify(
            pixels,
            self._models.current,
            timeout_s=deadline_s - time.monotonic(),
            problem=lambda: self.camera_health.problem,
            meanwhile=self._make_room if reads_results else lambda: timeout_s,
        )

    def _make_room(self) -> float:
        """Take what the interpreter would wait with: nobody else does in this thread."""
        with contextlib.suppress(Closed):
            done = self._answers.take(0.0)
            if done is not None:
                self._keep(done)
        return _ASK_S

    def _keep(self, done: Done) -> None:
        """Give it out later, unless it is of a live camera that is paused."""
        if not (self.paused and self.live):
            self._kept.append(done)

    def _check(self, *, idle: bool) -> None:
        now_s = time.monotonic()
        if not idle and now_s - self._checked_s < _CHECK_S:
            return
        self._checked_s = now_s
        if not self._work.closed:
            self._capture.check()
        since_s = self._runner.busy_since_s
        if since_s is not None and now_s - since_s > self._inference_deadline_s:
            raise InferenceError(
                f"the interpreter has not answered for {now_s - since_s:.0f} s, more than "
                f"model.deadline_s ({self._inference_deadline_s:g})"
            )

    @property
    def _slot(self) -> ModelSlot:
        assert self._models is not None  # noqa: S101 - attach() comes before frames do
        return self._models
