"""Threads that do not die unnoticed."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeclassifier.errors import ThreadDiedError

OnDeath = Callable[[BaseException], None]
"""Is told, in the thread that dies, what ended it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The unexpected end of a thread that the process cannot do without."""

    name: str
    reason: str


_deaths: list[Death] = []


def start(
    target: Callable[..., None],
    *,
    name: str,
    args: tuple[Any, ...] = (),
    on_death: OnDeath | None = None,
) -> threading.Thread:
    """Run `target` in a thread that does not keep the process from ending.

    An exception that leaves `target` is logged. Then it goes to `on_death`; without one the process
    cannot do without this thread, and check() raises from then on.
    """
    thread = threading.Thread(
        target=_run, args=(target, args, name, on_death or _noted(name)), name=name, daemon=True
    )
    thread.start()
    return thread


def check() -> None:
    """Raise ThreadDiedError if a thread has died that the process cannot do without."""
    if _deaths:
        first = _deaths[0]
        raise ThreadDiedError(f"the thread {first.name!r} died of a fault: {first.reason}")


def take_deaths() -> list[Death]:
    """Return the deaths that check() would raise for, and forget them."""
    deaths = _deaths.copy()
    _deaths.clear()
    return deaths


def _run(target: Callable[..., None], args: tuple[Any, ...], name: str, on_death: OnDeath) -> None:
    try:
        target(*args)
    except BaseException as error:
        log.critical("the thread %r died of a fault", name, exc_info=True)
        on_death(error)


def _noted(name: str) -> OnDeath:
    def note(error: BaseException) -> None:
        _deaths.append(Death(name=name, reason=f"{type(error).__name__}: {error}"))

    return note
