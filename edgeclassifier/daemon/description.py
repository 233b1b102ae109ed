"""What the daemon says of itself: the payload of info, and the vitals behind that of health."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edgeclassifier import __version__
from edgeclassifier.config import Config, masked
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
from edgeclassifier.daemon.reload import Reload
from edgeclassifier.daemon.watchdog import Watchdog
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Looks at the running parts."""

    pipeline: Pipeline
    session: Session
    payloads: Payloads
    publisher: Publisher
    reload: Reload
    overrides: Overrides
    watchdog: Watchdog
    models: Callable[[Config], Sequence[str]]
    last_crash: Crash | None

    def info(self) -> dict[str, Any]:
        """Describe what the device runs."""
        inference = self.pipeline.inference
        classifier, backend = inference.classifier, inference.backend
        config = self.reload.config
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
            "models": list(self.models(config)),
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
            camera=pipeline.camera,
            paused=pipeline.paused,
            excused_s=self.watchdog.excused_s,
            superseded_frames=pipeline.superseded,
            unreadable_frames=pipeline.unreadable,
            dropped_messages=session.dropped,
            published_messages=session.published,
            buffer=session.buffer,
            connected=session.connected,
            reconnects=session.reconnects,
            last_error=session.last_error,
            reload=self.reload.status,
            last_crash=self.last_crash,
        )
