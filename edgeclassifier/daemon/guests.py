"""Guests of the daemon: optional observers, without which it works."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from edgeclassifier.contract.status import GuestStatus
from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.host.backoff import Backoff
from edgeclassifier.host.threads import OnDeath

_PAUSE_MIN_S = 1.0
_PAUSE_MAX_S = 60.0

log = logging.getLogger(__name__)


class Guest(Protocol):
    """An optional observer. One that has stopped is not started again: another one is made."""

    def start(self) -> None:
        """Begin. Raises ConfigError if the configuration does not allow that."""

    def stop(self) -> None:
        """End within a second or so, also if it has died or was never started."""


MakeGuest = Callable[[OnDeath], Guest]
"""Makes a guest, which tells of the death of its threads. May raise ConfigError."""


class Guests:
    """Starts guests, and starts those again that die. For one thread, but for `status`."""

    def __init__(
        self,
        makes: Mapping[str, MakeGuest],
        *,
        pause_min_s: float = _PAUSE_MIN_S,
        pause_max_s: float = _PAUSE_MAX_S,
    ) -> None:
        """Take what makes each guest, by name.

        `pause_min_s` to `pause_max_s` pass between a death and the new start.
        """
        self._keepers = [
            _Keeper(name, make, pause_min_s=pause_min_s, pause_max_s=pause_max_s)
            for name, make in makes.items()
        ]

    def start(self) -> None:
        """Start all, in order. If one raises, stop those before it and let the exception pass."""
        try:
            for keeper in self._keepers:
                keeper.start()
        except BaseException:
            self.stop()
            raise

    def look_after(self) -> None:
        """Stop the guests that have died, and start them again when it is time."""
        now_s = time.monotonic()
        for keeper in self._keepers:
            keeper.look_after(now_s)

    @property
    def status(self) -> tuple[GuestStatus, ...]:
        """The state of each guest. May be read from any thread."""
        return tuple(keeper.status for keeper in self._keepers)

    def stop(self) -> None:
        """Stop all in reverse order, each even if another one fails to."""
        for keeper in reversed(self._keepers):
            keeper.stop()


class _Keeper:
    """Keeps one guest running."""

    def __init__(
        self, name: str, make: MakeGuest, *, pause_min_s: float, pause_max_s: float
    ) -> None:
        self.status = GuestStatus(name=name, state="waiting")
        self._make = make
        self._backoff = Backoff(min_s=pause_min_s, max_s=pause_max_s)
        self._settled_after_s = pause_max_s
        self._guest: Guest | None = None
        self._deaths: list[BaseException] = []
        self._started_s = 0.0
        self._due_s = math.inf

    def start(self) -> None:
        # A new list for each guest, so that a late death of the previous one does not count.
        self._deaths = []
        self._guest = self._make(self._deaths.append)
        self._guest.start()
        self._started_s = time.monotonic()
        self.status = replace(self.status, state="running")

    def look_after(self, now_s: float) -> None:
        if self._guest is None:
            if now_s >= self._due_s:
                self._restart()
        elif self._deaths:
            self._end(_named(self._deaths[0]))
        elif self.status.problem is not None and now_s - self._started_s > self._settled_after_s:
            self._settle()

    def stop(self) -> None:
        self._due_s = math.inf
        guest, self._guest = self._guest, None
        if guest is not None:
            with _logged(f"{self.status.name} could not be stopped"):
                guest.stop()

    def _restart(self) -> None:
        self.status = replace(self.status, restarts=self.status.restarts + 1)
        try:
            self.start()
        except EdgeclassifierError as error:
            self._end(str(error))
        except Exception as error:
            log.exception("%s could not be started", self.status.name)
            self._end(_named(error))

    def _end(self, problem: str) -> None:
        self.stop()
        if problem != self.status.problem:
            log.warning("%s does not run: %s: trying again", self.status.name, problem)
        self.status = replace(self.status, state="waiting", problem=problem)
        self._due_s = time.monotonic() + self._backoff.next_s()

    def _settle(self) -> None:
        self._backoff.reset()
        log.info("%s runs again", self.status.name)
        self.status = replace(self.status, problem=None)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


@contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception(what)
