"""The kept pictures on the page: each one, and its way into the bin."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgeclassifier.contract.kept import is_id
from edgeclassifier.errors import EdgeclassifierError, RequestError
from edgeclassifier.web.device import Device, Workers

_AT_A_TIME = 2
"""A browser asks for many at once; other requests are to have their turn."""


class Gallery:
    """Answers for single pictures; lists and labels are requests like any other."""

    def __init__(self, *, device: Device, workers: Workers) -> None:
        self._device = device
        self._workers = workers
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (
            Route("/kept/{id}.jpg", self._picture, methods=["GET"]),
            Route("/api/kept/{id}/throw_away", self._throw_away, methods=["POST"]),
        )

    async def _picture(self, request: Request) -> Response:
        number = request.path_params["id"]
        try:
            _check(number)
            async with self._turns:
                jpeg = await self._workers.ask(lambda: self._device.kept_picture(number))
        except RequestError as error:
            return _refused(error, 404)
        except EdgeclassifierError as error:
            return _refused(error, 503)
        return Response(jpeg, media_type="image/jpeg")

    async def _throw_away(self, request: Request) -> Response:
        number = request.path_params["id"]
        try:
            _check(number)
            await self._workers.ask(lambda: self._device.throw_away(number))
        except EdgeclassifierError as error:
            return _refused(error, 400)
        return JSONResponse({"status": "ok", "data": {}})


def _check(number: str) -> None:
    if not is_id(number):
        raise RequestError("that is no id of a kept picture")


def _refused(error: EdgeclassifierError, status: int) -> Response:
    return JSONResponse({"status": "error", "error": str(error)}, status)
