"""The routes of the page, the stream and the requests."""

import asyncio
import base64
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edgeclassifier.errors import EdgeclassifierError, PictureError, RequestError
from edgeclassifier.web.access import Guard
from edgeclassifier.web.device import Device, Workers
from edgeclassifier.web.gallery import Gallery
from edgeclassifier.web.live import Live, Pictures, Seen, encode
from edgeclassifier.web.stream import Stream, fractions, shown_result

MAX_PICTURE_BYTES = 20_000_000
_MAX_REQUEST_BYTES = 4096
_MAX_SIDE = 100_000
_ARRIVES_S = 60.0
_CACHED = {"Cache-Control": "no-cache"}
_PAGE = Path(__file__).parent / "page"
_INDEX = "index.html"
_ANY_SHAPE = b'data-shape="normal"'
_WIDE = 1.5
_FILES = {
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/live.js": ("live.js", "text/javascript"),
    "/show.js": ("show.js", "text/javascript"),
    "/kept.js": ("kept.js", "text/javascript"),
    "/rectangle.js": ("rectangle.js", "text/javascript"),
    "/settings.js": ("settings.js", "text/javascript"),
    "/views.js": ("views.js", "text/javascript"),
    "/gallery": ("gallery.html", "text/html"),
    "/gallery.css": ("gallery.css", "text/css"),
    "/gallery.js": ("gallery.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class _TooLargeError(Exception):
    """The request is larger than the limit."""


class Site:
    """Answers requests. Belongs to one event loop."""

    def __init__(self, *, live: Live, device: Device) -> None:
        self._live = live
        self._device = device
        self._workers = Workers()
        self._pictures = Pictures(live, workers=self._workers.short)
        self._stream = Stream(live=live, device=device, in_thread=self._workers.run)
        self._classifying = False

    def app(
        self,
        *,
        password: str | None,
        loopback: bool,
        frame_ancestors: Sequence[str] = (),
        more: Sequence[Route] = (),
    ) -> Starlette:
        """Return the routes and `more` of them behind the guard."""
        routes = [Route(path, _file(*file), methods=["GET"]) for path, file in _FILES.items()]
        routes += [
            Route("/", self._index),
            Route("/live", self._events),
            Route("/live/picture", self._picture),
            Route("/api/crop", self._crop),
            Route("/api/take", self._take, methods=["POST"]),
            Route("/api/classify", self._classify, methods=["POST"]),
            Route("/api/request/{command}", self._request, methods=["POST"]),
            *Gallery(device=self._device, workers=self._workers).routes(),
        ]
        guard = Middleware(
            Guard, password=password, loopback=loopback, frame_ancestors=frame_ancestors
        )
        return Starlette(routes=[*routes, *more], middleware=[guard])

    def close(self) -> None:
        """End the streams, and stop waiting for answers."""
        self._stream.close()
        self._workers.close()

    async def _index(self, _request: Request) -> Response:
        content = (_PAGE / _INDEX).read_bytes()
        if (seen := self._live.newest) is not None:
            # The place of the picture, which stays as it is whatever shapes follow.
            shape = f'data-shape="{_shape(*seen.result.frame.pixels.shape[:2])}"'
            content = content.replace(_ANY_SHAPE, shape.encode())
        return Response(content, media_type="text/html", headers=_CACHED)

    async def _events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return self._stream.response()

    async def _picture(self, _request: Request) -> Response:
        newest = await self._pictures.newest()
        if newest is None:
            return PlainTextResponse("there is no picture yet\n", 404)
        seq, jpeg = newest
        return Response(jpeg, media_type="image/jpeg", headers={"X-Seq": str(seq)})

    async def _crop(self, request: Request) -> Response:
        try:
            width, height = (int(request.query_params[side]) for side in ("width", "height"))
        except (KeyError, ValueError):
            return _refused("say ?width=W&height=H in pixels", 400)
        if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
            return _refused(f"width and height: expected numbers from 1 to {_MAX_SIDE}", 400)
        box = self._device.crop_box(height, width, _view(request))
        return _done({"crop": fractions(box, width=width, height=height)})

    async def _take(self, request: Request) -> Response:
        try:
            return _done(await self._workers.ask(lambda: self._taken(_view(request))))
        except EdgeclassifierError as error:
            return _refused(str(error), 503)

    def _taken(self, view: str) -> dict[str, Any]:
        result = self._device.take(view)
        pixels = result.frame.pixels
        height, width = pixels.shape[:2]
        shown = shown_result(
            Seen(0, result, (width, height)), self._device.crop_box(height, width, view)
        )
        jpeg = base64.b64encode(encode(pixels)).decode()
        return {**shown, "picture": f"data:image/jpeg;base64,{jpeg}"}

    async def _classify(self, request: Request) -> Response:
        # A decoded picture takes many times its size: one at a time.
        if self._classifying:
            return _refused("another picture is being classified: try again in a second", 503)
        self._classifying = True
        try:
            # In a file of its own, which the process that decodes it reads: no copy is made.
            with os.fdopen(os.memfd_create("picture"), "w+b") as picture:
                await _receive(request, picture.write, MAX_PICTURE_BYTES)
                picture.flush()
                view = _view(request)
                answer = await self._workers.ask(lambda: self._device.classify(picture, view))
                return _done(answer)
        except _TooLargeError:
            limit = MAX_PICTURE_BYTES // 1_000_000
            return _refused(f"the picture is too large: the limit is {limit} MB", 413)
        except (ClientDisconnect, TimeoutError):
            return _refused("the request did not arrive", 408)
        except PictureError as error:
            return _refused(str(error), 422)
        except EdgeclassifierError as error:
            return _refused(str(error), 503)
        finally:
            self._classifying = False

    async def _request(self, request: Request) -> Response:
        command = request.path_params["command"]
        try:
            data = _fields(await _body(request, _MAX_REQUEST_BYTES))
            answer = await self._workers.ask(lambda: self._device.request(command, data))
        except _TooLargeError:
            return _refused(f"a request has at most {_MAX_REQUEST_BYTES} bytes", 413)
        except (ClientDisconnect, TimeoutError):
            return _refused("the request did not arrive", 408)
        except EdgeclassifierError as error:
            return _refused(str(error), 400)
        self._stream.refresh()
        return JSONResponse(dict(answer), 200 if answer.get("status") == "ok" else 400)


async def _receive(request: Request, write: Callable[[bytes], object], limit: int) -> None:
    if _stated_size(request) > limit:
        raise _TooLargeError
    size = 0
    async with asyncio.timeout(_ARRIVES_S):
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _TooLargeError
            write(chunk)


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    await _receive(request, body.extend, limit)
    return bytes(body)


def _stated_size(request: Request) -> float:
    try:
        return int(request.headers.get("content-length", "0"))
    except ValueError:  # more digits than Python reads
        return math.inf


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body.strip() or b"{}")
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise RequestError("the request is not a JSON object")
    return fields


def _view(request: Request) -> str:
    return request.query_params.get("view", "")


def _done(data: Mapping[str, Any]) -> Response:
    return JSONResponse({"status": "ok", "data": dict(data)})


def _refused(why: str, status: int) -> Response:
    # Closing the connection discards the unread rest of the request.
    headers = {"Connection": "close"}
    return JSONResponse({"status": "error", "error": why}, status, headers=headers)


def _file(name: str, media_type: str) -> Response:
    content = (_PAGE / name).read_bytes()
    return Response(content, media_type=media_type, headers=_CACHED)


def _shape(height: int, width: int) -> str:
    if width > _WIDE * height:
        return "wide"
    return "tall" if width < height else "normal"
