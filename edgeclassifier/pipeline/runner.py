"""The thread that runs the interpreter."""

import threading
import time

from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.errors import InferenceError
from edgeclassifier.pipeline.mailbox import Closed, Mailbox
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.ondemand import OnDemand
from edgeclassifier.pipeline.work import (
    Answered,
    Done,
    Prepared,
    Repeated,
    Unchanged,
    Work,
    prepare,
)


class Runner:
    """Answers the work that it finds, and in between the questions of others."""

    def __init__(self, *, work: Mailbox[Work], answers: Mailbox[Done], demand: OnDemand) -> None:
        """Take from `work` until that is closed, and leave what is done in `answers`."""
        self.models: ModelSlot | None = None
        """What the work goes through; to be set before there is any."""
        self.busy_since_s: float | None = None
        """Since when the interpreter has been running, None while it is not."""
        self.failure: BaseException | None = None
        """What ended the thread before its time."""
        self.thread = threading.Thread(target=self._run_all, name="inference", daemon=True)
        self._work = work
        self._answers = answers
        self._demand = demand
        self._last: Answered | None = None
        """What may be repeated."""

    def _run_all(self) -> None:
        try:
            while True:
                work = self._work.take(POLL_S)
                if self._demand.ready:
                    self._answer_questions()
                if work is not None and not self._answers.put_next(self._do(work)):
                    return
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.failure = error
            self._work.close()
        finally:
            self._demand.close()
            self._answers.close()

    def _do(self, work: Work) -> Done:
        if isinstance(work, Prepared):
            return self._run(work)
        last = self._last
        if last is not None and self._holds(last, work):
            return Repeated(unchanged=work, answered=last)
        current = self._slot.current
        return self._run(prepare(work.frame, current, received_s=work.received_s, look=work.look))

    def _holds(self, last: Answered, work: Unchanged) -> bool:
        """Tell whether an answer holds for a frame.

        The frame may have been compared with one before that of the answer. A new model has to
        prove itself on frames, not on repeats.
        """
        prepared, inference = last.prepared, last.prepared.inference
        age_s = work.frame.monotonic_s - prepared.frame.monotonic_s
        scene, look = work.look.scene, prepared.look
        return (
            look is not None
            and (look is work.like or scene.same(work.look, look))
            and 0 < age_s < scene.settings.max_age_s
            and self._slot.current is inference
            and self._slot.settled
            and inference.backend == last.answer.backend
        )

    def _run(self, prepared: Prepared) -> Answered:
        # Nothing but the interpreter: its cores are idle while anything else happens here.
        if prepared.look is not None:
            prepared.look.remember()
        self.busy_since_s = started_s = time.monotonic()
        try:
            answer = prepared.inference.run(prepared.tensor)
        except InferenceError as error:
            other = self._slot.failed(prepared.inference, error)
            prepared = prepare(
                prepared.frame, other, received_s=prepared.received_s, look=prepared.look
            )
            answer = other.run(prepared.tensor)
        done_s = time.monotonic()
        self.busy_since_s = None
        self._slot.answered(prepared.inference)
        answered = Answered(prepared=prepared, answer=answer, started_s=started_s, done_s=done_s)
        if prepared.look is not None:
            self._last = answered
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

    @property
    def _slot(self) -> ModelSlot:
        assert self.models is not None  # noqa: S101 - attach() comes before frames do
        return self.models
