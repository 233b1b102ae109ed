"""Which pictures are worth keeping, and how many of them in an hour and a day."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import Result, State

HOUR_S, DAY_S = 3600.0, 86_400.0
_SPREAD = 4
"""Uncertain pictures of one scene are alike: an hour's share of them is not taken at once."""


@plain_data
class Limit(Plain):
    """The most pictures of one kind."""

    per_hour: int
    per_day: int


@plain_data
class KeepRules(Plain):
    """What is worth keeping."""

    limits: Mapping[str, Limit]
    """By kind, those that are wanted."""
    lowest: float = 0.0
    """An answer is uncertain if its best score lies from `lowest` to `highest` …"""
    highest: float = 1.0
    margin: float = 0.0
    """… or if the best two scores differ by less than `margin`."""

    def is_uncertain(self, result: Result) -> bool:
        """Tell whether the model was not sure."""
        if not result.predictions:
            return False
        best = result.predictions[0].score
        if self.lowest <= best <= self.highest:
            return True
        second = result.predictions[1].score if len(result.predictions) > 1 else 0.0
        return best - second < self.margin


class Policy:
    """Says of each result what it is to be kept as. Belongs to one thread.

    The limits hold for any hour and any day, on the monotonic clock.
    """

    def __init__(
        self,
        rules: KeepRules,
        *,
        now_s: float,
        ages_s: Mapping[str, Iterable[float]],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Take how long ago pictures of each kind were kept, by earlier runs."""
        self._rules = rules
        self._uniform = uniform
        self._kept = {
            kind: deque(sorted(now_s - age_s for age_s in ages_s.get(kind, ())))
            for kind in rules.limits
        }
        self._random_due_s = now_s + self._pause_s(0.0)

    def kind(self, result: Result, changed: State | None) -> str | None:
        """Say what a result is kept as, and count it; None if it is not kept."""
        now_s = result.frame.monotonic_s
        if changed is not None and self._takes("changed", now_s):
            return "changed"
        if result.answer_age_s > 0:
            return None  # the answer, and the picture, of an earlier frame
        if self._rules.is_uncertain(result) and self._takes("uncertain", now_s):
            return "uncertain"
        if now_s >= self._random_due_s and self._takes("random", now_s):
            self._random_due_s = now_s + self._pause_s(0.5)
            return "random"
        return None

    def _takes(self, kind: str, now_s: float) -> bool:
        limit = self._rules.limits.get(kind)
        if limit is None:
            return False
        kept = self._kept[kind]
        while kept and kept[0] <= now_s - DAY_S:
            kept.popleft()
        if len(kept) >= limit.per_day:
            return False
        if len(kept) >= limit.per_hour and kept[-limit.per_hour] > now_s - HOUR_S:
            return False
        apart_s = HOUR_S / limit.per_hour / _SPREAD if kind == "uncertain" else 0.0
        if kept and now_s < kept[-1] + apart_s:
            return False
        kept.append(now_s)
        return True

    def _pause_s(self, shortest: float) -> float:
        """Draw how long to wait for the next one at random, in an even share of the day."""
        limit = self._rules.limits.get("random")
        return 0.0 if limit is None else DAY_S / limit.per_day * self._uniform(shortest, 1.5)
