"""Pictures that were asked about, beside the stream of frames."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.results import Result
from edgeclassifier.errors import CameraError, InferenceError

_CLOSED = "stopping: nothing is classified any more"

Prepared = TypeVar("Prepared")


class Answer(Protocol):
    """What the interpreter said to a picture."""

    def result(self) -> Result:
        """Make it a result."""


class Question(Generic[Prepared]):
    """One picture, and the thread that waits for its answer."""

    def __init__(self, prepared: Prepared | None, prepare: Callable[[Frame], Prepared]) -> None:
        self.prepared = prepared
        """None until there is a frame for it."""
        self.prepare = prepare
        """Prepares that."""
        self._outcome: queue.SimpleQueue[Answer | str] = queue.SimpleQueue()

    def answer(self, outcome: Answer | str) -> None:
        """Give the waiting thread its answer, or why there is none; the first one counts."""
        self._outcome.put(outcome)

    def wait(self, timeout_s: float) -> Answer | None:
        """Return the answer, None if there is none yet. Raises InferenceError."""
        try:
            outcome = self._outcome.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(outcome, str):
            raise InferenceError(outcome)
        return outcome


class OnDemand(Generic[Prepared]):
    """Brings questions to the thread of the camera, and from there to that of the interpreter.

    Both look at `wanted` and `ready` between two frames, and call here only if those are not
    empty.
    """

    def __init__(self) -> None:
        self.wanted: deque[Question[Prepared]] = deque()
        """Those that wait for the next frame."""
        self.ready: deque[Question[Prepared]] = deque()
        """Those that wait for the interpreter."""
        self._lock = threading.Lock()
        self._open: set[Question[Prepared]] = set()
        self._closed = False

    def classify(
        self,
        prepared: Prepared | None,
        *,
        prepare: Callable[[Frame], Prepared],
        timeout_s: float,
        problem: Callable[[], str | None],
        meanwhile: Callable[[], float],
    ) -> Result:
        """Wait for the answer to a picture; None: to the next frame, which `prepare` prepares.

        `problem` says what is wrong with the camera; `meanwhile` is called repeatedly, and says
        after how long to call it again. Raises CameraError if no frame came within `timeout_s`,
        and InferenceError if there is no answer to it.
        """
        question = self._ask(Question(prepared, prepare))
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

    def offer(self, frame: Frame) -> None:
        """Give a frame to all that wait for one."""
        with self._lock:
            waiting = tuple(self.wanted)
            self.wanted.clear()
        for question in waiting:
            question.prepared = question.prepare(frame)
            with self._lock:
                if question in self._open:
                    self.ready.append(question)

    def next(self) -> tuple[Question[Prepared], Prepared] | None:
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

    def _ask(self, question: Question[Prepared]) -> Question[Prepared]:
        with self._lock:
            if self._closed:
                raise InferenceError(_CLOSED)
            self._open.add(question)
            (self.wanted if question.prepared is None else self.ready).append(question)
        return question

    def _forget(self, question: Question[Prepared]) -> None:
        with self._lock:
            self._open.discard(question)
            for line in (self.wanted, self.ready):
                if question in line:
                    line.remove(question)
