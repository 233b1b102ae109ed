"""The daemon's metrics: counts results as they come, and renders everything when asked."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from edgeclassifier.contract.results import Result, State
from edgeclassifier.contract.status import Vitals
from edgeclassifier.errors import ConfigError
from edgeclassifier.host.system import System
from edgeclassifier.metrics import probes
from edgeclassifier.metrics.families import Identity, Snapshot, families, running
from edgeclassifier.metrics.tally import Counts, Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_START_DEADLINE_S = 300.0
"""As long as the service manager waits for the first classified frame."""


class Metrics:
    """What the operators of many devices want to know. All but handle() is for any thread."""

    def __init__(
        self,
        *,
        vitals: Callable[[], Vitals],
        system: System,
        identity: Callable[[], Identity],
        deadline_s: Callable[[], float],
        started_s: float,
        start_deadline_s: float = _START_DEADLINE_S,
    ) -> None:
        """Take what tells of the other parts, from any thread.

        The time from one answered frame to the next is at most `deadline_s()`, that from the start
        to the first `start_deadline_s`; `started_s` is on the monotonic clock. Raises ConfigError
        where the package prometheus_client is not installed.
        """
        try:
            import prometheus_client  # noqa: F401 - a missing one is to be known now
        except ImportError as error:
            raise ConfigError(
                [f"metrics: {error}: run 'pip install \"edgeclassifier[metrics]\"'"]
            ) from None
        self._vitals = vitals
        self._system = system
        self._identity = identity
        self._deadline_s = deadline_s
        self._started_s = started_s
        # Not corrected with the clock: a start is to be told from the one before.
        self._started_at_s = time.time() - (time.monotonic() - started_s)
        self._start_deadline_s = start_deadline_s
        self._tally = Tally()

    def handle(self, result: Result, change: State | None) -> None:
        """Count a result, and the change of the label that it brought; from one thread."""
        self._tally.count(result, change)

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format, version 0.0.4."""
        return _render(lambda: families(self._look()))

    def render_end(self) -> bytes:
        """Return what is left to say when the daemon has ended, in the same format."""
        return _render(lambda: running(self._identity().device, now=False))

    def health(self) -> probes.Verdict:
        """Decide whether the daemon gets on."""
        return probes.health(self._signs(self._tally.look(), self._vitals()))

    def readiness(self) -> probes.Verdict:
        """Decide whether predictions come out."""
        return probes.readiness(self._signs(self._tally.look(), self._vitals()))

    def _look(self) -> Snapshot:
        counts, vitals = self._tally.look(), self._vitals()
        signs = self._signs(counts, vitals)
        return Snapshot(
            identity=self._identity(),
            counts=counts,
            vitals=vitals,
            healthy=probes.health(signs),
            ready=probes.readiness(signs),
            uptime_s=signs.uptime_s,
            started_at_s=self._started_at_s,
            frame_age_s=signs.answered_ago_s,
            deadline_s=signs.deadline_s,
            cpu_s=time.process_time(),
            memory_rss_bytes=self._system.memory_rss_bytes(),
            cpu_temperature_c=self._system.cpu_temperature_c(),
            throttling=self._system.throttling(),
            clock_synchronized=self._system.clock_synchronized(),
        )

    def _signs(self, counts: Counts, vitals: Vitals) -> probes.Signs:
        now_s = time.monotonic()
        camera = vitals.camera
        recovering = camera.state == "recovering"
        return probes.Signs(
            uptime_s=now_s - self._started_s,
            answered_ago_s=None if counts.newest_s is None else now_s - counts.newest_s,
            excused_ago_s=None if vitals.excused_s is None else now_s - vitals.excused_s,
            deadline_s=self._deadline_s(),
            start_deadline_s=self._start_deadline_s,
            paused=vitals.paused,
            recovering=camera.problem or "the camera is being opened" if recovering else None,
            connected=vitals.connected,
            broker_problem=vitals.last_error,
        )


class _Collector:
    """What a registry asks for families."""

    def __init__(self, collect: Callable[[], Iterator["Metric"]]) -> None:
        self.collect = collect


def _render(collect: Callable[[], Iterator["Metric"]]) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(collect))
    return generate_latest(registry)
