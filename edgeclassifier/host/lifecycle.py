"""Starts parts in order and stops them in the opposite one, whatever goes wrong in between."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)


class Running:
    """What runs while the context lasts.

    Each step of the stopping is isolated: what goes wrong in one is logged and does not keep the
    next from running. It is raised in the end, unless the context itself ended by an exception.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], None]]] = []

    def start(
        self, name: str, start: Callable[[], None], *, stop: Callable[[], None] | None = None
    ) -> None:
        """Call `start`; `stop` is called at the end, also if `start` gets only half-way."""
        if stop is not None:
            self._steps.append((name, stop))
        start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure: Exception | None = None
        while self._steps:
            name, stop = self._steps.pop()
            try:
                stop()
            except Exception as problem:
                log.exception("%s: did not stop as it should", name)
                failure = failure or problem
        if failure is not None and error is None:
            raise failure
