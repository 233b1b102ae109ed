"""From predictions that flicker to one label that stays."""

from dataclasses import dataclass

from edgeclassifier.results import Prediction

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The debounced label."""

    label: str
    class_id: int | None
    """None where no label reached the threshold."""
    score: float
    previous_label: str | None
    """None for the first state."""
    since_s: float
    """When the label took over, on the monotonic clock."""


class Debounce:
    """Changes the label only when another one has been on top for `hold_s` without a break.

    A top score below `threshold` counts as the label "unknown". The first prediction is taken
    as it is: there is nothing yet that it could flap from.
    """

    def __init__(self, *, threshold: float, hold_s: float) -> None:
        self.threshold = threshold
        self.hold_s = hold_s
        self._state: State | None = None
        self._candidate = UNKNOWN
        self._candidate_since_s = 0.0

    @property
    def state(self) -> State | None:
        """The label that holds; None before the first prediction."""
        return self._state

    def update(self, top: Prediction | None, *, now_s: float) -> State | None:
        """Take the most likely class of a frame captured at `now_s`; return a changed state."""
        if top is None or top.score < self.threshold:
            label, class_id, score = UNKNOWN, None, top.score if top else 0.0
        else:
            label, class_id, score = top.label, top.class_id, top.score
        current = self._state
        if current is not None and label == current.label:
            self._candidate = label
            return None
        if current is not None:
            if label != self._candidate:
                self._candidate, self._candidate_since_s = label, now_s
            if now_s - self._candidate_since_s < self.hold_s:
                return None
        self._candidate = label
        self._state = State(
            label=label,
            class_id=class_id,
            score=score,
            previous_label=current.label if current else None,
            since_s=now_s,
        )
        return self._state
