"""The configuration in use, and how the running daemon comes to another one."""

import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeclassifier.config import Config
from edgeclassifier.contract.status import Reload
from edgeclassifier.daemon.adapt import AT_THE_NEXT_START
from edgeclassifier.daemon.reload import Prepared, Reloader
from edgeclassifier.daemon.watchdog import Watch
from edgeclassifier.errors import EdgeclassifierError

if TYPE_CHECKING:
    from concurrent.futures import Future

log = logging.getLogger(__name__)


class Reconfiguration:
    """Has the configuration read again on request, and applies it between two frames."""

    def __init__(self, config: Config, *, reloader: Reloader, watch: Watch) -> None:
        """Begin with the configuration that the parts were built from."""
        self.config = config
        self._model_before = self._camera_before = config
        """What was in use before the newest model, and before the newest camera."""
        self.outcome: Reload | None = None
        """Of the newest request."""
        self._reloader = reloader
        self._watch = watch
        self._requested: deque[Future[Reload]] = deque()
        self._under_way: list[Future[Reload]] = []

    def request(self) -> "Future[Reload]":
        """Ask for it, from any thread. The future tells what came of it."""
        from concurrent.futures import Future

        future: Future[Reload] = Future()
        self._requested.append(future)
        return future

    def advance(self) -> bool:
        """Do what is to be done, in the daemon's thread; tell whether a request has its outcome."""
        if self._requested and not self._reloader.busy:
            while self._requested:
                self._under_way.append(self._requested.popleft())
            self._watch.reloading()
            self._reloader.request(self.config)
        prepared = self._reloader.take()
        if prepared is None:
            return False
        # Before the steps: some have others tell of it.
        changed = prepared.outcome.changed
        if any(key.startswith(("model.", "accelerator.")) for key in changed):
            self._model_before = self.config
        if any(key.startswith("camera.") for key in changed):
            self._camera_before = self.config
        self.config = prepared.config
        for step in prepared.apply:
            step()
        self.outcome = _with_what_waits(prepared)
        if changed:
            log.info("new configuration: %s", ", ".join(changed))
        self._watch.reloaded()
        while self._under_way:
            self._under_way.pop().set_result(self.outcome)
        return True

    def model_refused(self, refusal: EdgeclassifierError) -> None:
        """Note that the model before is in use again."""
        before = self._model_before
        self.config = replace(self.config, model=before.model, accelerator=before.accelerator)
        self._note(refusal)

    def camera_refused(self, refusal: EdgeclassifierError) -> None:
        """Note that the camera before is in use again."""
        self.config = replace(self.config, camera=self._camera_before.camera)
        self._note(refusal)

    def close(self) -> None:
        """Tell those who wait that nothing will come of it any more."""
        for future in (*self._under_way, *self._requested):
            future.cancel()

    def _note(self, refusal: EdgeclassifierError) -> None:
        if self.outcome is not None:
            self.outcome = replace(self.outcome, status="refused", problem=str(refusal))


def _with_what_waits(prepared: Prepared) -> Reload:
    outcome = prepared.outcome
    later = ", ".join(
        key
        for key in outcome.changed
        if key in prepared.waiting or key.startswith(AT_THE_NEXT_START)
    )
    if not later:
        return outcome
    log.warning("%s: takes effect at the next start", later)
    return replace(outcome, problem=f"{later}: at the next start")
