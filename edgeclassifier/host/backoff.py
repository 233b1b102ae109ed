"""How long to wait before the next attempt."""

import random
from collections.abc import Callable


class Backoff:
    """Exponential, capped, with full jitter, so that a fleet does not return in step."""

    def __init__(
        self,
        *,
        min_s: float,
        max_s: float,
        # Spreads load, guards no secret.
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if not 0 < min_s <= max_s:
            raise ValueError(f"not 0 < {min_s} <= {max_s}")
        self._min_s = min_s
        self._max_s = max_s
        self._uniform = uniform
        self._ceiling_s = min_s

    def next_s(self) -> float:
        """Return the seconds to wait now; the range doubles with every call until reset()."""
        self._ceiling_s = min(2 * self._ceiling_s, self._max_s)
        return self._uniform(self._min_s, self._ceiling_s)

    def first_s(self) -> float:
        """Return the seconds that the first wait takes, without counting it."""
        return self._uniform(self._min_s, min(2 * self._min_s, self._max_s))

    def slow_s(self) -> float:
        """Return the seconds to wait if only a person can help: the far half of the range."""
        return self._uniform(max(self._min_s, self._max_s / 2), self._max_s)

    def reset(self) -> None:
        """Start over with short waits."""
        self._ceiling_s = self._min_s
