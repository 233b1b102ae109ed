"""Whether this process ran all the time, so that deadlines do not count what it was kept from."""

import time

_LONGEST_GAP_S = 3.0


class Suspension:
    """Notices that the process stood still: stopped by a signal, frozen, swapped out, or paused.

    The monotonic clock goes on meanwhile, so that everything looks overdue afterwards.
    """

    def __init__(self, *, longest_gap_s: float = _LONGEST_GAP_S) -> None:
        """Take `longest_gap_s`, more than ever passes between two calls of resumed_s()."""
        self._longest_gap_s = longest_gap_s
        self._asked_s = time.monotonic()
        self._resumed_s = self._asked_s

    def resumed_s(self) -> float:
        """Return since when the process runs without a gap, on the monotonic clock.

        Call it regularly, from one thread.
        """
        now_s = time.monotonic()
        if now_s - self._asked_s > self._longest_gap_s:
            self._resumed_s = now_s
        self._asked_s = now_s
        return self._resumed_s
