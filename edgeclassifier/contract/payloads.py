"""The MQTT contract, version 1: topics and payloads. `v1.schema.json` is its formal half."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgeclassifier.contract.message import Message
from edgeclassifier.contract.results import Backend, ModelIdentity, Result, State
from edgeclassifier.contract.status import Percentiles, Status

SCHEMA_VERSION = 1
SCHEMA_FILE = Path(__file__).parent / "v1.schema.json"

JSON = "application/json"

ONLINE, OFFLINE = b"online", b"offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics of one device with one camera."""

    root: str
    device: str
    camera: str

    @property
    def base(self) -> str:
        """What all topics of the device begin with, without a slash at the end."""
        return f"{self.root}/{self.device}"

    @property
    def availability(self) -> str:
        """Retained: online or offline."""
        return f"{self.base}/availability"

    @property
    def info(self) -> str:
        """Retained: what the device runs."""
        return f"{self.base}/info"

    @property
    def health(self) -> str:
        """Retained: how the device is."""
        return f"{self.base}/health"

    @property
    def requests(self) -> str:
        """What the device listens to: one level more, which names the command."""
        return f"{self.base}/request/+"

    @property
    def predictions(self) -> str:
        """Every published result."""
        return f"{self.base}/{self.camera}/predictions"

    @property
    def state(self) -> str:
        """Retained: the stable label."""
        return f"{self.base}/{self.camera}/state"

    @property
    def event(self) -> str:
        """One message for each change of state."""
        return f"{self.base}/{self.camera}/event"

    @property
    def image(self) -> str:
        """The classified crop as a JPEG."""
        return f"{self.base}/{self.camera}/image"


def online(topics: Topics) -> Message:
    """Say that the device is there."""
    return Message(topic=topics.availability, payload=ONLINE, retain=True)


def offline(topics: Topics) -> Message:
    """Say that it is not."""
    return Message(topic=topics.availability, payload=OFFLINE, retain=True)


class Payloads:
    """Builds payloads, and numbers those that a subscriber may have to tell apart.

    (`boot_id`, `seq`) names one message of this run of the daemon.
    """

    def __init__(self, *, camera: str) -> None:
        self.boot_id = uuid.uuid4().hex
        self.camera = camera
        self._next_seq = 0

    def prediction(self, result: Result, *, clock_synchronized: bool) -> dict[str, Any]:
        """Describe one classified frame."""
        return {
            **self._head(result.frame.utc, clock_synchronized=clock_synchronized),
            **_found(result),
        }

    def classification(self, result: Result) -> dict[str, Any]:
        """Describe what was found in a picture that somebody asked about: it has no number."""
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(result.frame.utc),
            "camera": self.camera,
            **_found(result),
        }

    def state(self, state: State, newest: Result, *, clock_synchronized: bool) -> dict[str, Any]:
        """Describe the label that holds."""
        return {
            **self._head(newest.frame.utc, clock_synchronized=clock_synchronized),
            "label": state.label,
            "class_id": state.class_id,
            "score": round(state.score, 5),
            "predictions": _predictions(newest),
        }

    def event(self, state: State, newest: Result, *, clock_synchronized: bool) -> dict[str, Any]:
        """Describe a change of state."""
        return {
            **self.state(state, newest, clock_synchronized=clock_synchronized),
            "event_type": "label_changed",
            "previous_label": state.previous_label,
        }

    def _head(self, when: datetime, *, clock_synchronized: bool) -> dict[str, Any]:
        seq = self._next_seq
        self._next_seq += 1
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(when),
            "clock_synchronized": clock_synchronized,
            "boot_id": self.boot_id,
            "seq": seq,
            "camera": self.camera,
        }


def _found(result: Result) -> dict[str, Any]:
    return {
        "origin": result.frame.origin,
        "repeated": result.repeated,
        "answer_age_s": round(result.answer_age_s, 3),
        "model": model_identity(result.model),
        **backend_fields(result.backend),
        "latency_ms": {
            "capture": _ms(result.latency.capture_s),
            "preprocess": _ms(result.latency.preprocess_s),
            "inference": _ms(result.latency.inference_s),
            "total": _ms(result.latency.total_s),
        },
        "predictions": _predictions(result),
    }


def _predictions(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "rank": each.rank,
            "class_id": each.class_id,
            "label": each.label,
            "score": round(each.score, 5),
        }
        for each in result.predictions
    ]


def model_identity(model: ModelIdentity) -> dict[str, Any]:
    """Render which model it is."""
    return {"name": model.name, "sha256": model.sha256}


def backend_fields(backend: Backend) -> dict[str, Any]:
    """Render what runs the model."""
    return {
        "backend": backend.name,
        "degraded": backend.degraded,
        "degraded_reason": backend.reason,
    }


def health(status: Status, *, boot_id: str) -> dict[str, Any]:
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
        "paused": pipeline.paused,
        "buffer": asdict(status.buffer),
        "drops": {
            "superseded_frames": pipeline.superseded_frames,
            "unreadable_frames": pipeline.unreadable_frames,
            "messages": mqtt.pop("dropped"),
        },
        "mqtt": mqtt,
        "guests": [asdict(guest) for guest in status.guests],
        "reload": _optional(status.reload),
        "last_crash": _optional(status.last_crash),
    }


def timestamp(when: datetime) -> str:
    """Render a time as UTC with milliseconds, as in 2026-01-02T03:04:05.678Z."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(payload: Mapping[str, Any]) -> bytes:
    """Render a payload as compact UTF-8 JSON, "?" in place of what UTF-8 has no bytes for."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    # A file's name need not be text in any encoding.
    return text.encode(errors="replace")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _percentiles(stage: Percentiles) -> dict[str, float]:
    return {"p50": _ms(stage.p50), "p95": _ms(stage.p95), "max": _ms(stage.max)}


def _optional(part: Any) -> dict[str, Any] | None:
    return None if part is None else asdict(part)
