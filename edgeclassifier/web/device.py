"""The daemon as the page sees it, and the threads in which the page asks it."""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, BinaryIO, Protocol, TypeVar

from edgeclassifier.contract.results import Result
from edgeclassifier.errors import RequestError
from edgeclassifier.host import threads
from edgeclassifier.host.priority import be_nice

_NICE = 5
"""Viewers may take a little from the interpreter, but not half of it."""
_MAX_WAITS = 4

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""

T = TypeVar("T")


class Device(Protocol):
    """The running daemon, asked from several threads of the server at a time.

    What cannot be done raises EdgeclassifierError, whose text is shown to the visitor.
    """

    def info(self) -> Mapping[str, Any]:
        """Return the payload of the topic info."""

    def health(self) -> Mapping[str, Any]:
        """Return the payload of the topic health."""

    def request(self, command: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carry out a command as one that came over MQTT; return `status`, `data` or `error`.

        May take as long as a model takes to be loaded.
        """

    def take(self, view: str) -> Result:
        """Classify the next frame in a view, also while paused. "" is the first view."""

    def kept_picture(self, number: str) -> bytes:
        """Return the JPEG of a kept picture."""

    def throw_away(self, number: str) -> None:
        """Remove a kept picture."""

    def classify(self, picture: BinaryIO, view: str) -> Mapping[str, Any]:
        """Classify the picture in a file of the system; return the fields of a prediction."""

    def crop_box(self, height: int, width: int, view: str) -> Box:
        """Return which part of a frame of that size is classified in a view, if that is there."""


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
        """Run what may take long, or hang: in a thread that close() does not wait for.

        Raises what `function` raises, and RequestError if too many wait already or it is closed.
        """
        if self._waits >= _MAX_WAITS:
            raise RequestError("too many requests at a time: try again in some seconds")
        answer: Future[T] = Future()
        # Its death costs one answer, not the server.
        threads.start(
            _answer, args=(function, answer), name="web-request", on_death=answer.set_exception
        )
        future = asyncio.wrap_future(answer)
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
        """Stop waiting for answers."""
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
    except BaseException as error:  # noqa: BLE001 - raised again in the waiting task
        future.set_exception(error)
