"""Threads beside the event loop: for what takes its time."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from edgeclassifier.errors import RequestError
from edgeclassifier.host.priority import be_nice

_NICE = 5
"""Whoever looks may take a little from the interpreter, and not half of it."""
_MAX_WAITS = 4

T = TypeVar("T")


class Workers:
    """Runs functions in threads. Belongs to one event loop."""

    def __init__(self) -> None:
        self.short: Executor = ThreadPoolExecutor(2, "web-work", initializer=give_way)
        """For what never hangs."""
        self._waits = 0
        self._closing = asyncio.Event()

    async def run(self, function: Callable[[], T]) -> T:
        """Run what never hangs."""
        return await asyncio.get_running_loop().run_in_executor(self.short, function)

    async def ask(self, function: Callable[[], T]) -> T:
        """Run what may take long, or hang: in a thread that nobody waits for in the end.

        Raises what `function` raises, and RequestError where it is not to be waited for.
        """
        if self._waits >= _MAX_WAITS:
            raise RequestError("too many requests at a time: try again in some seconds")
        source: Future[T] = Future()
        threading.Thread(
            target=_answer, args=(function, source), name="web-request", daemon=True
        ).start()
        future = asyncio.wrap_future(source)
        closing = asyncio.ensure_future(self._closing.wait())
        self._waits += 1
        try:
            await asyncio.wait((future, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waits -= 1
            closing.cancel()
        if future.done():
            return future.result()
        future.cancel()
        raise RequestError("the daemon ends")

    def close(self) -> None:
        """Wait for nothing any more."""
        self._closing.set()
        self.short.shutdown(wait=False, cancel_futures=True)


def give_way() -> None:
    """Let the calling thread leave the cores to others."""
    if os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < _NICE:
        be_nice(_NICE)


def _answer(function: Callable[[], T], future: "Future[T]") -> None:
    give_way()
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - raised again where it was asked
        future.set_exception(error)
