"""Frames through crop, resize and inference, each in a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgeclassifier.cameras import Camera, Frame
from edgeclassifier.classifier import Classifier
from edgeclassifier.errors import CameraError, CameraTimeout
from edgeclassifier.mailbox import Closed, Mailbox
from edgeclassifier.preprocess import Pixels, Preprocessor
from edgeclassifier.priority import be_nice
from edgeclassifier.results import Latency, Result

_POLL_S = 0.2
"""How long a wait lasts before it looks whether the pipeline was stopped."""
_JOIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    frame: Frame
    crop: Pixels
    tensor: NDArray[Any]
    received_s: float
    ready_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    prepared: _Prepared
    stored: NDArray[Any]
    started_s: float
    done_s: float


class Pipeline:
    """Joins a camera and a classifier.

    One thread reads the camera and prepares tensors, another runs the interpreter, and the
    caller's thread takes the results: none of them waits for the work of the others. From a live
    camera the newest frame wins; from files every frame is classified.
    """

    def __init__(self, *, camera: Camera, deadline_s: float, nice: int = 0) -> None:
        """Take a closed camera; a frame has to come within every `deadline_s` seconds.

        `nice` is the niceness of all but the interpreter: of the thread that captures, and of the
        one that calls results().
        """
        self._camera = camera
        self._deadline_s = deadline_s
        self._nice = nice
        self._stages: tuple[Preprocessor, Classifier] | None = None
        self._attached = threading.Event()
        self._prepared: Mailbox[_Prepared] = Mailbox()
        self._answers: Mailbox[_Answer] = Mailbox()
        self._reading_since_s: float | None = None
        self._failure: BaseException | None = None
        self._closed = False
        self._outdated = 0
        self._capturing = threading.Thread(target=self._capture, name="capture", daemon=True)
        self._inferring = threading.Thread(target=self._infer, name="inference", daemon=True)

    def open(self) -> None:
        """Begin to open the camera. It goes on while the model is loaded."""
        self._capturing.start()

    def attach(self, *, preprocessor: Preprocessor, classifier: Classifier) -> None:
        """Say what the frames go through."""
        self._stages = preprocessor, classifier
        self._attached.set()

    def close(self) -> None:
        """Stop all threads. Neither a hanging driver nor a hanging interpreter is waited for."""
        if self._closed:
            return
        self._closed = True
        self._prepared.close()
        self._answers.close()
        self._attached.set()
        deadline_s = time.monotonic() + _JOIN_S
        for thread in (self._capturing, self._inferring):
            if thread.is_alive():
                thread.join(max(0.0, deadline_s - time.monotonic()))

    @property
    def superseded(self) -> int:
        """How many frames gave way to a newer one before they were classified."""
        return self._outdated + self._prepared.replaced

    def results(self, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[Result]:
        """Classify the frames of the open camera until it ends, or until `stopped()`; then close.

        Raises CameraError where the camera cannot be opened, fails, or delivers no frame within
        the deadline, and InferenceError where the interpreter fails.
        """
        self._inferring.start()
        be_nice(self._nice)
        try:
            while not stopped():
                try:
                    answer = self._answers.take(_POLL_S)
                except Closed:
                    break
                if answer is not None:
                    yield self._result(answer)
                else:
                    self._check_that_read_returns()
        finally:
            self.close()
        if self._failure is not None and not stopped():
            raise self._failure

    def _check_that_read_returns(self) -> None:
        since_s = self._reading_since_s
        blocked_s = 0.0 if since_s is None else time.monotonic() - since_s
        if blocked_s > self._deadline_s + _POLL_S:
            raise self._no_frame(blocked_s)

    def _no_frame(self, silent_s: float) -> CameraError:
        return CameraError(
            f"no frame for {silent_s:.1f} s, more than camera.deadline_s "
            f"({self._deadline_s:g}): check the camera and its cable"
        )

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._prepared.close()
        self._answers.close()

    def _infer(self) -> None:
        try:
            while True:
                prepared = self._prepared.take(_POLL_S)
                if prepared is not None and not self._answers.put_next(self._run(prepared)):
                    return
        except Closed:
            self._answers.close()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._fail(error)

    def _run(self, prepared: _Prepared) -> _Answer:
        # Nothing but the interpreter: its cores are idle while anything else happens here.
        started_s = time.monotonic()
        stored = self._model.run(prepared.tensor)
        return _Answer(
            prepared=prepared, stored=stored, started_s=started_s, done_s=time.monotonic()
        )

    def _result(self, answer: _Answer) -> Result:
        prepared = answer.prepared
        predictions = self._model.top(self._model.scores(answer.stored))
        captured_s = prepared.frame.monotonic_s
        return Result(
            frame=prepared.frame,
            crop=prepared.crop,
            predictions=predictions,
            latency=Latency(
                capture_s=prepared.received_s - captured_s,
                preprocess_s=prepared.ready_s - prepared.received_s,
                inference_s=answer.done_s - answer.started_s,
                total_s=time.monotonic() - captured_s,
            ),
        )

    @property
    def _model(self) -> Classifier:
        assert self._stages is not None  # noqa: S101 - nothing is prepared before attach()
        return self._stages[1]

    def _capture(self) -> None:
        try:
            self._camera.open()
            be_nice(self._nice)
            self._read_frames()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            # Told before close() is called, which may hang.
            self._fail(error)
        finally:
            self._prepared.close()
            self._camera.close()

    def _read_frames(self) -> None:
        last_frame_s = time.monotonic()
        while not self._prepared.closed:
            self._reading_since_s = time.monotonic()
            try:
                frame = self._camera.read(_POLL_S)
            except CameraTimeout:
                silent_s = time.monotonic() - last_frame_s
                if silent_s > self._deadline_s:
                    raise self._no_frame(silent_s) from None
                continue
            finally:
                self._reading_since_s = None
            if frame is None:
                return
            last_frame_s = time.monotonic()
            if not self._attached.is_set():
                self._attached.wait()
                last_frame_s = time.monotonic()
                if self._camera.live:
                    self._outdated += 1  # the frame is as old as the wait was long
                    continue
            if self._stages is None:
                return
            prepared = self._prepare(frame, self._stages[0], received_s=last_frame_s)
            if self._camera.live:
                self._prepared.put(prepared)
            elif not self._prepared.put_next(prepared):
                return

    def _prepare(self, frame: Frame, preprocessor: Preprocessor, *, received_s: float) -> _Prepared:
        crop, tensor = preprocessor(frame.pixels)
        return _Prepared(
            frame=frame,
            crop=crop,
            tensor=tensor,
            received_s=received_s,
            ready_s=time.monotonic(),
        )
