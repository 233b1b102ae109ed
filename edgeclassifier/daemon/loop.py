"""The loop of the daemon: hands results on, and looks after the parts in between."""

import gc
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.config.changeable import override_key
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.contract.results import CPU, Result, State
from edgeclassifier.daemon.commentary import Commentary
from edgeclassifier.daemon.guests import Guests
from edgeclassifier.daemon.reload import Reload
from edgeclassifier.daemon.reporter import Reporter
from edgeclassifier.daemon.views import Views
from edgeclassifier.daemon.watchdog import Watchdog
from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.host import threads
from edgeclassifier.host.priority import be_nice
from edgeclassifier.host.signals import StopSignal
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.pipeline import EndOfFrames, Pipeline

if TYPE_CHECKING:
    from edgeclassifier.config import Config

_LOOK_S = 0.1
"""How often the parts are looked after while results come."""
_FIRST_CONNECTION_S = 1.0

Observer = Callable[[Result, State | None], None]
"""Sees every result, in the daemon's thread, and the state if it has changed."""


class Daemon:
    """Lets frames through for as long as they come. All parts are given, and run already."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        session: Session,
        views: Views,
        reporter: Reporter,
        reload: Reload,
        overrides: Overrides,
        model_returned: "Callable[[Config], None]",
        watchdog: Watchdog,
        guests: Guests,
        commentary: Commentary,
        observers: Sequence[Observer],
        clock_synchronized: Callable[[], bool],
        stop: StopSignal,
        nice: int,
    ) -> None:
        """Take `nice`, the niceness of the calling thread while frames go through.

        `model_returned` is called if the model before is in use again, with the configuration that
        is in use then.
        """
        self._pipeline = pipeline
        self._session = session
        self._views = views
        self._reporter = reporter
        self._reload = reload
        self._overrides = overrides
        self._model_returned = model_returned
        self._watchdog = watchdog
        self._guests = guests
        self._commentary = commentary
        self._observers = tuple(observers)
        self._clock_synchronized = clock_synchronized
        self._stop = stop
        self._nice = nice
        self._look_at_s = 0.0
        self._results = 0
        """How many were handed on since the parts were looked after."""
        self._settled = False
        self._reported: object = None
        self._models_refused: dict[ModelSlot, EdgeclassifierError | None] = {}
        self._camera_refused: EdgeclassifierError | None = None

    def run(self) -> None:
        """Hand results on until there are no more, or the signal to stop comes.

        Raises CameraError, InferenceError or ThreadDiedError if that ends before its time.
        """
        be_nice(self._nice)
        try:
            while not self._stop.wanted:
                if time.monotonic() >= self._look_at_s:
                    self._look_after_parts()
                result = self._pipeline.next(POLL_S)
                if result is not None:
                    self._hand_on(result)
        except EndOfFrames:
            return
        except EdgeclassifierError:
            if not self._stop.wanted:
                raise

    def _look_after_parts(self) -> None:
        self._look_at_s = time.monotonic() + _LOOK_S
        threads.check()
        self._tell_watchdog()
        self._tell_the_time()
        self._reload_on_signal()
        self._apply_new_configuration()
        self._keep_what_works()
        self._report_changes()
        self._comment()
        self._guests.look_after()

    def _hand_on(self, result: Result) -> None:
        if not (self._settled or self._pipeline.live):
            self._wait_for_broker()
        self._results += 1
        view = self._views.by_id.get(result.view)
        if view is None:
            return  # it was removed while its frame was under way
        changed = view.publisher.handle(result)
        for observer in self._observers:
            observer(result, changed)
        if not self._settled:
            self._commentary.first(result)
            self._settle()

    def _tell_the_time(self) -> None:
        synchronized = self._clock_synchronized()
        for view in self._views.by_id.values():
            view.publisher.clock_synchronized = synchronized

    def _comment(self) -> None:
        for name, view in self._views.by_id.items():
            publisher = view.publisher
            self._commentary.follow(publisher.state, hold_s=publisher.rules.hold_s, view=name)

    def _tell_watchdog(self) -> None:
        results, self._results = self._results, 0
        self._watchdog.progress(results, self._pipeline.inference.backend)
        if self._pipeline.recovering:
            self._watchdog.recovering(self._pipeline.camera.problem or "")
        elif self._pipeline.paused:
            self._watchdog.paused()

    def _reload_on_signal(self) -> None:
        if self._stop.take_reload():
            self._reload.request()

    def _apply_new_configuration(self) -> None:
        if self._reload.advance():
            self._reporter.changed()

    def _keep_what_works(self) -> None:
        """Take note if the old model, or the old camera, is in use again: the new one failed."""
        # A refusal stays until the next model, or the next camera.
        models, before = self._views.models(), self._models_refused
        self._models_refused = {slot: slot.refused for slot in models}
        for slot, refused in self._models_refused.items():
            if refused is not None and refused is not before.get(slot):
                self._return_model(slot, refused, models[slot])
        camera, earlier = self._pipeline.camera_refused, self._camera_refused
        self._camera_refused = camera
        if camera is not None and camera is not earlier:
            self._reload.camera_refused(camera)
            self._reporter.changed()

    def _return_model(
        self, slot: ModelSlot, refused: EdgeclassifierError, views: Sequence[str]
    ) -> None:
        in_use = slot.current.model(CPU).name
        for view in views:
            key = override_key(self._reload.config, view, "model.name")
            self._overrides.take_back(key, in_force=in_use)
        self._reload.model_refused(refused, views)
        self._model_returned(self._reload.config)
        self._reporter.changed()

    def _report_changes(self) -> None:
        """Report at once what people wait for."""
        camera = self._pipeline.camera
        problems = tuple(lane.models.problem for lane in self._pipeline.lanes)
        backend = self._pipeline.inference.backend
        now = (backend, camera.state, camera.view, problems, self._guests.status)
        if self._reported not in (None, now):
            self._reporter.changed()
        self._reported = now

    def _wait_for_broker(self) -> None:
        """Give the broker a moment: pictures from files lose nothing by it, a camera would."""
        deadline_s = time.monotonic() + _FIRST_CONNECTION_S
        while not self._session.connected and not self._stop.wanted:
            if time.monotonic() > deadline_s:
                return
            time.sleep(0.005)

    def _settle(self) -> None:
        """Exempt what is there by now, and stays, from garbage collection.

        Python looks at old objects again when a quarter more have come, which after a start can
        take days. Until then, errors that were handled would keep frames and models.
        """
        self._settled = True
        gc.collect()
        gc.freeze()
