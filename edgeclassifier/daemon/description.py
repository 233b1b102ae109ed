"""What the daemon says of itself: the payloads of the topics info and health."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from edgeclassifier import __version__
from edgeclassifier.config import Config, masked
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.config.views import views_of
from edgeclassifier.contract.health import health_payload
from edgeclassifier.contract.messages import (
    SCHEMA_VERSION,
    backend_fields,
    model_identity,
    timestamp,
)
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.status import Crash, GuestStatus, KeepStatus, Status, ViewStatus
from edgeclassifier.daemon.reload import Reload
from edgeclassifier.daemon.sightings import Sightings
from edgeclassifier.daemon.views import Views
from edgeclassifier.daemon.watchdog import Watchdog
from edgeclassifier.host.system import System
from edgeclassifier.metrics.tally import Tally
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.pipeline import Pipeline


@plain_data
class Description(Plain):
    """Looks at the running parts, from any thread."""

    boot_id: str
    started_s: float
    """When the daemon started, on the monotonic clock."""
    last_crash: Crash | None
    system: System
    tally: Tally
    pipeline: Pipeline
    session: Session
    views: Views
    reload: Reload
    overrides: Overrides
    watchdog: Watchdog
    guests: Callable[[], tuple[GuestStatus, ...]]
    keep: Callable[[], KeepStatus | None]
    sightings: Sightings
    models: Callable[[Config], Sequence[str]]
    """Names the models that a configuration can choose from."""

    def info(self) -> dict[str, Any]:
        """Describe what the device runs."""
        inference = self.pipeline.inference
        classifier, backend = inference.classifier, inference.backend
        config = self.reload.config
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(datetime.now(UTC)),
            "boot_id": self.boot_id,
            "device": self.views.first.publisher.settings.topics.device,
            "version": __version__,
            "python": ".".join(map(str, sys.version_info[:3])),
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
            "views": self._views(config),
            "config": masked(config),
            "overrides": dict(self.overrides.values),
        }

    def _views(self, config: Config) -> list[dict[str, Any]]:
        views, described = self.views.by_id, []
        for view_id, own in views_of(config).items():
            view = views.get(view_id)
            described.append(
                {
                    "view": view_id or config.camera.id,
                    "camera": config.camera.id,
                    "region": list(own.preprocess.region),
                    "crop_fraction": own.preprocess.crop_fraction,
                    "threshold": own.state.threshold,
                    "max_rate_hz": own.mqtt.max_rate_hz,
                    "skip_unchanged": own.idle.skip_unchanged,
                    "model": None if view is None else view.model,
                }
            )
        return described

    def health(self) -> dict[str, Any]:
        """Describe how the device is."""
        return health_payload(self.status(), boot_id=self.boot_id)

    def status(self) -> Status:
        """Collect what the parts say of themselves."""
        now_s = time.monotonic()
        return Status(
            uptime_s=now_s - self.started_s,
            excused_s=self.watchdog.excused_s,
            progress=self.tally.progress(now_s=now_s),
            machine=self.system.status(),
            pipeline=self.pipeline.status,
            mqtt=self.session.status,
            buffer=self.session.buffer,
            guests=self.guests(),
            keep=self.keep(),
            counts=self.sightings.status,
            reload=self.reload.status,
            last_crash=self.last_crash,
            views=self._view_status(now_s),
        )

    def _view_status(self, now_s: float) -> tuple[ViewStatus, ...]:
        views = self.views.by_id
        progress = self.tally.views(views, now_s=now_s)
        return tuple(view.status(progress[view_id]) for view_id, view in views.items())
