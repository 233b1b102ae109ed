"""What the service manager is told, and when: only progress keeps the watchdog quiet."""

import logging
import time

from edgeclassifier.contract.results import Backend
from edgeclassifier.host.systemd import Notifier

_PINGS_PER_PERIOD = 4
_STATUS_S = 5.0

log = logging.getLogger(__name__)


class Watchdog:
    """Reports readiness with the first result, and progress with those that follow.

    A camera that is being recovered counts as progress, because that is bounded; an interpreter
    that hangs does not.
    """

    def __init__(self, notifier: Notifier, *, camera_deadline_s: float) -> None:
        self._notifier = notifier
        self._interval_s = (notifier.watchdog_s or 0.0) / _PINGS_PER_PERIOD
        self._ping_due_s = self._status_due_s = 0.0
        self._counted_since_s = time.monotonic()
        self._results = 0
        self._is_ready = False
        self.excused_s: float | None = None
        """Last time at which no frame was due, on the monotonic clock."""
        if notifier.watchdog_s is not None and notifier.watchdog_s <= camera_deadline_s:
            log.warning(
                "the unit's WatchdogSec, %g s, ends the daemon before camera.deadline_s, %g s, "
                "is over: set it higher",
                notifier.watchdog_s,
                camera_deadline_s,
            )

    def progress(self, results: int, backend: Backend) -> None:
        """Note that frames were classified since the last call: so many `results`."""
        if not results:
            return
        now_s = time.monotonic()
        self._results += results
        if not self._is_ready:
            self._is_ready = True
            self._notifier.ready()
        self._ping(now_s)
        if now_s >= self._status_due_s:
            rate_hz = self._results / max(now_s - self._counted_since_s, 1e-3)
            self._results, self._counted_since_s = 0, now_s
            self._status_due_s = now_s + _STATUS_S
            because = f" ({backend.reason})" if backend.reason else ""
            self._notifier.status(f"{backend.name}{because}, {rate_hz:.1f} predictions/s")

    def recovering(self, problem: str) -> None:
        """Note that the camera is being opened again."""
        self._excuse(f"no frames: {problem}")

    def paused(self) -> None:
        """Note that classifying is paused on request."""
        self._excuse("paused")

    def reloading(self) -> None:
        """Note that the configuration is read again."""
        self._notifier.reloading()

    def reloaded(self) -> None:
        """Note that it was, and was taken or refused."""
        if self._is_ready:
            self._notifier.ready()

    def _excuse(self, status: str) -> None:
        self.excused_s = time.monotonic()
        self._notifier.status(status)
        self._ping(self.excused_s)

    def _ping(self, now_s: float) -> None:
        if self._interval_s and now_s >= self._ping_due_s:
            self._ping_due_s = now_s + self._interval_s
            self._notifier.watchdog()
