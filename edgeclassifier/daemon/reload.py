"""The configuration in use, and how the running daemon comes to another one."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edgeclassifier.contract.messages import timestamp
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.status import ReloadStatus
from edgeclassifier.daemon.watchdog import Watchdog
from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.host import threads

if TYPE_CHECKING:
    from concurrent.futures import Future

    from edgeclassifier.config import Config

log = logging.getLogger(__name__)


@plain_data
class Plan(Plain):
    """A configuration that was validated, and how to get there."""

    config: "Config"
    changed: frozenset[str]
    """The keys whose values, or whose files, are different."""
    waiting: frozenset[str]
    """Those of them that take effect at the next start."""
    steps: tuple[Callable[[], None], ...] = ()
    """Each prepared so that it cannot fail."""


class Reload:
    """Has the configuration read again on request, and applies it between two frames.

    It is read in a thread of its own, so that frames go on, and taken only as a whole.
    """

    def __init__(
        self,
        config: "Config",
        *,
        plan: Callable[["Config"], Plan | None],
        watchdog: Watchdog,
    ) -> None:
        """Begin with the configuration that the parts were built from.

        `plan` reads the files again and compares them with the configuration in use; None: nothing
        has changed. It may raise EdgeclassifierError, and takes its time.
        """
        self.config = config
        self.status: ReloadStatus | None = None
        """What became of the newest request."""
        self._model_before = self._camera_before = config
        """What was in use before the newest model, and before the newest camera."""
        self._make_plan = plan
        self._watchdog = watchdog
        self._requested: deque[Future[ReloadStatus]] = deque()
        self._under_way: list[Future[ReloadStatus]] = []
        self._thread: threading.Thread | None = None
        self._plan: Plan | None = None
        self._problem: str | None = None

    def request(self) -> "Future[ReloadStatus]":
        """Ask for it, from any thread. The future tells what came of it."""
        from concurrent.futures import Future

        future: Future[ReloadStatus] = Future()
        self._requested.append(future)
        return future

    def advance(self) -> bool:
        """Do what is to be done, in the daemon's thread; tell whether a request has its outcome."""
        if self._requested and self._thread is None:
            self._begin()
        if self._thread is None or self._thread.is_alive():
            return False
        self._thread = None
        self.status = self._refused() if self._problem is not None else self._apply(self._plan)
        self._watchdog.reloaded()
        while self._under_way:
            self._under_way.pop().set_result(self.status)
        return True

    def model_refused(self, refusal: EdgeclassifierError, views: Collection[str] = ()) -> None:
        """Note that the model before is in use again, in some views or in the only one."""
        config, before = self.config, self._model_before
        own = {
            name: before.views[name]
            for name in views
            if name in before.views and name in config.views
        }
        if not own or any(each.model is None for each in own.values()):
            config = replace(config, model=before.model, accelerator=before.accelerator)
        returned = {
            name: replace(config.views[name], model=each.model, labels=each.labels)
            for name, each in own.items()
        }
        self.config = replace(config, views={**config.views, **returned})
        self._note(refusal)

    def camera_refused(self, refusal: EdgeclassifierError) -> None:
        """Note that the camera before is in use again."""
        self.config = replace(self.config, camera=self._camera_before.camera)
        self._note(refusal)

    def close(self) -> None:
        """Tell those who wait that nothing will come of it any more."""
        for future in (*self._under_way, *self._requested):
            future.cancel()

    def _begin(self) -> None:
        while self._requested:
            self._under_way.append(self._requested.popleft())
        self._watchdog.reloading()
        self._plan = self._problem = None
        self._thread = threads.start(
            self._read, args=(self.config,), name="reload", on_death=self._died
        )

    def _read(self, config: "Config") -> None:
        try:
            self._plan = self._make_plan(config)
        except EdgeclassifierError as error:
            self._problem = "; ".join(str(error).splitlines())
            log.warning("the configuration is kept as it was: %s", self._problem)

    def _died(self, _error: BaseException) -> None:
        self._problem = "a fault in this program, see the log"

    def _refused(self) -> ReloadStatus:
        return ReloadStatus(timestamp=_now(), status="refused", problem=self._problem)

    def _apply(self, plan: Plan | None) -> ReloadStatus:
        if plan is None:
            log.info("the configuration has not changed")
            return ReloadStatus(timestamp=_now(), status="unchanged")
        # Before the steps: some have others tell of it.
        if any(key.startswith(("model.", "accelerator.", "views.")) for key in plan.changed):
            self._model_before = self.config
        if any(key.startswith("camera.") for key in plan.changed):
            self._camera_before = self.config
        self.config = plan.config
        for step in plan.steps:
            step()
        changed = tuple(sorted(plan.changed))
        log.info("new configuration: %s", ", ".join(changed))
        later = ", ".join(sorted(plan.waiting))
        if later:
            log.warning("%s: takes effect at the next start", later)
        return ReloadStatus(
            timestamp=_now(),
            status="applied",
            changed=changed,
            problem=f"{later}: at the next start" if later else None,
        )

    def _note(self, refusal: EdgeclassifierError) -> None:
        if self.status is not None:
            self.status = replace(self.status, status="refused", problem=str(refusal))


def _now() -> str:
    return timestamp(datetime.now(UTC))
