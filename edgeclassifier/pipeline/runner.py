"""The thread that runs the interpreter, and what it finishes."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.contract.results import Latency, Prediction, Result
from edgeclassifier.engine.inference import Answer
from edgeclassifier.errors import InferenceError
from edgeclassifier.host import threads
from edgeclassifier.pipeline.intake import Lane, Prepared, Taken, Work, prepare
from edgeclassifier.pipeline.mailbox import Closed, Mailbox, Turns
from edgeclassifier.pipeline.ondemand import OnDemand

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Answered:
    """What the interpreter said to a frame."""

    prepared: Prepared
    answer: Answer
    started_s: float
    done_s: float
    predictions: tuple[Prediction, ...] | None = None

    def best(self) -> tuple[Prediction, ...]:
        """Return the best labels."""
        if self.predictions is None:
            self.predictions = self.prepared.inference.predictions(self.answer)
        return self.predictions

    def result(self) -> Result:
        """Make it a result."""
        prepared = self.prepared
        predictions = self.best()
        return Result(
            view=prepared.taken.lane.view,
            frame=prepared.frame,
            crop=prepared.crop,
            predictions=predictions,
            latency=_latency(
                prepared.taken,
                preprocess_s=prepared.preprocess_s,
                inference_s=self.done_s - self.started_s,
            ),
            model=prepared.inference.model(self.answer.backend),
            backend=self.answer.backend,
        )


@dataclass(slots=True, kw_only=True)
class Repeated:
    """An answer that holds for another frame, too."""

    taken: Taken
    answered: Answered

    def result(self) -> Result:
        """Make it a result."""
        taken, answered = self.taken, self.answered
        predictions = answered.best()
        return Result(
            view=taken.lane.view,
            frame=taken.frame,
            crop=answered.prepared.crop,
            predictions=predictions,
            latency=_latency(taken, preprocess_s=taken.compared_s, inference_s=0.0),
            model=answered.prepared.inference.model(answered.answer.backend),
            backend=answered.answer.backend,
            answer_age_s=taken.frame.monotonic_s - answered.prepared.frame.monotonic_s,
        )


Done = Answered | Repeated
"""What the interpreter's thread has finished. Becomes a result in another one: the interpreter
waits for its own."""


def _latency(taken: Taken, *, preprocess_s: float, inference_s: float) -> Latency:
    """Say where the time of a frame went until now."""
    captured_s = taken.frame.monotonic_s
    return Latency(
        capture_s=taken.received_s - captured_s,
        preprocess_s=preprocess_s,
        inference_s=inference_s,
        total_s=time.monotonic() - captured_s,
    )


class Runner:
    """Answers the work that it finds, and in between the questions of others."""

    def __init__(
        self,
        *,
        turns: Turns[Work],
        answers: Mailbox[Done],
        demand: OnDemand[Prepared],
        on_end: Callable[[], None],
        spare: Callable[[Lane], bool],
    ) -> None:
        """Take the lanes' work until they are closed, and leave what is done in `answers`.

        `on_end` is called behind the last of it. If the model of a lane fails for good and there
        are others, as `spare` says, those go on without it.
        """
        self.busy_since_s: float | None = None
        """Since when the interpreter has been running, None while it is not."""
        self.failure: BaseException | None = None
        """What ended the thread before its time."""
        self._thread: threading.Thread | None = None
        self._turns = turns
        self._answers = answers
        self._demand = demand
        self._on_end = on_end
        self._spare = spare

    def start(self) -> None:
        """Begin to answer."""
        self._thread = threads.start(self._run_all, name="inference")

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, but no longer."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run_all(self) -> None:
        try:
            while True:
                work = self._turns.take(POLL_S)
                if self._demand.ready:
                    self._answer_questions()
                done = None if work is None else self._do(work)
                if done is not None and not self._answers.put_next(done):
                    return
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by next()
            self.failure = error
            self._turns.close()
        finally:
            self._demand.close()
            self._on_end()

    def _do(self, work: Work) -> Done | None:
        taken = work.taken if isinstance(work, Prepared) else work
        lane = taken.lane
        last = lane.last
        if lane.models.empty:
            return None  # it failed while this waited
        if last is not None and taken.like is not None and _holds(last, taken):
            return Repeated(taken=taken, answered=last)
        if not isinstance(work, Prepared):
            work = prepare(work, lane.models.current)
        try:
            return self._run(work)
        except InferenceError as error:
            if not self._spare(lane):
                raise
            self.busy_since_s = None
            log.warning("view %s: its model fails, the other views go on: %s", lane.view, error)
            lane.models.fail(str(error), source=work.inference.source)
            return None

    def _run(self, prepared: Prepared) -> Answered:
        # Nothing but the interpreter: its cores are idle while anything else happens here.
        taken = prepared.taken
        lane, look = taken.lane, taken.look
        models = lane.models
        if look is not None:
            look.remember()
        self.busy_since_s = started_s = time.monotonic()
        try:
            answer = prepared.inference.run(prepared.tensor)
        except InferenceError as error:
            other = models.failed(prepared.inference, error)
            prepared = prepare(taken, other)
            answer = other.run(prepared.tensor)
        done_s = time.monotonic()
        self.busy_since_s = None
        if not models.settled:
            models.answered(prepared.inference)
        answered = Answered(prepared=prepared, answer=answer, started_s=started_s, done_s=done_s)
        if look is not None:
            lane.last = _without_frame(answered)
        return answered

    def _answer_questions(self) -> None:
        while (found := self._demand.next()) is not None:
            question, prepared = found
            try:
                question.answer(self._run(prepared))
            except InferenceError as error:
                # The next frame will show whether that was the picture or the model.
                self.busy_since_s = None
                question.answer(str(error))


def _without_frame(answered: Answered) -> Answered:
    """Let go of the frame: with many views there would be as many large ones in memory."""
    prepared = answered.prepared
    frame = replace(prepared.frame, pixels=prepared.crop)
    kept = replace(prepared, taken=replace(prepared.taken, frame=frame))
    return replace(answered, prepared=kept)


def _holds(last: Answered, taken: Taken) -> bool:
    """Tell whether an answer holds for a frame.

    The frame may have been compared with one before that of the answer. A new model has to prove
    itself on frames, not on repeats.
    """
    before, inference = last.prepared.taken, last.prepared.inference
    age_s = taken.frame.monotonic_s - before.frame.monotonic_s
    look, old_look, models = taken.look, before.look, taken.lane.models
    return (
        look is not None
        and old_look is not None
        and (old_look is taken.like or look.scene.same(look, old_look))
        and 0 < age_s < look.scene.settings.max_age_s
        and models.current is inference
        and models.settled
        and inference.backend == last.answer.backend
    )
