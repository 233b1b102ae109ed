"""Says what became of the link when it changes, and stays quiet in between."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class LinkLog:
    """Logs each reason for being offline once, and each return once.

    A link that comes up and breaks again is not back: after such a short connection the next
    return is announced only when it has lasted (`steady`).
    """

    def __init__(self, *, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._said: set[str] = set()
        self._down_since: float | None = None
        self._unsettled = False
        self._announced = False

    def down(self, reason: str) -> None:
        """Note that there is no connection, and why: one line that says what to do."""
        if self._down_since is None:
            self._down_since = self._clock()
        self._announced = False
        level = logging.DEBUG if reason in self._said else logging.WARNING
        logger.log(level, "%s (trying again in the background)", reason)
        self._said.add(reason)

    def up(self) -> None:
        """Note that the broker accepted the connection."""
        if not self._unsettled:
            self._announce()
        self._unsettled = True

    def steady(self) -> None:
        """Note that the connection has lasted; may be called repeatedly."""
        if not self._announced:
            self._announce()
        self._unsettled = False
        self._said.clear()

    def _announce(self) -> None:
        self._announced = True
        if self._down_since is None:
            logger.info("%s: connected", self._name)
        else:
            away_s = self._clock() - self._down_since
            logger.info("%s: connected again after %.0f s", self._name, away_s)
        self._down_since = None
