"""The running daemon: hands results on, looks after its parts, and takes a new configuration."""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgeclassifier import compose
from edgeclassifier.config import Config
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.contract.message import Incoming, Message
from edgeclassifier.contract.payloads import Payloads, offline, online
from edgeclassifier.contract.results import CPU, Result, State
from edgeclassifier.contract.status import Crash, Vitals
from edgeclassifier.daemon.actions import Actions
from edgeclassifier.daemon.adapt import Adapter
from edgeclassifier.daemon.health import ProgressMeter
from edgeclassifier.daemon.introspection import Introspection
from edgeclassifier.daemon.publisher import Publisher, PublisherSettings
from edgeclassifier.daemon.reconfigure import Reconfiguration
from edgeclassifier.daemon.reload import Reloader
from edgeclassifier.daemon.reporter import Reporter
from edgeclassifier.daemon.requests import RequestHandler
from edgeclassifier.daemon.stable_label import StableLabel
from edgeclassifier.daemon.watchdog import Watch
from edgeclassifier.errors import BrokerError, EdgeclassifierError
from edgeclassifier.host.signals import StopSignal
from edgeclassifier.host.system import System
from edgeclassifier.host.systemd import Notifier
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.pipeline import Pipeline

_FIRST_CONNECTION_S = 1.0

Observer = Callable[[Result, State | None], None]
"""Sees every result, in the daemon's thread, and the state where it has changed."""


class Daemon:
    """Joins a pipeline and a session, for as long as frames come."""

    def __init__(
        self,
        config: Config,
        *,
        settings: PublisherSettings,
        pipeline: Pipeline,
        session: Session,
        requests: RequestHandler,
        notifier: Notifier,
        configured: Callable[[], Config],
        overrides: Overrides,
        last_crash: Crash | None,
        started_s: float,
        stop: StopSignal,
    ) -> None:
        """Take the parts, started, and `started_s` on the monotonic clock.

        `configured` reads the files anew, `overrides` are what was changed on request.
        """
        self._pipeline = pipeline
        self._session = session
        self._stop = stop
        self._observers: list[Observer] = []
        self._on_report: list[Callable[[], None]] = []
        self._on_new_session: list[Callable[[], None]] = []
        self.system = system = System()
        payloads = Payloads(camera=config.camera.id)
        self._meter = ProgressMeter(started_s=started_s)
        label = StableLabel(compose.state_rules(config.state))
        self._publisher = Publisher(
            publish=session.publish,
            payloads=payloads,
            label=label,
            clock_synchronized=system.clock_synchronized,
            settings=settings,
        )
        self._watch = Watch(notifier, camera_deadline_s=config.camera.deadline_s)
        self._reporter = Reporter(
            publish=session.publish,
            topics=settings.topics,
            info=self.info,
            boot_id=payloads.boot_id,
            meter=self._meter,
            system=system,
            vitals=self.vitals,
            started_s=started_s,
            interval_s=config.mqtt.health_interval_s,
            on_report=lambda: _call(self._on_report),
        )
        adapter = Adapter(
            pipeline=pipeline,
            session=session,
            publisher=self._publisher,
            label=label,
            payloads=payloads,
            reporter=self._reporter,
            requests=requests,
            on_new_session=lambda: _call(self._on_new_session),
        )
        reloader = Reloader(
            config,
            reread=lambda: overrides.apply(configured()),
            files=compose.files_in_use,
            prepare=adapter.prepare,
        )
        self._reconfiguration = Reconfiguration(config, reloader=reloader, watch=self._watch)
        self._requests = requests
        self._overrides = overrides
        self._introspection = Introspection(
            pipeline=pipeline,
            session=session,
            payloads=payloads,
            publisher=self._publisher,
            reconfiguration=self._reconfiguration,
            overrides=overrides,
            watch=self._watch,
            models=lambda: compose.model_names(self._reconfiguration.config.model),
            last_crash=last_crash,
        )
        self.actions = Actions(
            pipeline=pipeline,
            publisher=self._publisher,
            payloads=payloads,
            reconfiguration=self._reconfiguration,
            overrides=overrides,
            configured=configured,
            changed=self._reporter.changed,
            health=self._reporter.payload,
            restart=stop.restart,
        )
        self._reported: object = None
        self._refused: tuple[EdgeclassifierError | None, EdgeclassifierError | None] = None, None
        self._settled = False

    @property
    def farewell(self) -> Message:
        """The last message: that the device is gone."""
        return offline(self._publisher.settings.topics)

    def info(self) -> dict[str, Any]:
        """Describe what the device runs, as on the topic info."""
        return self._introspection.info()

    def health(self) -> dict[str, Any]:
        """Describe how the device is, as on the topic health."""
        return self._reporter.payload()

    def vitals(self) -> Vitals:
        """Collect what the parts say of themselves."""
        return self._introspection.vitals()

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self._reconfiguration.config

    def publish(self, message: Message) -> bool:
        """Publish a message of somebody else."""
        return self._session.publish(message)

    def observe(self, observer: Observer) -> None:
        """Show every result to somebody else, too. As the next three, before run()."""
        self._observers.append(observer)

    def on_report(self, call: Callable[[], None]) -> None:
        """Tell somebody else when info has changed, from any thread."""
        self._on_report.append(call)

    def on_new_session(self, call: Callable[[], None]) -> None:
        """Tell somebody else when what was retained has to be published again elsewhere."""
        self._on_new_session.append(call)

    def on_message(self, call: Callable[[Incoming], None]) -> None:
        """Let somebody else hear what comes from the broker; it must neither wait nor raise."""
        self._session.listen(call)

    def run(self) -> None:
        """Let frames through until there are no more, or the signal to stop comes."""
        self._session.publish(online(self._publisher.settings.topics))
        self._reporter.start()
        self._requests.start(run=self.actions.run, publish=self._session.publish)
        try:
            for result in self._pipeline.results(stopped=self._is_over):
                if not (self._settled or self._pipeline.live):
                    self._wait_for_broker()
                self._meter.count(result)
                changed = self._publisher.handle(result)
                self._watch.result(result.backend)
                for observer in self._observers:
                    observer(result, changed)
                if not self._settled:
                    self._settle()
            if not self._session.alive:
                raise BrokerError("the MQTT session died of a fault in this program, see above")
        finally:
            self._requests.stop()
            self._reconfiguration.close()
            self._reporter.stop()

    def _settle(self) -> None:
        """Exempt what is there by now, and stays, from garbage collection.

        Python looks at old objects again when a quarter more have come, which after a start can
        take days. Until then, errors that were handled would keep frames and models.
        """
        self._settled = True
        gc.collect()
        gc.freeze()

    def _is_over(self) -> bool:
        if self._pipeline.recovering:
            self._watch.recovering(self._pipeline.camera_health.problem or "")
        elif self._pipeline.paused:
            self._watch.paused()
        if self._stop.take_reload():
            self._reconfiguration.request()
        if self._reconfiguration.advance():
            self._reporter.changed()
        self._look_for_changes()
        return self._stop.is_set() or not self._session.alive

    def _look_for_changes(self) -> None:
        """Report at once what people wait for."""
        camera = self._pipeline.camera_health
        now = (self._pipeline.inference.backend, camera.state, camera.view)
        changed = self._reported not in (None, now)
        self._reported = now
        if self._take_refusals() or changed:
            self._reporter.changed()

    def _take_refusals(self) -> bool:
        """Keep the old part where a new one failed; tell whether one has since the last call."""
        before = self._refused
        # They stay until the next model and the next camera.
        self._refused = model, camera = self._pipeline.model_refused, self._pipeline.camera_refused
        new_model, new_camera = model is not before[0], camera is not before[1]
        if model is not None and new_model:
            in_use = self._pipeline.inference.model(CPU).name
            self._overrides.take_back("model.name", in_force=in_use)
            self._reconfiguration.model_refused(model)
        if camera is not None and new_camera:
            self._reconfiguration.camera_refused(camera)
        return new_model or new_camera

    def _wait_for_broker(self) -> None:
        """Give the broker a moment: pictures from files lose nothing by it, a camera would."""
        deadline_s = time.monotonic() + _FIRST_CONNECTION_S
        while not self._session.connected and not self._stop.is_set():
            if time.monotonic() > deadline_s:
                return
            time.sleep(0.005)


def _call(each: Sequence[Callable[[], None]]) -> None:
    for call in each:
        call()
