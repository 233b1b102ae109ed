"""Counts every result once, for the topic health and for the metrics."""

import math
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from edgeclassifier.contract.results import Latency, Result, State
from edgeclassifier.contract.status import Percentiles, Progress, ViewProgress

BOUNDS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.007),
    *(0.01, 0.02, 0.03, 0.05, 0.07),
    *(0.1, 0.2, 0.3, 0.5, 0.7),
    *(1.0, 2.0, 3.0, 5.0, 7.0),
    10.0,
)
"""Upper bounds of the histograms' buckets: 1 ms to 10 s, each at most twice the one before."""
_RESULTS_KEPT = 500
_RATE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Durations by bucket."""

    counts: tuple[int, ...]
    """Durations in each bucket of BOUNDS_S, and beyond the last bound."""
    sum_s: float


class Histogram:
    """Counts durations by BOUNDS_S; for one thread at a time."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration; one below 0, which is the error of two clocks, as 0."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        if seconds > 0:
            self._sum_s += seconds

    def look(self) -> Distribution:
        """Return the counts so far."""
        return Distribution(counts=tuple(self._counts), sum_s=self._sum_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What has happened since the start."""

    classified: int
    """Frames that went through the model."""
    repeated: int
    """Frames that were given the previous answer, because nothing had changed."""
    label_changes: int
    fallbacks: int
    """How often the CPU took over from an accelerator."""
    newest_s: float | None
    """When the newest answered frame was captured, on the monotonic clock."""
    stages: dict[str, Distribution]
    latency: Distribution


class _View:
    """What has happened in one view."""

    __slots__ = ("frames", "label_changes", "newest_s", "repeated")

    def __init__(self) -> None:
        self.frames = self.repeated = self.label_changes = 0
        self.newest_s: float | None = None


class Tally:
    """Counts results in one thread and is read by others."""

    def __init__(self, *, started_s: float) -> None:
        """Take when the daemon started, on the monotonic clock."""
        self._lock = threading.Lock()
        self._started_s = started_s
        self._classified = self._repeated = self._label_changes = self._fallbacks = 0
        self._degraded = False
        self._newest_s: float | None = None
        self._capture, self._preprocess, self._inference = Histogram(), Histogram(), Histogram()
        self._latency = Histogram()
        self._recent: deque[tuple[float, Latency | None, str]] = deque(maxlen=_RESULTS_KEPT)
        self._views: dict[str, _View] = {}

    def count(self, result: Result, change: State | None = None) -> None:
        """Take one result, and the change of the label that it brought."""
        latency, degraded = result.latency, result.backend.degraded
        captured_s = result.frame.monotonic_s
        with self._lock:
            view = self._views.get(result.view)
            if view is None:
                view = self._views[result.view] = _View()
            view.frames += 1
            view.newest_s = self._newest_s = captured_s
            if change is not None:
                view.label_changes += 1
                self._label_changes += 1
            if degraded is not self._degraded:
                self._degraded = degraded
                self._fallbacks += degraded
            if result.answer_age_s > 0:
                view.repeated += 1
                self._repeated += 1
                self._recent.append((captured_s, None, result.view))
                return
            self._classified += 1
            self._recent.append((captured_s, latency, result.view))
            self._capture.observe(latency.capture_s)
            self._preprocess.observe(latency.preprocess_s)
            self._inference.observe(latency.inference_s)
            self._latency.observe(latency.total_s)

    def look(self) -> Counts:
        """Return the counts so far."""
        with self._lock:
            return Counts(
                classified=self._classified,
                repeated=self._repeated,
                label_changes=self._label_changes,
                fallbacks=self._fallbacks,
                newest_s=self._newest_s,
                stages={
                    "capture": self._capture.look(),
                    "preprocess": self._preprocess.look(),
                    "inference": self._inference.look(),
                },
                latency=self._latency.look(),
            )

    def progress(self, *, now_s: float) -> Progress:
        """Return the rate, the age and the latencies of the newest results."""
        with self._lock:
            frames, newest_s = self._classified + self._repeated, self._newest_s
            recent = list(self._recent)
        since_s = self._since_s(recent, now_s)
        return Progress(
            frames=frames,
            fps=sum(at_s > since_s for at_s, *_ in recent) / max(now_s - since_s, 1e-3),
            frame_age_s=None if newest_s is None else now_s - newest_s,
            latency=stage_percentiles(each for _, each, _ in recent if each is not None),
        )

    def views(self, names: Collection[str], *, now_s: float) -> dict[str, ViewProgress]:
        """Return what happened in each of the views, and forget all others."""
        with self._lock:
            recent = list(self._recent)
            for gone in self._views.keys() - {*names}:
                del self._views[gone]
            counts = {
                name: (view.frames, view.repeated, view.label_changes, view.newest_s)
                for name, view in self._views.items()
            }
        since_s = self._since_s(recent, now_s)
        answered = Counter(view for at_s, _, view in recent if at_s > since_s)
        found = {}
        for name in names:
            frames, repeated, label_changes, newest_s = counts.get(name, (0, 0, 0, None))
            found[name] = ViewProgress(
                frames=frames,
                repeated=repeated,
                label_changes=label_changes,
                fps=answered[name] / max(now_s - since_s, 1e-3),
                frame_age_s=None if newest_s is None else now_s - newest_s,
            )
        return found

    def _since_s(self, recent: Sequence[tuple[float, Latency | None, str]], now_s: float) -> float:
        """Return since when the newest results are complete, within what a rate is made of."""
        since_s = max(self._started_s, now_s - _RATE_S)
        return max(since_s, recent[0][0]) if len(recent) == _RESULTS_KEPT else since_s


def stage_percentiles(latencies: Iterable[Latency]) -> dict[str, Percentiles]:
    """Return the percentiles of each stage; empty if there are no latencies."""
    kept = list(latencies)
    if not kept:
        return {}
    return {
        "capture": percentiles([each.capture_s for each in kept]),
        "preprocess": percentiles([each.preprocess_s for each in kept]),
        "inference": percentiles([each.inference_s for each in kept]),
        "total": percentiles([each.total_s for each in kept]),
    }


def percentiles(values: Iterable[float]) -> Percentiles:
    """Return the percentiles (nearest rank) of at least one value."""
    ordered = sorted(values)

    def at(fraction: float) -> float:
        return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]

    return Percentiles(p50=at(0.5), p95=at(0.95), max=ordered[-1])
