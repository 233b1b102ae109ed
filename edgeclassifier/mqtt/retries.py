"""When to connect again, and what the log says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeclassifier.host.backoff import Backoff
from edgeclassifier.mqtt.linklog import LinkLog

if TYPE_CHECKING:
    from edgeclassifier.errors import BrokerError

_STEADY_WAITS = 10
"""A connection that lasted this many of the shortest waits is a good one."""


class Retries:
    """Waits longer after each failure, until a connection has lasted."""

    def __init__(self, *, name: str, min_s: float, max_s: float) -> None:
        self.steady_after_s = _STEADY_WAITS * min_s
        self.last_error: str | None = None
        self._backoff = Backoff(min_s=min_s, max_s=max_s)
        self._link = LinkLog(name=name)

    @staticmethod
    def problems(min_s: float, max_s: float) -> list[str]:
        """Return what is wrong with a range of waits, if anything is."""
        if 0 < min_s <= max_s:
            return []
        return [f"MQTT: reconnecting after {min_s} to {max_s} s is no range of positive times"]

    def note_up(self) -> None:
        """Note that the broker has accepted a connection."""
        self._link.up()

    def note_steady(self) -> None:
        """Note that it has lasted."""
        self._backoff.reset()
        self._link.steady()

    def wait_s(self, error: BrokerError, *, for_good: bool, soon: bool, quiet: bool) -> float:
        """Take the reason of a failure; return how long to wait before the next attempt.

        `for_good`: only a person can help. `soon`: what the broker does not like is to be found
        out. `quiet`: it was interrupted anyway.
        """
        self.last_error = str(error)
        if not quiet:
            self._link.down(self.last_error)
        if for_good:
            return self._backoff.slow_s()
        return self._backoff.first_s() if soon else self._backoff.next_s()

    def begin(self, name: str) -> None:
        """Start over, with another broker."""
        self._backoff.reset()
        self._link = LinkLog(name=name)
