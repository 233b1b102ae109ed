"""What was expected, what came, and when: each expectation is one line."""

import time
from collections.abc import Callable

PATIENCE_S = 30.0
"""Upper bound of a wait where nothing else is said."""
_POLL_S = 0.1


class Checks:
    """Collects expectations; one that fails does not hide the next."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.passed = self.failed = 0
        self._say = say

    def section(self, title: str) -> None:
        """Say what comes now."""
        self._say(f"\n{title}")

    def that(self, text: str, look: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until `look` returns something true, which is shown; return whether it did."""
        start_s = time.monotonic()
        seen = look()
        while not seen and time.monotonic() - start_s < timeout_s:
            time.sleep(_POLL_S)
            seen = look()
        took_s = time.monotonic() - start_s
        shown = "" if seen is True or not seen else f": {seen}"
        self.passed += bool(seen)
        self.failed += not seen
        self._say(f"  {'ok    ' if seen else 'FAILED'} {took_s:5.1f} s  {text}{shown}")
        return bool(seen)

    def equal(
        self,
        text: str,
        look: Callable[[], object],
        wanted: object,
        *,
        timeout_s: float = PATIENCE_S,
    ) -> bool:
        """Wait until `look` returns `wanted`; show what it returned last."""
        start_s = time.monotonic()
        while (seen := look()) != wanted and time.monotonic() - start_s < timeout_s:
            time.sleep(_POLL_S)
        took_s = time.monotonic() - start_s
        ok = seen == wanted
        self.passed += ok
        self.failed += not ok
        instead = "" if ok else f", not {wanted!r}"
        self._say(f"  {'ok    ' if ok else 'FAILED'} {took_s:5.1f} s  {text}: {seen!r}{instead}")
        return ok
