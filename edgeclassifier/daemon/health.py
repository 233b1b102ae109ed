"""Counts and latencies of the running daemon."""

import math
import threading
from collections import deque
from collections.abc import Iterable

from edgeclassifier.contract.results import Latency, Result
from edgeclassifier.contract.status import Percentiles, Progress

_RESULTS_KEPT = 500
_RATE_S = 30.0


class ProgressMeter:
    """Counts results in one thread and is read by another."""

    def __init__(self, *, started_s: float) -> None:
        self._lock = threading.Lock()
        self._started_s = started_s
        self._frames = 0
        self._newest_s: float | None = None
        self._recent: deque[tuple[float, Latency | None]] = deque(maxlen=_RESULTS_KEPT)

    def count(self, result: Result) -> None:
        """Take one result."""
        with self._lock:
            self._frames += 1
            self._newest_s = result.frame.monotonic_s
            latency = None if result.repeated else result.latency
            self._recent.append((result.frame.monotonic_s, latency))

    def look(self, *, now_s: float) -> Progress:
        """Return the progress."""
        with self._lock:
            frames, newest_s, recent = self._frames, self._newest_s, list(self._recent)
        since_s = max(self._started_s, now_s - _RATE_S)
        if len(recent) == _RESULTS_KEPT:
            since_s = max(since_s, recent[0][0])
        return Progress(
            frames=frames,
            fps=sum(at_s > since_s for at_s, _ in recent) / max(now_s - since_s, 1e-3),
            frame_age_s=None if newest_s is None else now_s - newest_s,
            latency=stage_percentiles(latency for _, latency in recent if latency is not None),
        )


def stage_percentiles(latencies: Iterable[Latency]) -> dict[str, Percentiles]:
    """Return the percentiles of each stage; empty where there are no latencies."""
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
