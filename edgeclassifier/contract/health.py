"""The payload of the topic health, rendered from what the parts say of themselves."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from edgeclassifier.contract.messages import SCHEMA_VERSION, backend_fields, ms, timestamp
from edgeclassifier.contract.status import Percentiles, Status, ViewStatus


def health_payload(status: Status, *, boot_id: str) -> dict[str, Any]:
    """Describe how the device is."""
    progress, machine, pipeline = status.progress, status.machine, status.pipeline
    mqtt = asdict(status.mqtt)
    age_s = progress.frame_age_s
    return {
        "schema": SCHEMA_VERSION,
        "timestamp": timestamp(datetime.now(UTC)),
        "clock_synchronized": machine.clock_synchronized,
        "boot_id": boot_id,
        "uptime_s": round(status.uptime_s, 1),
        "frames": progress.frames,
        "frame_age_s": None if age_s is None else round(age_s, 3),
        "fps": round(progress.fps, 3),
        "latency_ms": {name: _percentiles(stage) for name, stage in progress.latency.items()},
        "memory_rss_bytes": machine.memory_rss_bytes,
        "cpu_temperature_c": machine.cpu_temperature_c,
        "throttling": _optional(machine.throttling),
        **backend_fields(pipeline.backend),
        "accelerator": _optional(pipeline.accelerator),
        "camera": asdict(pipeline.camera),
        "views": [_view(view) for view in status.views],
        "paused": pipeline.paused,
        "buffer": asdict(status.buffer),
        "drops": {
            "superseded_frames": pipeline.superseded_frames,
            "unreadable_frames": pipeline.unreadable_frames,
            "messages": mqtt.pop("dropped"),
        },
        "mqtt": mqtt,
        "guests": [asdict(guest) for guest in status.guests],
        "keep": _optional(status.keep),
        "counts": _optional(status.counts),
        "reload": _optional(status.reload),
        "last_crash": _optional(status.last_crash),
    }


def _view(view: ViewStatus) -> dict[str, Any]:
    progress = view.progress
    age_s = progress.frame_age_s
    return {
        "view": view.view,
        "frames": progress.frames,
        "frame_age_s": None if age_s is None else round(age_s, 3),
        "fps": round(progress.fps, 3),
        "model": view.model,
        "backend": None if view.backend is None else view.backend.name,
        "problem": view.problem,
    }


def _percentiles(stage: Percentiles) -> dict[str, float]:
    return {"p50": ms(stage.p50), "p95": ms(stage.p95), "max": ms(stage.max)}


def _optional(part: Any) -> dict[str, Any] | None:
    return None if part is None else asdict(part)
