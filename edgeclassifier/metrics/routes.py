"""What a web server answers with: the metrics, and two probes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeclassifier.metrics.probes import Verdict

if TYPE_CHECKING:
    from starlette.routing import Route

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_NOT_STORED = {"Cache-Control": "no-store"}


def metrics_route(render: Callable[[], bytes]) -> "Route":
    """Answer /metrics with what `render` returns, in Prometheus's text format."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    # Not a coroutine, so that Starlette calls it in a thread, and the server stays responsive.
    def answer(_request: Request) -> Response:
        return Response(render(), headers={**_NOT_STORED, "Content-Type": _TEXT_FORMAT})

    return Route("/metrics", answer)


def probe_route(path: str, judge: Callable[[], Verdict]) -> "Route":
    """Answer `path` with 200 where the verdict is good, else with 503, and the reasons as JSON."""
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
