"""Which model frames go through, and which one takes over again if that fails."""

import logging
import threading

from edgeclassifier.engine.inference import Inference
from edgeclassifier.errors import InferenceError

_PROBATION = 5
"""How many frames a new model has to answer before the one before it is let go."""

log = logging.getLogger(__name__)


class ModelSlot:
    """Holds the model in use and, until that has proven itself, the one before.

    One device serves one model at a time: until the old one is let go, the new one runs on the CPU.
    """

    def __init__(self, inference: Inference) -> None:
        self.current = inference
        self.refused: InferenceError | None = None
        """Why the model that swap() brought is not used; None where it is."""
        self._before: Inference | None = None
        self._answered = 0
        self._lock = threading.Lock()
        """One thread swaps, another one tells of answers and failures."""
        inference.start()

    @property
    def settled(self) -> bool:
        """Whether the model in use has proven itself."""
        return self._before is None

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

    def answered(self, inference: Inference) -> None:
        """Note that a model answered a frame."""
        with self._lock:
            if self._before is None or inference is not self.current:
                return
            self._answered += 1
            if self._answered < _PROBATION:
                return
            before, self._before = self._before, None
        # Letting go of a device takes a moment.
        threading.Thread(
            target=_hand_over, args=(before, inference), name="swap", daemon=True
        ).start()

    def failed(self, inference: Inference, error: InferenceError) -> Inference:
        """Return the model that takes over. Raises `error` where there is none."""
        with self._lock:
            before = self._before
            if before is None and inference is not self.current:
                return self.current  # the last frames of one that was let go
            if before is None or inference is before:
                raise error
            if inference is self.current:
                log.error("back to the model before, the new one fails: %s", error)
                self.current, self._before = before, None
                # Last: who sees it wants to see what is in use instead.
                self.refused = InferenceError(str(error))
                inference.close()
            return before

    def close(self) -> None:
        """Let go of all models."""
        for inference in (self._before, self.current):
            if inference is not None:
                inference.close()


def _hand_over(before: Inference, after: Inference) -> None:
    before.close()
    after.start()
