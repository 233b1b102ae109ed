"""The newest result and its picture, and the viewers that wait for the next one."""

import asyncio
import contextlib
import io
import time
from concurrent.futures import Executor
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.orientation import as_stored
from edgeclassifier.contract.results import Result, State

_CHANGES_KEPT = 100
"""Of all views together: 20 of them, with 5 changes each, are shown whole."""
_NO_PIXELS: Pixels = np.zeros((0, 0, 3), np.uint8)
_LONG_SIDE = 960
_QUALITY = 80
_REDUCING_GAP = 1.5
_INTERVAL_S = 0.08
"""However many viewers there are, and however fast frames come, an eye sees no more."""


class Seen(NamedTuple):
    """A result and its number; they count from 1."""

    seq: int
    result: Result
    """Without the frame's pixels, unless it is the newest of all."""
    size: tuple[int, int]
    """Width and height of the frame in pixels."""


class Change(NamedTuple):
    """A change of the stable label in a view."""

    view: str
    state: State


class Live:
    """Takes results in the daemon's thread and gives the newest to the viewers.

    Without viewers, a result costs little, and only the newest frame is held.
    """

    def __init__(self) -> None:
        self._newest: Seen | None = None
        self._by_view: dict[str, Seen] = {}
        self._seq = 0
        self._changes: tuple[Change, ...] = ()
        self._awaited = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    def handle(self, result: Result, change: State | None) -> None:
        """Take a result, and the new stable label if it has changed."""
        self._seq += 1
        height, width = result.frame.pixels.shape[:2]
        seen = self._newest = Seen(self._seq, result, (width, height))
        # Of several views each has a frame of its own, and frames are large.
        self._by_view[result.view] = seen._replace(result=_light(result)) if result.view else seen
        if change is not None:
            self._changes = (*self._changes[1 - _CHANGES_KEPT :], Change(result.view, change))
        if self._awaited:
            self._awaited = False
            self.wake()

    @property
    def newest(self) -> Seen | None:
        """The newest result; None before the first."""
        return self._newest

    def after(self, seq: int) -> list[Seen]:
        """Return the newest result of each view that has one with a number above `seq`."""
        return sorted(each for each in list(self._by_view.values()) if each.seq > seq)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The newest changes of the stable labels; the last one of a view is its present label."""
        return self._changes

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Say in which loop wait() is called from now on; None: in none."""
        self._loop = loop

    async def wait(self, after: int, *, timeout_s: float) -> None:
        """Wait for a result with a number above `after`, for wake(), or for the end of the time."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            # Set before the look, so that a result in between wakes.
            self._awaited = True
            if self._seq <= after:
                await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._waiters.discard(waiter)

    def wake(self) -> None:
        """Let every viewer look again. May be called from any thread."""
        loop = self._loop
        if loop is not None:
            # The loop may end at this very moment.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


def _light(result: Result) -> Result:
    return replace(result, frame=replace(result.frame, pixels=_NO_PIXELS), crop=_NO_PIXELS)


class Pictures:
    """Encodes the newest frame on request, once for all viewers. Belongs to one event loop."""

    def __init__(self, live: Live, *, workers: Executor) -> None:
        """Encode in `workers`."""
        self._live = live
        self._workers = workers
        self._lock = asyncio.Lock()
        self._seq = 0
        self._jpeg = b""
        self._encoded_s = float("-inf")

    async def newest(self) -> tuple[int, bytes] | None:
        """Return the newest frame's number and JPEG, or those of a moment ago."""
        async with self._lock:
            seen = self._live.newest
            if seen is None:
                return None
            fresh = time.monotonic() - self._encoded_s < _INTERVAL_S
            if seen.seq != self._seq and not fresh:
                await self._encode(seen)
            return self._seq, self._jpeg

    async def _encode(self, seen: Seen) -> None:
        loop = asyncio.get_running_loop()
        pixels = seen.result.frame.pixels
        self._jpeg = await loop.run_in_executor(self._workers, encode, pixels)
        self._seq, self._encoded_s = seen.seq, time.monotonic()


def encode(pixels: Pixels) -> bytes:
    """Encode H x W x 3 RGB as a JPEG of at most 960 pixels a side."""
    from PIL import Image

    stored, upright = as_stored(pixels)
    image = Image.fromarray(stored)
    image.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.BILINEAR, _REDUCING_GAP)
    buffer = io.BytesIO()
    Image.fromarray(upright.turn(np.asarray(image))).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
