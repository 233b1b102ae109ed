"""The stream of server-sent events that keeps a page up to date."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from edgeclassifier.web.device import Box, Device
from edgeclassifier.web.live import Change, Live, Seen

MAX_VIEWERS = 8
_INTERVAL_S = 0.1
"""Results that come faster than this are skipped: too fast to read."""
_STATUS_S = 2.0
_TOO_MANY = f"{MAX_VIEWERS} pages are open already: close one of them."

InThread = Callable[[Callable[[], Mapping[str, Any]]], Awaitable[Mapping[str, Any]]]
"""Runs a function in a thread."""


class Stream:
    """The state that all streams share. Belongs to one event loop."""

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
        """How many streams are open."""
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
        """Yield what is new, until close(). A slow reader gets fewer events, not older ones."""
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
            news = self._live.after(seq)
            for seen in news:
                seq = seen.seq
                yield _event("result", {"seq": seq, **shown_result(seen, self._crop(seen))})
            if news:
                await asyncio.sleep(_INTERVAL_S)
            await self._live.wait(seq, timeout_s=self._status_due_s())

    def _crop(self, seen: Seen) -> Box:
        width, height = seen.size
        return self._device.crop_box(height, width, seen.result.view)

    def _status_due_s(self) -> float:
        return max(0.0, self._status_s + _STATUS_S - time.monotonic())

    async def _current_status(self) -> tuple[int, Mapping[str, Any]]:
        async with self._asking:
            if self._status_due_s() == 0:
                # Taken before asking, so that a change in the meantime is asked for again.
                self._status_s = time.monotonic()
                self._status = await self._in_thread(self._ask)
                self._status_version += 1
            return self._status_version, self._status

    def _ask(self) -> dict[str, Any]:
        return shown_status(self._device.info(), self._device.health())


class _Response(StreamingResponse):
    def __init__(self, stream: Stream) -> None:
        # nginx would collect 4 KiB before it sends anything on.
        super().__init__(
            stream.events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )
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


def shown_result(seen: Seen, crop: Box) -> dict[str, Any]:
    """Describe a result, and where the `crop` was in the frame."""
    result, (width, height) = seen.result, seen.size
    latency = result.latency
    return {
        "view": result.view,
        "origin": result.frame.origin,
        "timestamp": result.frame.utc.isoformat(timespec="milliseconds"),
        "at_s": round(result.frame.monotonic_s, 3),
        "size": [width, height],
        "crop": fractions(crop, width=width, height=height),
        "model": result.model.name,
        "backend": result.backend.name,
        "degraded_reason": result.backend.reason if result.backend.degraded else None,
        "repeated": result.answer_age_s > 0,
        "answer_age_s": round(result.answer_age_s, 1),
        "latency_ms": {
            "inference": round(latency.inference_s * 1000, 2),
            "total": round(latency.total_s * 1000, 2),
        },
        "predictions": [
            {
                "rank": each.rank,
                "name": each.name,
                "label": each.label,
                "score": round(each.score, 5),
            }
            for each in result.predictions
        ],
    }


def fractions(box: Box, *, width: int, height: int) -> list[float]:
    """Return a box in fractions of the frame."""
    x, y, box_width, box_height = box
    shares = (x / width, y / height, box_width / width, box_height / height)
    return [round(share, 5) for share in shares]


def shown_changes(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Describe the changes of the label, newest first.

    Times are given as ages: the visitor's clock is right, a Pi's may not be.
    """
    now_s = time.monotonic()
    return [
        {
            "view": view,
            "name": each.name,
            "label": each.label,
            "known": each.class_id is not None,
            "score": round(each.score, 5),
            "age_s": round(now_s - each.since_s, 1),
        }
        for view, each in reversed(changes)
    ]


def shown_status(info: Mapping[str, Any], health: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what the page shows from the payloads of info and health.

    The page leaves out what is None.
    """
    model, mqtt, buffer = _table(info, "model"), _table(health, "mqtt"), _table(health, "buffer")
    camera, throttling = _table(health, "camera"), _table(health, "throttling")
    config = _table(info, "config")
    return {
        "device": info.get("device"),
        "version": info.get("version"),
        "runtime": info.get("runtime"),
        "model": model.get("name"),
        "models": list(info.get("models") or ()),
        "threshold": _table(config, "state").get("threshold"),
        "broker": _table(config, "mqtt").get("host"),
        "connected": mqtt.get("connected"),
        "mqtt_problem": mqtt.get("last_error"),
        "waiting": buffer.get("pending"),
        "paused": bool(health.get("paused")),
        "source": _table(config, "camera").get("source"),
        "camera": camera.get("state"),
        "camera_problem": camera.get("problem"),
        "view": camera.get("view"),
        "views": _views(info, health),
        "backend": health.get("backend"),
        "degraded_reason": health.get("degraded_reason") if health.get("degraded") else None,
        "temperature_c": health.get("cpu_temperature_c"),
        "throttling": list(throttling.get("now") or ()),
        "uptime_s": health.get("uptime_s"),
    }


def _views(info: Mapping[str, Any], health: Mapping[str, Any]) -> list[dict[str, Any]]:
    configured = bool(_table(_table(info, "config"), "views"))
    now = {each["view"]: each for each in health.get("views", ())}
    return [
        {
            "view": each["view"] if configured else "",
            "name": each["view"],
            "region": each["region"],
            "threshold": each["threshold"],
            "model": each["model"],
            "rate_hz": now.get(each["view"], {}).get("fps"),
            "problem": now.get(each["view"], {}).get("problem"),
        }
        for each in info.get("views", ())
    ]


def _table(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, Mapping) else {}
