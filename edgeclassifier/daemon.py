"""The running daemon: hands results on, looks after its parts, and takes a new configuration."""

import dataclasses
import gc
import logging
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from edgeclassifier import __version__, compose
from edgeclassifier.adapt import AT_THE_NEXT_START, Adapter
from edgeclassifier.config import Config, masked
from edgeclassifier.errors import BrokerError, EdgeclassifierError
from edgeclassifier.exitrecord import Crash
from edgeclassifier.health import ProgressMeter
from edgeclassifier.mqtt.base import Message
from edgeclassifier.mqtt.messages import (
    SCHEMA_VERSION,
    Payloads,
    backend_fields,
    model_identity,
    offline,
    online,
    timestamp,
)
from edgeclassifier.mqtt.session import Session
from edgeclassifier.notify import Notifier
from edgeclassifier.pipeline import Pipeline
from edgeclassifier.publisher import Publisher, PublisherSettings
from edgeclassifier.reload import Reload, Reloader
from edgeclassifier.reporter import Reporter, Vitals
from edgeclassifier.state import StableLabel
from edgeclassifier.stop import StopSignal
from edgeclassifier.system import System
from edgeclassifier.watch import Watch

log = logging.getLogger(__name__)

_FIRST_CONNECTION_S = 1.0


class Daemon:
    """Joins a pipeline and a session, for as long as frames come."""

    def __init__(
        self,
        config: Config,
        *,
        settings: PublisherSettings,
        pipeline: Pipeline,
        session: Session,
        notifier: Notifier,
        reread: Callable[[], Config],
        last_crash: Crash | None,
        started_s: float,
    ) -> None:
        """Take the parts, started, and `started_s` on the monotonic clock; `reread` as SIGHUP."""
        self._config = self._config_before = config
        self._pipeline = pipeline
        self._session = session
        self._last_crash = last_crash
        self._system = System()
        self._payloads = Payloads(camera=config.camera.id)
        self._meter = ProgressMeter(started_s=started_s)
        label = StableLabel(compose.state_rules(config.state))
        self._publisher = Publisher(
            publish=session.publish,
            payloads=self._payloads,
            label=label,
            clock_synchronized=self._system.clock_synchronized,
            settings=settings,
        )
        self._reporter = Reporter(
            publish=session.publish,
            topics=settings.topics,
            info=self._info,
            boot_id=self._payloads.boot_id,
            meter=self._meter,
            system=self._system,
            vitals=self._vitals,
            started_s=started_s,
            interval_s=config.mqtt.health_interval_s,
        )
        adapter = Adapter(
            pipeline=pipeline,
            session=session,
            publisher=self._publisher,
            label=label,
            payloads=self._payloads,
            reporter=self._reporter,
        )
        self._reloader = Reloader(config, reread=reread, prepare=adapter.prepare)
        self._reload_wanted = False
        self._reload: Reload | None = None
        self._watch = Watch(notifier, camera_deadline_s=config.camera.deadline_s)
        self._reported: object = None
        self._settled = False

    @property
    def farewell(self) -> Message:
        """The last message: that the device is gone."""
        return offline(self._publisher.settings.topics)

    def run(self, stop: StopSignal) -> None:
        """Let frames through until there are no more, or `stop` is set."""
        self._session.publish(online(self._publisher.settings.topics))
        self._reporter.start()
        if not self._pipeline.live:
            self._wait_for_broker(stop)
        try:
            for result in self._pipeline.results(stopped=lambda: self._is_over(stop)):
                self._meter.count(result)
                self._publisher.handle(result)
                self._watch.result(result.backend)
                if not self._settled:
                    self._settle()
            if not self._session.alive:
                raise BrokerError("the MQTT session died of a fault in this program, see above")
        finally:
            self._reporter.stop()

    def _settle(self) -> None:
        """Exempt what is there by now, and stays, from garbage collection.

        Python looks at old objects again when a quarter more have come, which after a start can
        take days. Until then, errors that were handled would keep frames and models.
        """
        self._settled = True
        gc.collect()
        gc.freeze()

    def _is_over(self, stop: StopSignal) -> bool:
        if self._pipeline.recovering:
            self._watch.recovering(self._pipeline.camera_health.problem or "")
        self._reload_wanted |= stop.take_reload()
        if self._reload_wanted or self._reloader.busy:
            self._look_after_reload()
        self._look_for_changes()
        return stop.is_set() or not self._session.alive

    def _look_after_reload(self) -> None:
        if self._reload_wanted and not self._reloader.busy:
            self._reload_wanted = False
            self._watch.reloading()
            self._reloader.request(self._config)
        prepared = self._reloader.take()
        if prepared is None:
            return
        for step in prepared.apply:
            step()
        self._config_before, self._config = self._config, prepared.config
        self._reload = prepared.outcome
        later = [key for key in prepared.outcome.changed if key.startswith(AT_THE_NEXT_START)]
        if later:
            log.warning("%s: takes effect at the next start", ", ".join(later))
            problem = f"{', '.join(later)}: at the next start"
            self._reload = dataclasses.replace(self._reload, problem=problem)
        if prepared.outcome.changed:
            log.info("new configuration: %s", ", ".join(prepared.outcome.changed))
        self._watch.reloaded()
        self._reporter.changed()

    def _look_for_changes(self) -> None:
        """Report at once what people wait for, and keep the old part where a new one failed."""
        pipeline = self._pipeline
        now = (
            pipeline.inference.backend,
            pipeline.camera_health.state,
            pipeline.model_refused,
            pipeline.camera_refused,
        )
        if now == self._reported:
            return
        if self._reported is not None:
            self._reporter.changed()
        self._reported = now
        before = self._config_before
        if pipeline.model_refused is not None:
            self._keep(pipeline.model_refused, model=before.model, accelerator=before.accelerator)
        if pipeline.camera_refused is not None:
            self._keep(pipeline.camera_refused, camera=before.camera)

    def _keep(self, refusal: EdgeclassifierError, **parts: object) -> None:
        self._config = dataclasses.replace(self._config, **parts)  # type: ignore[arg-type] # its own
        if self._reload is not None:
            self._reload = dataclasses.replace(self._reload, status="refused", problem=str(refusal))

    def _wait_for_broker(self, stop: StopSignal) -> None:
        """Give the broker a moment: pictures from files lose nothing by it, a camera would."""
        deadline_s = time.monotonic() + _FIRST_CONNECTION_S
        while not self._session.connected and not stop.is_set() and time.monotonic() < deadline_s:
            time.sleep(0.005)

    def _info(self) -> dict[str, Any]:
        inference = self._pipeline.inference
        classifier, backend = inference.classifier, inference.backend
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(datetime.now(UTC)),
            "boot_id": self._payloads.boot_id,
            "device": self._publisher.settings.topics.device,
            "version": __version__,
            "python": platform.python_version(),
            "runtime": str(classifier.runtime),
            "threads": classifier.threads,
            "model": {
                **model_identity(inference.model(backend)),
                "input": [classifier.input.height, classifier.input.width],
                "classes": len(classifier.labels),
            },
            **backend_fields(backend),
            "cameras": [self._config.camera.id],
            "config": masked(self._config),
        }

    def _vitals(self) -> Vitals:
        pipeline, session = self._pipeline, self._session
        accelerator = pipeline.inference.accelerator
        return Vitals(
            backend=pipeline.inference.backend,
            accelerator=None if accelerator is None else accelerator.status,
            camera=pipeline.camera_health,
            superseded_frames=pipeline.superseded,
            unreadable_frames=pipeline.unreadable,
            dropped_messages=session.dropped,
            published_messages=session.published,
            buffer=session.buffer,
            reconnects=session.reconnects,
            last_error=session.last_error,
            reload=self._reload,
            last_crash=self._last_crash,
        )
