"""Says in the log that it works: the first prediction, then each change of the state."""

import logging
import time
from collections.abc import Callable

from edgeclassifier.contract.results import Result, State
from edgeclassifier.host.terminal import one_line

_PAUSE_MIN_S = 1.0
"""From one change to the next, if the state may change with every frame."""

log = logging.getLogger(__name__)


class Commentary:
    """Writes few lines, whatever the frames show: for a view one each `hold_s`, or each second."""

    def __init__(self, *, started_s: float, watch: Callable[[], str]) -> None:
        """Take `watch`, which says where predictions go and how to see them there.

        `started_s` is on the monotonic clock.
        """
        self._started_s = started_s
        self._watch = watch
        self._said: dict[str, str] = {}
        """By view, the name of the newest state in the log."""
        self._due_s: dict[str, float] = {}

    def first(self, result: Result) -> None:
        """Say that predictions come."""
        best = next(iter(result.predictions), None)
        found = f"{one_line(best.name)} ({best.score:.1%})" if best else "no label has enough score"
        after_s = time.monotonic() - self._started_s
        log.info("first prediction after %.1f s: %s; %s", after_s, found, self._watch())

    def follow(self, state: State | None, *, hold_s: float, view: str = "") -> None:
        """Say what the state of a view is now, if that has changed and it is time."""
        before = self._said.get(view)
        if state is None or state.name == before:
            return
        now_s = time.monotonic()
        if now_s < self._due_s.get(view, now_s):
            return
        self._due_s[view] = now_s + max(hold_s, _PAUSE_MIN_S)
        self._said[view] = state.name
        where = f" of {view}" if view else ""
        origin = "" if before is None else f"{one_line(before)} -> "
        of = "best average " if state.class_id is None else ""
        log.info(
            "state%s: %s%s (%s%.1f%%)", where, origin, one_line(state.name), of, 100 * state.score
        )
