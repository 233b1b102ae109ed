"""Counts every result as it comes, and lets others read the counts."""

import threading
from bisect import bisect_left
from dataclasses import dataclass

from edgeclassifier.contract.results import Result, State

BOUNDS_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.007),
    *(0.01, 0.02, 0.03, 0.05, 0.07),
    *(0.1, 0.2, 0.3, 0.5, 0.7),
    *(1.0, 2.0, 3.0, 5.0, 7.0),
    10.0,
)
"""Upper bounds of the histograms' buckets: from 1 ms to 10 s, never more than twice the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How durations were spread."""

    counts: tuple[int, ...]
    """How many were in each bucket of BOUNDS_S, and beyond the last of them."""
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
    """Frames that were answered with the answer before, because nothing had changed."""
    label_changes: int
    fallbacks: int
    """How often the CPU took over from an accelerator."""
    newest_s: float | None
    """When the newest answered frame was captured, on the monotonic clock."""
    stages: dict[str, Distribution]
    latency: Distribution


class Tally:
    """Counts results in one thread and is read by others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._classified = self._repeated = self._label_changes = self._fallbacks = 0
        self._degraded = False
        self._newest_s: float | None = None
        self._capture, self._preprocess, self._inference = Histogram(), Histogram(), Histogram()
        self._latency = Histogram()

    def count(self, result: Result, change: State | None) -> None:
        """Take one result, and the change of the label that it brought."""
        latency, degraded = result.latency, result.backend.degraded
        with self._lock:
            self._newest_s = result.frame.monotonic_s
            if change is not None:
                self._label_changes += 1
            if degraded is not self._degraded:
                self._degraded = degraded
                self._fallbacks += degraded
            if result.repeated:
                self._repeated += 1
                return
            self._classified += 1
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
