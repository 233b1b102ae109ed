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
    """Enter thresholds of single classes, by their names; they leave at the same fraction of it as
    the others."""
    exclude: Collection[str] = ()
    """Names of classes that never take over."""

    def enters_at(self, name: str) -> float:
        """Return the enter threshold of a class."""
        return self.thresholds.get(name, self.threshold)

    def leaves_below(self, name: str) -> float:
        """Return the leave threshold of a class."""
        fraction = self.leave_threshold / self.threshold if self.threshold else 1.0
        return self.enters_at(name) * fraction


@dataclass(frozen=True, slots=True)
class _Seen:
    at_s: float
    predictions: Sequence[Prediction]


class StableLabel:
    """Follows the predictions of one camera. The first frame decides at once."""

    def __init__(self, rules: StateRules) -> None:
        self.rules = rules
        self._state: State | None = None
        self._holder: str | None = None
        """Name of the class that holds. None is not the class that a model may call "unknown"."""
        self._seen: deque[_Seen] = deque()
        self._next: tuple[float, StateRules] | None = None

    def follow(self, rules: StateRules, *, from_s: float | None = None) -> None:
        """Go by other rules from the next frame on.

        With `from_s`, from the first frame on that was captured then or later: another model has
        seen those before it, and they count no more.
        """
        if from_s is None:
            self.rules, self._next = rules, None
        else:
            self._next = from_s, rules

    @property
    def state(self) -> State | None:
        """The label that holds, with its score as it is now; None before the first frame."""
        return self._state

    def update(self, predictions: Sequence[Prediction], *, now_s: float) -> State | None:
        """Take the predictions of a frame captured at `now_s`; return a changed state."""
        if self._next is not None and now_s >= self._next[0]:
            self.follow(self._next[1])
            self._seen.clear()
        rules, current = self.rules, self._state
        self._seen.append(_Seen(now_s, [p for p in predictions if p.name not in rules.exclude]))
        while len(self._seen) > 1 and self._seen[0].at_s <= now_s - rules.window_s:
            self._seen.popleft()
        averages = self._averages()
        chosen = self._choose(averages)
        if current is not None:
            held_s = now_s - current.since_s
            if chosen == self._holder or held_s < rules.hold_s:
                self._state = replace(current, score=_score(self._holder, averages))
                return None
        found = None if chosen is None else averages[chosen][1]
        self._state = State(
            name=UNKNOWN if found is None else found.name,
            label=UNKNOWN if found is None else found.label,
            class_id=None if found is None else found.class_id,
            score=_score(chosen, averages),
            previous_name=current.name if current else None,
            previous_label=current.label if current else None,
            since_s=now_s,
        )
        self._holder = chosen
        return self._state

    def _averages(self) -> dict[str, tuple[float, Prediction]]:
        """Return the average score and the newest prediction of every class in the window."""
        sums: dict[str, tuple[float, Prediction]] = {}
        for seen in self._seen:
            for each in seen.predictions:
                before = sums[each.name][0] if each.name in sums else 0.0
                sums[each.name] = before + each.score, each
        return {name: (total / len(self._seen), newest) for name, (total, newest) in sums.items()}

    def _choose(self, averages: Mapping[str, tuple[float, Prediction]]) -> str | None:
        """Name the class that is to hold; None: no class reaches its threshold."""
        rules, holder = self.rules, self._holder
        if (
            holder is not None
            and holder in averages
            and averages[holder][0] >= rules.leaves_below(holder)
        ):
            return holder
        entering = [
            (-average, newest.class_id, name)
            for name, (average, newest) in averages.items()
            if average >= rules.enters_at(name)
        ]
        return min(entering)[2] if entering else None


def _score(name: str | None, averages: Mapping[str, tuple[float, Prediction]]) -> float:
    if name is None:
        return max((average for average, _ in averages.values()), default=0.0)
    return averages[name][0] if name in averages else 0.0
