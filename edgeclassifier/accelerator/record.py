"""Keeps the status of an accelerator, and tells of its changes."""

import logging
from collections.abc import Callable
from dataclasses import replace

from edgeclassifier.accelerator.faults import Failure
from edgeclassifier.contract.status import AcceleratorStatus

log = logging.getLogger(__name__)


class Record:
    """Written by one thread; `status` may be read by any."""

    def __init__(self, *, name: str, on_change: Callable[[AcceleratorStatus], None] | None) -> None:
        """`name` is for the log; `on_change` hears of every new state and every new fault."""
        self._name = name
        self._on_change = on_change
        self.status = AcceleratorStatus(state="starting")

    def ready(self) -> None:
        """Note that it works, for the first time or again."""
        before = self.status
        again = before.fault is not None
        log.info("%s: %s", self._name, "is back" if again else "is ready")
        self._set(
            AcceleratorStatus(
                state="ready", failures=before.failures, returns=before.returns + int(again)
            )
        )

    def failed(self, failure: Failure) -> None:
        """Note that it failed, or that an attempt to get it back did."""
        before = self.status
        news = before.state != "waiting" or before.fault != failure.fault
        log.log(logging.WARNING if news else logging.DEBUG, "%s: %s", self._name, failure)
        self._set(
            AcceleratorStatus(
                state="waiting",
                fault=failure.fault,
                reason=failure.reason,
                failures=before.failures + 1,
                returns=before.returns,
            )
        )

    def worse(self, reason: str) -> None:
        """Note that it cannot even be tried again for now."""
        log.error("%s: %s", self._name, reason)
        self._set(replace(self.status, reason=reason))

    def stopped(self) -> None:
        """Note that it was stopped. Once more does no harm."""
        self._set(replace(self.status, state="stopped"))

    def _set(self, status: AcceleratorStatus) -> None:
        before, self.status = self.status, status
        changed = (before.state, before.fault) != (status.state, status.fault)
        if changed and self._on_change is not None:
            self._on_change(status)
