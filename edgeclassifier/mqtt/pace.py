"""How fast a backlog is sent: no faster than a broker bears beside what is new."""

from __future__ import annotations

_BURST_S = 0.2
"""What may be sent at once, as a share of a second."""
_LEAST_HZ = 1.0
_RECOVERY_S = 10.0
"""After this long without trouble the rate grows by a tenth."""
_RECOVERY = 1.1
_TROUBLE_S = 1.0
"""Several refusals within this time are one trouble."""


class Pace:
    """A rate that halves when the broker objects, and recovers slowly."""

    def __init__(self, *, rate_hz: float) -> None:
        """`rate_hz` is the limit; 0 is none."""
        self.limit_hz = self.rate_hz = rate_hz
        self._tokens = 0.0
        self._counted_s = self._recovered_s = self._trouble_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait until one more message may be sent; 0 if it may now."""
        if not self.limit_hz:
            return 0.0
        if now_s - self._recovered_s > _RECOVERY_S:
            self._recovered_s = now_s
            self.rate_hz = min(self.limit_hz, self.rate_hz * _RECOVERY)
        burst = max(1.0, self.rate_hz * _BURST_S)
        self._tokens = min(burst, self._tokens + (now_s - self._counted_s) * self.rate_hz)
        self._counted_s = now_s
        return max(0.0, (1.0 - self._tokens) / self.rate_hz)

    def spend(self, messages: int = 1) -> None:
        """Count messages."""
        self._tokens -= messages

    def slower(self, now_s: float) -> None:
        """Halve the rate: messages came too fast for the broker."""
        if self.limit_hz and now_s - self._trouble_s > _TROUBLE_S:
            self.rate_hz = max(min(_LEAST_HZ, self.limit_hz), self.rate_hz / 2)
            self._recovered_s = self._trouble_s = now_s
