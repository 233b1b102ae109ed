"""What waited for a connection: sent at a pace of its own beside what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeclassifier.mqtt.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgeclassifier.buffer.parcel import Buffer, Kept

_IN_ORDER_S = 10.0
"""A backlog that takes longer lets new messages overtake it."""


class Backlog:
    """Takes from the buffer, slowly what was there when the connection began.

    Belongs to the outbox's lock.
    """

    def __init__(self, buffer: Buffer, *, rate_hz: float) -> None:
        """`rate_hz` is the limit of what was there; 0 is none."""
        self._buffer = buffer
        self._pace = Pace(rate_hz=rate_hz)
        self.end = 0
        """What has a lower number in the buffer is backlog."""
        self.catching_up = False

    def begin(self) -> None:
        """Call what waits the backlog: a connection stands."""
        in_order = _IN_ORDER_S * self._pace.limit_hz or float("inf")
        self.end = self._buffer.begin(most_in_order=in_order)
        self.catching_up = True

    def take(self, held: Collection[str], *, now_s: float, at_once: bool) -> Kept | None:
        """Return the next message of topics that are not `held`, or None, while catching up.

        `at_once` sends the backlog without pauses.
        """
        backlog = at_once or not self._pace.wait_s(now_s)
        kept = self._buffer.take(held=held, backlog=backlog)
        if kept is None:
            self.catching_up = not (backlog and not held)
        return kept

    def spend(self, messages: int) -> None:
        """Count messages of the backlog that are sent."""
        self.catching_up = True
        self._pace.spend(messages)

    def wait_s(self, now_s: float) -> float:
        """Return how long the backlog has to wait until more of it may be sent."""
        return self._pace.wait_s(now_s) if self.catching_up else 0.0

    def slower(self, now_s: float) -> None:
        """Halve the pace: it was too fast for the broker."""
        self._pace.slower(now_s)
