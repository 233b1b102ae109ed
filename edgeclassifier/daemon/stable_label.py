"""From predictions that flicker to one label that stays.

A label's score is averaged over the frames of the last `window_s` seconds. The label that holds
stays while its average is at least the leave threshold, and for `hold_s` in any case. When it goes,
the label with the highest average takes over, if that reaches the enter threshold, else "unknown".

So the label changes at most once in `hold_s`; a scene that does not change gives one label; and a
real change shows after at most `window_s` + `hold_s` and one frame.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import UNKNOWN, Prediction, State


@plain_data
class StateRules(Plain):
    """When the label changes."""

    threshold: float
    """The average score with which a label enters."""
    leave_threshold: float
    """The average score below which it leaves; not more than `threshold`."""
    window_s: float
    """How far back the average goes; 0: the newest frame alone."""
    hold_s: float
    """The shortest time from one change to the next."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Enter thresholds of single labels; they leave at the same fraction of it as the others."""
    exclude: Collection[str] = ()
    """Labels that never take over."""

    def enters_at(self, label: str) -> float:
        """Return the enter threshold of a label."""
        return self.thresholds.get(label, self.threshold)

    def leaves_below(self, label: str) -> float:
        """Return the leave threshold of a label."""
        fraction = self.leave_threshold / self.threshold if self.threshold else 1.0
        return self.enters_at(label) * fraction


@dataclass(frozen=True, slots=True)
class _Seen:
    at_s: float
    predictions: Sequence[Prediction]


class StableLabel:
    """Follows the predictions of one camera. The first frame decides at once."""

    def __init__(self, rules: StateRules) -> None:
        self.rules = rules
        self._state: State | None = None
        self._seen: deque[_Seen] = deque()

    @property
    def state(self) -> State | None:
        """The label that holds, with its score as it is now; None before the first frame."""
        return self._state

    def update(self, predictions: Sequence[Prediction], *, now_s: float) -> State | None:
        """Take the predictions of a frame captured at `now_s`; return a changed state."""
        rules, current = self.rules, self._state
        self._seen.append(_Seen(now_s, [p for p in predictions if p.label not in rules.exclude]))
        while len(self._seen) > 1 and self._seen[0].at_s <= now_s - rules.window_s:
            self._seen.popleft()
        averages = self._averages()
        label = self._choose(averages)
        if current is not None:
            held_s = now_s - current.since_s
            if label == current.label or held_s < rules.hold_s:
                score = _score(current.label, averages)
                self._state = replace(current, score=score)
                return None
        self._state = State(
            label=label,
            class_id=averages[label][1] if label in averages else None,
            score=_score(label, averages),
            previous_label=current.label if current else None,
            since_s=now_s,
        )
        return self._state

    def _averages(self) -> dict[str, tuple[float, int]]:
        """Return the average score and the class id of every label in the window."""
        sums: dict[str, tuple[float, int]] = {}
        for seen in self._seen:
            for each in seen.predictions:
                before, _ = sums.get(each.label, (0.0, 0))
                sums[each.label] = before + each.score, each.class_id
        return {label: (total / len(self._seen), id_) for label, (total, id_) in sums.items()}

    def _choose(self, averages: Mapping[str, tuple[float, int]]) -> str:
        rules = self.rules
        if self._state is not None and self._state.label in averages:
            holder = self._state.label
            if averages[holder][0] >= rules.leaves_below(holder):
                return holder
        entering = [
            (-average, class_id, label)
            for label, (average, class_id) in averages.items()
            if average >= rules.enters_at(label)
        ]
        return min(entering)[2] if entering else UNKNOWN


def _score(label: str, averages: Mapping[str, tuple[float, int]]) -> float:
    if label == UNKNOWN:
        return max((average for average, _ in averages.values()), default=0.0)
    return averages[label][0] if label in averages else 0.0
