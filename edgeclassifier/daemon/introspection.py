"""What the daemon says of itself: the topic info, and the vitals behind the topic health."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edgeclassifier import __version__
from edgeclassifier.config import masked
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.contract.payloads import (
    SCHEMA_VERSION,
    Payloads,
    backend_fields,
    model_identity,
    timestamp,
)
from edgeclassifier.contract.status import Crash, Vitals
from edgeclassifier.daemon.publisher import Publisher
from edgeclassifier.daemon.reconfigure import Reconfiguration
from edgeclassifier.daemon.watchdog import Watch
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspection:
    """Looks at the running parts."""

    pipeline: Pipeline
    session: Session
    payloads: Payloads
    publisher: Publisher
    reconfiguration: Reconfiguration
    overrides: Overrides
    watch: Watch
    models: Callable[[], Sequence[str]]
    last_crash: Crash | None

    def info(self) -> dict[str, Any]:
        """Describe what the device runs."""
        inference = self.pipeline.inference
        classifier, backend = inference.classifier, inference.backend
        config = self.reconfiguration.config
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(datetime.now(UTC)),
            "boot_id": self.payloads.boot_id,
            "device": self.publisher.settings.topics.device,
            "version": __version__,
            "python": platform.python_version(),
            "runtime": str(classifier.runtime),
            "threads": classifier.threads,
            "model": {
                **model_identity(inference.model(backend)),
                "input": [classifier.input.height, classifier.input.width],
                "classes": len(classifier.labels),
            },
            "models": list(self.models()),
            **backend_fields(backend),
            "cameras": [config.camera.id],
            "config": masked(config),
            "overrides": dict(self.overrides.values),
        }

    def vitals(self) -> Vitals:
        """Collect what the parts say of themselves."""
        pipeline, session = self.pipeline, self.session
        accelerator = pipeline.inference.accelerator
        return Vitals(
            backend=pipeline.inference.backend,
            accelerator=None if accelerator is None else accelerator.status,
            camera=pipeline.camera_health,
            paused=pipeline.paused,
            excused_s=self.watch.excused_s,
            superseded_frames=pipeline.superseded,
            unreadable_frames=pipeline.unreadable,
            dropped_messages=session.dropped,
            published_messages=session.published,
            buffer=session.buffer,
            connected=session.connected,
            reconnects=session.reconnects,
            last_error=session.last_error,
            reload=self.reconfiguration.outcome,
            last_crash=self.last_crash,
        )
