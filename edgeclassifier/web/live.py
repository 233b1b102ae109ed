"""The newest result, and who waits for the next one."""

import asyncio
import contextlib
from typing import NamedTuple

from edgeclassifier.contract.results import Result, State

_CHANGES_KEPT = 20


class Seen(NamedTuple):
    """A result and its number; they count from 1."""

    seq: int
    result: Result


class Live:
    """Takes results in the daemon's thread and gives the newest to those that look.

    While nobody looks, a result costs two references.
    """

    def __init__(self) -> None:
        self._newest: Seen | None = None
        self._seq = 0
        self._changes: tuple[State, ...] = ()
        self._awaited = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    def handle(self, result: Result, change: State | None) -> None:
        """Take a result, and the label that holds from now on where it changed."""
        self._seq += 1
        self._newest = Seen(self._seq, result)
        if change is not None:
            self._changes = (*self._changes[1 - _CHANGES_KEPT :], change)
        if self._awaited:
            self._awaited = False
            self.wake()

    @property
    def newest(self) -> Seen | None:
        """The newest result; None before the first."""
        return self._newest

    @property
    def changes(self) -> tuple[State, ...]:
        """The newest changes of the label, the last one is the label that holds."""
        return self._changes

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Say in which loop wait() is called from now on; None: in none."""
        self._loop = loop

    async def wait(self, after: int, *, timeout_s: float) -> None:
        """Wait for a result with a number above `after`, for wake(), or for the end of the time."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            # First said, then looked: a result in between wakes.
            self._awaited = True
            if self._seq <= after:
                await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._waiters.discard(waiter)

    def wake(self) -> None:
        """Let everybody look again. May be called from any thread."""
        loop = self._loop
        if loop is not None:
            # The loop may end at this very moment.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
