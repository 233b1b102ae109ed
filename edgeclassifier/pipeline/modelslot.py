"""Which model frames go through, and which one takes over again if that fails."""

import logging
import threading

from edgeclassifier.engine.inference import Inference
from edgeclassifier.errors import InferenceError
from edgeclassifier.host import threads

_PROBATION = 5
"""How many frames a new model has to answer before the one before it is released."""

log = logging.getLogger(__name__)


class ModelSlot:
    """Holds the model in use and, until that has proven itself, the one before.

    It is empty at first: wait for `decided`. One device serves one model at a time: until the old
    one is released, the new one runs on the CPU.
    """

    current: Inference
    """The model in use; not there before load()."""

    def __init__(self) -> None:
        self.decided = threading.Event()
        """Set once there is a model, or will never be one."""
        self.empty = True
        self.refused: InferenceError | None = None
        """Why the model that swap() brought is not used; None if it is."""
        self.problem: str | None = None
        """Why there is no model that works, for people."""
        self.settled = True
        """Whether the model in use has proven itself."""
        self._failed: object = None
        """What a model would have been built from that does not work."""
        self._before: Inference | None = None
        self._answered = 0
        self._lock = threading.Lock()
        """One thread swaps, another one tells of answers and failures."""

    def load(self, inference: Inference) -> None:
        """Put in the first model."""
        self.current = inference
        inference.start()
        self.empty, self.problem = False, None
        self.decided.set()

    @property
    def source(self) -> object:
        """What the model in use was built from, or would have been if it worked."""
        return self._failed if self.empty else self.current.source

    def fail(self, problem: str, *, source: object) -> None:
        """Go without a model: there is none, or none that works."""
        self.problem, self._failed = problem, source
        self.empty = True
        self.decided.set()

    def swap(self, inference: Inference) -> None:
        """Use another model from the next frame on."""
        with self._lock:
            self.refused = None
            self._answered = 0
            if self._before is None:
                self._before = self.current
            else:
                self.current.close()
            self.current = inference
            self.settled = False

    def answered(self, inference: Inference) -> None:
        """Note that a model answered a frame. Needed until it is settled."""
        with self._lock:
            if self._before is None or inference is not self.current:
                return
            self._answered += 1
            if self._answered < _PROBATION:
                return
            before, self._before = self._before, None
            self.settled = True
        # Releasing a device takes a moment.
        threads.start(_hand_over, args=(before, inference), name="swap")

    def failed(self, inference: Inference, error: InferenceError) -> Inference:
        """Return the model that takes over. Raises `error` if there is none."""
        with self._lock:
            before = self._before
            if before is None and inference is not self.current:
                return self.current  # the last frames of one that was released
            if before is None or inference is before:
                raise error
            if inference is self.current:
                log.error("back to the model before, the new one fails: %s", error)
                self.current, self._before = before, None
                self.settled = True
                # Last: a reader of it wants to see what is in use instead.
                self.refused = InferenceError(str(error))
                inference.close()
            return before

    def close(self) -> None:
        """Release all models."""
        self.decided.set()
        for inference in (self._before, getattr(self, "current", None)):
            if inference is not None:
                inference.close()


def _hand_over(before: Inference, after: Inference) -> None:
    before.close()
    after.start()
