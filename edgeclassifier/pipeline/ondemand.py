"""Pictures that somebody asked about, beside the stream of frames."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.results import Result
from edgeclassifier.engine.inference import Inference
from edgeclassifier.errors import CameraError, InferenceError
from edgeclassifier.pipeline.work import Answered, Prepared, prepare

_CLOSED = "stopping: nothing is classified any more"
_ON_REQUEST = "request"
"""Camera and origin of pictures that come from no camera."""
_RGB = 3


class Question:
    """One picture that somebody waits for."""

    def __init__(self, prepared: Prepared | None) -> None:
        self.prepared = prepared
        """None until there is a frame for it."""
        self._outcome: queue.SimpleQueue[Answered | str] = queue.SimpleQueue()

    def answer(self, outcome: Answered | str) -> None:
        """Tell who waits the answer, or why there is none; the first one counts."""
        self._outcome.put(outcome)

    def wait(self, timeout_s: float) -> Answered | None:
        """Return the answer, None where there is none yet. Raises InferenceError."""
        try:
            outcome = self._outcome.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(outcome, str):
            raise InferenceError(outcome)
        return outcome


class OnDemand:
    """Brings questions to the thread of the camera, and from there to that of the interpreter.

    Both look at `wanted` and `ready` between two frames, and call here only where those are not
    empty.
    """

    def __init__(self) -> None:
        self.wanted: deque[Question] = deque()
        """Those that wait for the next frame."""
        self.ready: deque[Question] = deque()
        """Those that wait for the interpreter."""
        self._lock = threading.Lock()
        self._open: set[Question] = set()
        self._closed = False
        self._pictures = FrameFactory(camera_id=_ON_REQUEST)

    def classify(
        self,
        pixels: Pixels | None,
        inference: Inference,
        *,
        timeout_s: float,
        problem: Callable[[], str | None],
        meanwhile: Callable[[], float],
    ) -> Result:
        """Wait for the answer to a picture H x W x 3; None: to the next frame.

        `problem` says what is wrong with the camera; `meanwhile` is called again and again, and
        says how long it may take until it is called next. Raises CameraError where no frame came
        within `timeout_s`, and InferenceError where there is no answer to it.
        """
        question = self._ask(None if pixels is None else self._prepare(pixels, inference))
        deadline_s = time.monotonic() + timeout_s
        try:
            while (left_s := deadline_s - time.monotonic()) > 0:
                answered = question.wait(min(left_s, meanwhile()))
                if answered is not None:
                    return answered.result()
        finally:
            self._forget(question)
        if question.prepared is None:
            because = problem()
            raise CameraError(
                f"no frame within {timeout_s:.2g} s" + (f": {because}" if because else "")
            )
        raise InferenceError(f"no answer from the interpreter within {timeout_s:.2g} s")

    def offer(self, frame: Frame, inference: Inference) -> None:
        """Give a frame to all that wait for one."""
        prepared = prepare(frame, inference, received_s=time.monotonic())
        with self._lock:
            while self.wanted:
                question = self.wanted.popleft()
                question.prepared = prepared
                self.ready.append(question)

    def next(self) -> tuple[Question, Prepared] | None:
        """Take the one that has waited longest for the interpreter."""
        with self._lock:
            question = self.ready.popleft() if self.ready else None
        if question is None or question.prepared is None:
            return None
        return question, question.prepared

    def close(self) -> None:
        """Answer nothing any more."""
        with self._lock:
            self._closed = True
            for question in self._open:
                question.answer(_CLOSED)
            self._open.clear()
            self.wanted.clear()
            self.ready.clear()

    def _prepare(self, pixels: Pixels, inference: Inference) -> Prepared:
        if pixels.shape[2:] != (_RGB,) or pixels.dtype != "uint8":
            raise ValueError(f"a picture of {pixels.shape} {pixels.dtype} is not H x W x 3 uint8")
        frame = self._pictures.frame(pixels, origin=_ON_REQUEST)
        return prepare(frame, inference, received_s=frame.monotonic_s)

    def _ask(self, prepared: Prepared | None) -> Question:
        question = Question(prepared)
        with self._lock:
            if self._closed:
                raise InferenceError(_CLOSED)
            self._open.add(question)
            (self.wanted if prepared is None else self.ready).append(question)
        return question

    def _forget(self, question: Question) -> None:
        with self._lock:
            self._open.discard(question)
            for line in (self.wanted, self.ready):
                if question in line:
                    line.remove(question)
