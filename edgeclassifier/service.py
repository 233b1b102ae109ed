"""The daemon: builds its parts, lets frames through them, and stops them in order."""

import logging
import platform
import time
from datetime import UTC, datetime
from typing import Any

from edgeclassifier import __version__, compose
from edgeclassifier.cameras import Camera
from edgeclassifier.classifier import Classifier
from edgeclassifier.config import Config, masked
from edgeclassifier.errors import BrokerError
from edgeclassifier.health import ProgressMeter
from edgeclassifier.mqtt.base import Message
from edgeclassifier.mqtt.messages import (
    OFFLINE,
    ONLINE,
    SCHEMA_VERSION,
    ModelIdentity,
    Payloads,
    Topics,
    timestamp,
)
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline import Pipeline
from edgeclassifier.publisher import Publisher
from edgeclassifier.reporter import Counters, Reporter
from edgeclassifier.state import Debounce
from edgeclassifier.stop import StopSignal
from edgeclassifier.system import System

log = logging.getLogger(__name__)

BACKEND = "cpu"
_STOP_TIMEOUT_S = 4.0
_FIRST_CONNECTION_S = 1.0


def run_service(config: Config, *, stop: StopSignal) -> None:
    """Classify and publish until the camera comes to its end or `stop` is set.

    Raises ConfigError, ModelError or CameraError, after `offline` was published where that was
    possible.
    """
    started_s = time.monotonic()
    device = compose.device_id(config.device.id)
    topics = Topics(root=config.mqtt.root, device=device, camera=config.camera.id)
    access = compose.broker_access(config.mqtt, device=device)
    camera = compose.build_camera(config.camera)
    model = compose.find_model(config.model)
    offline = Message(topic=topics.availability, payload=OFFLINE, retain=True)
    session = compose.build_session(config, access, will=offline)
    pipeline = Pipeline(
        camera=camera,
        deadline_s=config.camera.deadline_s,
        nice=compose.around_interpreter_nice(config.model),
    )
    # Connecting, and opening the camera, go on while the model is loaded.
    session.start()
    pipeline.open()
    try:
        sha256 = model.sha256_later()
        engine = compose.build_engine(config, model)
        log.info("model %s: %s", engine.model.name, engine.model.reason)
        pipeline.attach(preprocessor=engine.preprocessor, classifier=engine.classifier)
        service = _Service(
            config,
            topics=topics,
            device=device,
            camera=camera,
            pipeline=pipeline,
            classifier=engine.classifier,
            model=ModelIdentity(name=model.name, sha256=sha256()),
            session=session,
            started_s=started_s,
        )
        if not stop.is_set():
            service.run(stop)
    finally:
        pipeline.close()
        session.stop(last=offline, timeout_s=_STOP_TIMEOUT_S)
    log.info("stopped")


class _Service:
    def __init__(
        self,
        config: Config,
        *,
        topics: Topics,
        device: str,
        camera: Camera,
        pipeline: Pipeline,
        classifier: Classifier,
        model: ModelIdentity,
        session: Session,
        started_s: float,
    ) -> None:
        self._config = config
        self._topics = topics
        self._device = device
        self._camera = camera
        self._pipeline = pipeline
        self._classifier = classifier
        self._model = model
        self._session = session
        system = System()
        payloads = Payloads(camera=config.camera.id, model=model, backend=BACKEND)
        self._boot_id = payloads.boot_id
        self._meter = ProgressMeter(started_s=started_s)
        self._publisher = Publisher(
            publish=session.publish,
            topics=topics,
            payloads=payloads,
            debounce=Debounce(threshold=config.state.threshold, hold_s=config.state.hold_s),
            clock_synchronized=system.clock_synchronized,
            max_rate_hz=config.mqtt.max_rate_hz,
            heartbeat_s=config.state.heartbeat_s,
            image_max_rate_hz=config.image.max_rate_hz if config.image.enabled else None,
            image_quality=config.image.quality,
        )
        self._reporter = Reporter(
            publish=session.publish,
            topics=topics,
            info=self._info,
            boot_id=payloads.boot_id,
            backend=BACKEND,
            meter=self._meter,
            system=system,
            counters=self._counters,
            started_s=started_s,
            interval_s=config.mqtt.health_interval_s,
        )

    def run(self, stop: StopSignal) -> None:
        """Let frames through until there are no more, or `stop` is set."""
        online = Message(topic=self._topics.availability, payload=ONLINE, retain=True)
        self._session.publish(online)
        self._reporter.start()
        if not self._camera.live:
            self._wait_for_broker(stop)
        try:
            for result in self._pipeline.results(stopped=lambda: self._is_over(stop)):
                self._meter.count(result)
                self._publisher.handle(result)
            if not self._session.alive:
                raise BrokerError("the MQTT session died of a fault in this program, see above")
        finally:
            self._reporter.stop()

    def _is_over(self, stop: StopSignal) -> bool:
        return stop.is_set() or not self._session.alive

    def _wait_for_broker(self, stop: StopSignal) -> None:
        """Give the broker a moment: pictures from files lose nothing by it, a camera would."""
        deadline_s = time.monotonic() + _FIRST_CONNECTION_S
        while not self._session.connected and not stop.is_set() and time.monotonic() < deadline_s:
            time.sleep(0.005)

    def _info(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(datetime.now(UTC)),
            "boot_id": self._boot_id,
            "device": self._device,
            "version": __version__,
            "python": platform.python_version(),
            "runtime": str(self._classifier.runtime),
            "threads": self._classifier.threads,
            "model": {
                **self._model.as_payload(),
                "input": [self._classifier.input.height, self._classifier.input.width],
                "classes": len(self._classifier.labels),
            },
            "backend": BACKEND,
            "degraded": False,
            "cameras": [self._config.camera.id],
            "config": masked(self._config),
        }

    def _counters(self) -> Counters:
        return Counters(
            superseded_frames=self._pipeline.superseded,
            unreadable_frames=self._camera.unreadable,
            dropped_messages=self._session.dropped,
            pending_messages=self._session.pending,
            published_messages=self._session.published,
            reconnects=self._session.reconnects,
            last_error=self._session.last_error,
        )
