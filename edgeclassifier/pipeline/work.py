"""What goes from thread to thread while a frame becomes a result."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.results import Latency, Prediction, Result
from edgeclassifier.engine.inference import Answer, Inference
from edgeclassifier.pipeline.idle import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A frame that the interpreter can take."""

    frame: Frame
    inference: Inference
    crop: Pixels
    tensor: NDArray[Any]
    received_s: float
    ready_s: float
    look: Look | None
    """What later frames are compared with, where an answer may be repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """A frame on which nothing is different from one that was, or is being, classified."""

    frame: Frame
    received_s: float
    ready_s: float
    look: Look
    like: Look
    """Of the frame it was compared with."""


Work = Prepared | Unchanged


def prepare(
    frame: Frame, inference: Inference, *, received_s: float, look: Look | None = None
) -> Prepared:
    """Crop, resize and quantize a frame."""
    crop, tensor = inference.prepare(frame.pixels)
    return Prepared(
        frame=frame,
        inference=inference,
        crop=crop,
        tensor=tensor,
        received_s=received_s,
        ready_s=time.monotonic(),
        look=look,
    )


class Done(Protocol):
    """What the interpreter's thread has finished."""

    @property
    def frame(self) -> Frame:
        """The frame it belongs to."""

    def result(self) -> Result:
        """Make it a result; in another thread, because the interpreter waits for its own."""


@dataclass(slots=True, kw_only=True)
class Answered:
    """What the interpreter said to a frame."""

    prepared: Prepared
    answer: Answer
    started_s: float
    done_s: float
    predictions: tuple[Prediction, ...] | None = None

    @property
    def frame(self) -> Frame:
        """The frame that was classified."""
        return self.prepared.frame

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
            frame=prepared.frame,
            crop=prepared.crop,
            predictions=predictions,
            latency=_latency(prepared, inference_s=self.done_s - self.started_s),
            model=prepared.inference.model(self.answer.backend),
            backend=self.answer.backend,
        )


@dataclass(slots=True, kw_only=True)
class Repeated:
    """An answer that holds for another frame, too."""

    unchanged: Unchanged
    answered: Answered

    @property
    def frame(self) -> Frame:
        """The frame on which nothing was different."""
        return self.unchanged.frame

    def result(self) -> Result:
        """Make it a result."""
        unchanged, answered = self.unchanged, self.answered
        predictions = answered.best()
        return Result(
            frame=unchanged.frame,
            crop=answered.prepared.crop,
            predictions=predictions,
            latency=_latency(unchanged, inference_s=0.0),
            model=answered.prepared.inference.model(answered.answer.backend),
            backend=answered.answer.backend,
            answer_age_s=unchanged.frame.monotonic_s - answered.frame.monotonic_s,
        )


def _latency(work: Work, *, inference_s: float) -> Latency:
    """Say where the time of a frame went until now."""
    captured_s = work.frame.monotonic_s
    return Latency(
        capture_s=work.received_s - captured_s,
        preprocess_s=work.ready_s - work.received_s,
        inference_s=inference_s,
        total_s=time.monotonic() - captured_s,
    )
