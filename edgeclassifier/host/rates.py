"""Rate limits on the monotonic clock."""


class RateLimit:
    """Lets events through at no more than a rate, on the average.

    An event may come up to half an interval early: a steady source of just the allowed rate,
    with the jitter that every source has, would otherwise lose every second event.
    """

    def __init__(self, *, max_rate_hz: float) -> None:
        """`max_rate_hz` 0 lets everything through."""
        self._interval_s = 1 / max_rate_hz if max_rate_hz else 0.0
        self._due_s = float("-inf")

    def allows(self, now_s: float) -> bool:
        """Tell whether the event at `now_s` goes through, and count it if it does."""
        if now_s < self._due_s - self._interval_s / 2:
            return False
        self._due_s = max(now_s, self._due_s) + self._interval_s
        return True


class TokenBucket:
    """Lets events through at no more than a rate, after a burst that was saved up for."""

    def __init__(self, *, rate_hz: float, burst: int) -> None:
        """Begin with all of `burst` saved up."""
        self._rate_hz = rate_hz
        self._burst = self._tokens = float(burst)
        self._counted_s = float("-inf")

    def allows(self, now_s: float) -> bool:
        """Tell whether the event at `now_s` goes through, and count it if it does."""
        saved = (now_s - self._counted_s) * self._rate_hz
        self._tokens = min(self._burst, self._tokens + saved)
        self._counted_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
