"""Holding a source back to a rate."""

import time


class Pace:
    """When the next frame is due: without drift, and without a burst after a stall."""

    def __init__(self, *, rate_hz: float) -> None:
        if rate_hz < 0:
            raise ValueError(f"rate_hz is {rate_hz}, must be 0 (no limit) or more")
        self._period_s = 1 / rate_hz if rate_hz else 0.0
        self._due_s = time.monotonic()

    def wait_s(self) -> float:
        """Seconds until the next frame is due, 0 when it is."""
        return max(0.0, self._due_s - time.monotonic())

    def sleep(self, timeout_s: float) -> bool:
        """Sleep until the next frame is due, `timeout_s` at most; say whether it is due."""
        wait_s = self.wait_s()
        time.sleep(min(wait_s, max(0.0, timeout_s)))
        return wait_s <= timeout_s

    def taken(self) -> None:
        """Count a frame as taken now."""
        now = time.monotonic()
        self._due_s += self._period_s
        if self._due_s <= now:
            self._due_s = now + self._period_s
