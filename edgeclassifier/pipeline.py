"""Frames through crop, resize and inference, each in a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from edgeclassifier.cameras import Frame
from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.capture import CameraHealth, CameraSettings, Capture
from edgeclassifier.errors import CameraError, EdgeclassifierError, InferenceError
from edgeclassifier.freeze import FreezeDetector
from edgeclassifier.inference import Answer, Inference
from edgeclassifier.mailbox import Closed, Mailbox
from edgeclassifier.modelslot import ModelSlot
from edgeclassifier.preprocess import Pixels
from edgeclassifier.priority import be_nice
from edgeclassifier.results import Latency, Result

_JOIN_S = 2.0
_CHECK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    frame: Frame
    inference: Inference
    crop: Pixels
    tensor: NDArray[Any]
    received_s: float
    ready_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    prepared: _Prepared
    answer: Answer
    started_s: float
    done_s: float


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
    ) -> None:
        """Take a closed camera, and how it is watched.

        An interpreter that takes longer than `inference_deadline_s` hangs. `nice` is the niceness
        of all but the interpreter: of the thread that captures, and of the one that calls
        results(). Raises what making the camera raises.
        """
        self._inference_deadline_s = inference_deadline_s
        self._nice = nice
        self._models: ModelSlot | None = None
        self._attached = threading.Event()
        self._prepared: Mailbox[_Prepared] = Mailbox()
        self._answers: Mailbox[_Answered] = Mailbox()
        self._freeze = FreezeDetector()
        self._inferring_since_s: float | None = None
        self._failure: BaseException | None = None
        self._closed = False
        self._outdated = 0
        self._checked_s = 0.0
        self._capture = Capture(
            camera, deliver=self._deliver, on_end=self._prepared.close, nice=nice
        )
        self._inferring = threading.Thread(target=self._infer, name="inference", daemon=True)

    def open(self) -> None:
        """Begin to open the camera. It goes on while the model is loaded."""
        self._capture.open()

    def attach(self, inference: Inference) -> None:
        """Say what the frames go through."""
        self._models = ModelSlot(inference)
        self._attached.set()

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
        self._capture.replace(camera)

    def close(self) -> None:
        """Stop all threads. Neither a hanging driver nor a hanging interpreter is waited for."""
        if self._closed:
            return
        self._closed = True
        self._capture.close()
        self._prepared.close()
        self._answers.close()
        self._attached.set()
        deadline_s = time.monotonic() + _JOIN_S
        self._capture.join(_JOIN_S)
        if self._inferring.is_alive():
            self._inferring.join(max(0.0, deadline_s - time.monotonic()))
        if self._models is not None:
            self._models.close()

    @property
    def superseded(self) -> int:
        """How many frames gave way to a newer one before they were classified."""
        return self._outdated + self._prepared.replaced

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
    def camera_health(self) -> CameraHealth:
        """How the camera is."""
        health = self._capture.health
        same_s = self._freeze.same_s
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
        self._inferring.start()
        be_nice(self._nice)
        try:
            while not stopped():
                try:
                    answered = self._answers.take(POLL_S)
                except Closed:
                    break
                self._check(idle=answered is None)
                if answered is not None:
                    yield self._result(answered)
        except EdgeclassifierError:
            if not stopped():
                raise
        finally:
            self.close()
        if self._failure is not None and not stopped():
            raise self._failure

    def _check(self, *, idle: bool) -> None:
        now_s = time.monotonic()
        if not idle and now_s - self._checked_s < _CHECK_S:
            return
        self._checked_s = now_s
        if not self._prepared.closed:
            self._capture.check()
        since_s = self._inferring_since_s
        if since_s is not None and now_s - since_s > self._inference_deadline_s:
            raise InferenceError(
                f"the interpreter has not answered for {now_s - since_s:.0f} s, more than "
                f"model.deadline_s ({self._inference_deadline_s:g})"
            )

    @property
    def _slot(self) -> ModelSlot:
        assert self._models is not None  # noqa: S101 - attach() comes before frames do
        return self._models

    def _infer(self) -> None:
        try:
            while True:
                prepared = self._prepared.take(POLL_S)
                if prepared is not None and not self._answers.put_next(self._run(prepared)):
                    return
        except Closed:
            self._answers.close()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._failure = error
            self._prepared.close()
            self._answers.close()

    def _run(self, prepared: _Prepared) -> _Answered:
        # Nothing but the interpreter: its cores are idle while anything else happens here.
        self._inferring_since_s = started_s = time.monotonic()
        try:
            answer = prepared.inference.run(prepared.tensor)
        except InferenceError as error:
            other = self._slot.failed(prepared.inference, error)
            prepared = self._prepare(prepared.frame, other, received_s=prepared.received_s)
            answer = other.run(prepared.tensor)
        done_s = time.monotonic()
        self._inferring_since_s = None
        self._slot.answered(prepared.inference)
        return _Answered(prepared=prepared, answer=answer, started_s=started_s, done_s=done_s)

    def _result(self, answered: _Answered) -> Result:
        prepared, inference = answered.prepared, answered.prepared.inference
        predictions = inference.predictions(answered.answer)
        captured_s = prepared.frame.monotonic_s
        return Result(
            frame=prepared.frame,
            crop=prepared.crop,
            predictions=predictions,
            latency=Latency(
                capture_s=prepared.received_s - captured_s,
                preprocess_s=prepared.ready_s - prepared.received_s,
                inference_s=answered.done_s - answered.started_s,
                total_s=time.monotonic() - captured_s,
            ),
            model=inference.model(answered.answer.backend),
            backend=answered.answer.backend,
        )

    def _deliver(self, frame: Frame) -> bool:
        received_s = time.monotonic()
        live = self._capture.live
        if not self._attached.is_set():
            self._attached.wait()
            if live:
                self._outdated += 1  # the frame is as old as the wait was long
                return not self._prepared.closed
            received_s = time.monotonic()
        if self._models is None:
            return False
        prepared = self._prepare(frame, self._models.current, received_s=received_s)
        if not live:
            return self._prepared.put_next(prepared)
        self._freeze.update(prepared.crop)
        self._prepared.put(prepared)
        return not self._prepared.closed

    def _prepare(self, frame: Frame, inference: Inference, *, received_s: float) -> _Prepared:
        crop, tensor = inference.prepare(frame.pixels)
        return _Prepared(
            frame=frame,
            inference=inference,
            crop=crop,
            tensor=tensor,
            received_s=received_s,
            ready_s=time.monotonic(),
        )
