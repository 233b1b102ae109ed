"""A rate limit on the monotonic clock."""


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
