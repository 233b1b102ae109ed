"""The stream of server-sent events that keeps a page up to date."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from edgeclassifier.web.device import Device
from edgeclassifier.web.live import Live
from edgeclassifier.web.view import shown_changes, shown_result, shown_status

MAX_VIEWERS = 8
_INTERVAL_S = 0.1
"""Results that come faster than this are skipped: nobody could read them."""
_STATUS_S = 2.0
_TOO_MANY = f"{MAX_VIEWERS} pages are open already: close one of them."

InThread = Callable[[Callable[[], Mapping[str, Any]]], Awaitable[Mapping[str, Any]]]
"""Runs a function in a thread."""


class Stream:
    """What all streams share. Belongs to one event loop."""

    def __init__(self, *, live: Live, device: Device, in_thread: InThread) -> None:
        self._live = live
        self._device = device
        self._in_thread = in_thread
        self._instance = uuid.uuid4().hex
        self._viewers = 0
        self._closed = False
        self._status: Mapping[str, Any] = {}
        self._status_version = 0
        self._status_s = float("-inf")
        self._asking = asyncio.Lock()

    @property
    def viewers(self) -> int:
        """How many look."""
        return self._viewers

    def response(self) -> "_Response":
        """Answer the request of another viewer."""
        return _Response(self)

    def refresh(self) -> None:
        """Show the status at once: something was changed."""
        self._status_s = float("-inf")
        self._live.wake()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._live.wake()

    def enter(self) -> bool:
        """Let a viewer in, if there is room."""
        if self._closed or self._viewers >= MAX_VIEWERS:
            return False
        self._viewers += 1
        return True

    def leave(self) -> None:
        """Let a viewer go."""
        self._viewers -= 1

    async def events(self) -> AsyncIterator[bytes]:
        """Say what is new, until close(). Somebody who reads slowly gets less, not later."""
        seq, status_version, changes = 0, 0, None
        yield _event("hello", {"instance": self._instance})
        while not self._closed:
            version, status = await self._current_status()
            if version != status_version:
                status_version = version
                yield _event("status", status)
            if changes is not self._live.changes:
                changes = self._live.changes
                yield _event("changes", shown_changes(changes))
            seen = self._live.newest
            if seen is not None and seen.seq != seq:
                seq = seen.seq
                height, width = seen.result.frame.pixels.shape[:2]
                crop = self._device.crop_box(height, width)
                yield _event("result", {"seq": seq, **shown_result(seen.result, crop)})
                await asyncio.sleep(_INTERVAL_S)
            await self._live.wait(seq, timeout_s=self._status_due_s())

    def _status_due_s(self) -> float:
        return max(0.0, self._status_s + _STATUS_S - time.monotonic())

    async def _current_status(self) -> tuple[int, Mapping[str, Any]]:
        async with self._asking:
            if self._status_due_s() == 0:
                # From before the question: what changes meanwhile is asked for again.
                self._status_s = time.monotonic()
                self._status = await self._in_thread(self._ask)
                self._status_version += 1
            return self._status_version, self._status

    def _ask(self) -> dict[str, Any]:
        return shown_status(self._device.info(), self._device.health())


class _Response(StreamingResponse):
    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.events(), media_type="text/event-stream")
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._stream.enter():
            refusal = PlainTextResponse(_TOO_MANY, 503, headers={"Retry-After": "5"})
            await refusal(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.leave()


def _event(name: str, data: object) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode(errors="replace")
