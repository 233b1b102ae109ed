"""What grows: slopes that a single odd sample does not bend, and the verdict about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_high

import numpy as np
from numpy.typing import NDArray

MIB = 1 << 20
_LONG_S = 1800.0
_ALLOWED_BYTES = {"heap": (MIB, MIB), "anon": (MIB, 8 * MIB)}
"""Growth from the end of the warm-up to the end of a long run, and of a short one.

What is in use of the heap shows a leak within minutes: a fault that costs 50 kB makes more than
2 MiB of it in a run of five minutes. All anonymous memory has the holes of the heap in it as well,
which take some ten minutes of models and cameras that come and go to settle.
"""
COUNTED = ("fds", "threads", "children")
_HOUR_S = 3600.0
_MOST_POINTS = 2000
_WARM_UP_S = 300.0
_WARM_UP_PART = 0.4
_MIN_HALF = 2
_APART = 0.2
"""Of the period: two samples that lie closer together say more of their scatter than of a slope."""
_MIN_SAMPLES = 20
"""Below this the samples' scatter is all there is to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How one figure moved over the quiet samples of a period."""

    name: str
    slope_per_hour: float
    growth: float
    """What the slope makes of the whole period."""
    rise: float
    """How much more it is, at least, in the second half of the samples of one state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing that has to hold."""

    ok: bool
    text: str


def warm_up_s(run_s: float) -> float:
    """Say how long a run of this length does not count: five minutes, or less of a short one."""
    return min(_WARM_UP_S, _WARM_UP_PART * run_s)


def slope(
    times_s: Sequence[float],
    values: Sequence[float],
    states: Sequence[str] | None = None,
    *,
    apart_s: float = 0.0,
) -> float:
    """Return the median of the slopes between all pairs of points (Theil and Sen), per second.

    Nearly a third of the points may be anything without an effect. Where there are `states`, only
    points of the same state make a pair, and only those that lie `apart_s` seconds apart. 0 where
    there is no pair.
    """
    step = max(1, -(-len(times_s) // _MOST_POINTS))
    x: NDArray[np.float64] = np.asarray(times_s[::step], np.float64)
    y: NDArray[np.float64] = np.asarray(values[::step], np.float64)
    first, second = np.triu_indices(len(x), 1)
    pairs = (x[second] != x[first]) & (x[second] - x[first] >= apart_s)
    if states is not None:
        state = np.asarray(states[::step])
        pairs &= state[second] == state[first]
    first, second = first[pairs], second[pairs]
    if not len(first):
        return 0.0
    return float(np.median((y[second] - y[first]) / (x[second] - x[first])))


def rise(values: Sequence[float], states: Sequence[str]) -> float:
    """Return by how much the whole later half is higher, in the state where it is most."""
    rises = [0.0]
    for state in set(states):
        of_state = [value for value, each in zip(values, states, strict=True) if each == state]
        half = len(of_state) // 2
        if half >= _MIN_HALF:
            rises.append(min(of_state[-half:]) - median_high(of_state[:half]))
    return max(rises)


def trend(
    name: str, times_s: Sequence[float], values: Sequence[float], states: Sequence[str]
) -> Trend:
    """Describe how `values` move; they are at least one."""
    per_s = slope(times_s, values, states, apart_s=_APART * (times_s[-1] - times_s[0]))
    return Trend(
        name=name,
        slope_per_hour=per_s * _HOUR_S,
        growth=per_s * (times_s[-1] - times_s[0]),
        rise=rise(values, states),
    )


def judge_memory(memory: Trend, *, samples: int, period_s: float) -> Criterion:
    """Judge "heap" or "anon" over the `period_s` after the warm-up."""
    for_long, for_short = _ALLOWED_BYTES[memory.name]
    allowed = for_long if period_s >= _LONG_S else for_short
    text = f"memory ({memory.name}): {memory.growth / MIB:+.2f} MiB after the warm-up"
    text += f", {samples} quiet samples"
    if samples < _MIN_SAMPLES:
        return Criterion(ok=True, text=f"{text}: too few to judge")
    text += f", less than {allowed / MIB:g} allowed"
    return Criterion(ok=memory.growth < allowed, text=text)


def judge_count(count: Trend, *, samples: int) -> Criterion:
    """Judge something that is always as many, where nothing is under way."""
    more = max(round(count.growth) if samples >= _MIN_SAMPLES else 0, count.rise)
    return Criterion(ok=more < 1, text=f"{count.name}: {more:+g} after the warm-up")
