"""The daemon's metrics, rendered on request, and what a web server answers with."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from edgeclassifier.contract.status import Status
from edgeclassifier.metrics import probes
from edgeclassifier.metrics.families import Identity, Snapshot, families, running
from edgeclassifier.metrics.tally import Counts, Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from starlette.routing import Route

_START_DEADLINE_S = 300.0
"""As long as the service manager waits for the first classified frame."""
_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_NOT_STORED = {"Cache-Control": "no-store"}


class Metrics:
    """What the operators of many devices want to know. For any thread."""

    def __init__(
        self,
        *,
        tally: Tally,
        status: Callable[[], Status],
        identity: Callable[[], Identity],
        deadline_s: Callable[[], float],
        started_s: float,
        start_deadline_s: float = _START_DEADLINE_S,
    ) -> None:
        """Take what tells of the other parts, from any thread.

        The time from one answered frame to the next is at most `deadline_s()`, that from the start
        to the first `start_deadline_s`; `started_s` is on the monotonic clock.
        """
        self.tally = tally
        self._status = status
        self._identity = identity
        self._deadline_s = deadline_s
        self._started_s = started_s
        # Not corrected with the clock, so that it changes with a new start only.
        self._started_at_s = time.time() - (time.monotonic() - started_s)
        self._start_deadline_s = start_deadline_s

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format, version 0.0.4."""
        return _render(lambda: families(self._look()))

    def render_end(self) -> bytes:
        """Return that the daemon has ended, in the same format."""
        return _render(lambda: running(self._identity().device, now=False))

    def health(self) -> probes.Verdict:
        """Decide whether the daemon is making progress."""
        return probes.health(self._signs(self.tally.look(), self._status()))

    def readiness(self) -> probes.Verdict:
        """Decide whether predictions are published."""
        return probes.readiness(self._signs(self.tally.look(), self._status()))

    def _look(self) -> Snapshot:
        counts, status = self.tally.look(), self._status()
        signs = self._signs(counts, status)
        return Snapshot(
            identity=self._identity(),
            counts=counts,
            status=status,
            healthy=probes.health(signs),
            ready=probes.readiness(signs),
            uptime_s=signs.uptime_s,
            started_at_s=self._started_at_s,
            frame_age_s=signs.answered_ago_s,
            deadline_s=signs.deadline_s,
            cpu_s=time.process_time(),
        )

    def _signs(self, counts: Counts, status: Status) -> probes.Signs:
        now_s = time.monotonic()
        camera = status.pipeline.camera
        recovering = camera.state == "recovering"
        return probes.Signs(
            uptime_s=now_s - self._started_s,
            answered_ago_s=None if counts.newest_s is None else now_s - counts.newest_s,
            excused_ago_s=None if status.excused_s is None else now_s - status.excused_s,
            deadline_s=self._deadline_s(),
            start_deadline_s=self._start_deadline_s,
            paused=status.pipeline.paused,
            recovering=camera.problem or "the camera is being opened" if recovering else None,
            connected=status.mqtt.connected,
            broker_problem=status.mqtt.last_error,
        )


class _Collector:
    """Collects families for a registry."""

    def __init__(self, collect: Callable[[], Iterator["Metric"]]) -> None:
        self.collect = collect


def _render(collect: Callable[[], Iterator["Metric"]]) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(collect))
    return generate_latest(registry)


def metrics_route(render: Callable[[], bytes]) -> "Route":
    """Answer /metrics with what `render` returns, in Prometheus's text format."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    # Not a coroutine, so that Starlette calls it in a thread, and the server stays responsive.
    def answer(_request: Request) -> Response:
        return Response(render(), headers={**_NOT_STORED, "Content-Type": _TEXT_FORMAT})

    return Route("/metrics", answer)


def probe_route(path: str, judge: Callable[[], probes.Verdict]) -> "Route":
    """Answer `path` with 200 if the verdict is good, else with 503, and the reasons as JSON."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def answer(_request: Request) -> Response:
        verdict = judge()
        return JSONResponse(
            {"status": "ok" if verdict.ok else "failing", "reasons": list(verdict.reasons)},
            status_code=200 if verdict.ok else 503,
            headers=_NOT_STORED,
        )

    return Route(path, answer)
