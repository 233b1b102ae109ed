"""The MQTT contract, version 1: topics, messages, payloads. `v1.schema.json` is its formal half."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import Backend, ModelIdentity, Result, State

SCHEMA_VERSION = 1
SCHEMA_FILE = Path(__file__).parent / "v1.schema.json"

JSON = "application/json"

ONLINE, OFFLINE = b"online", b"offline"
_MAX_TOPIC_BYTES = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to publish. Raises ValueError for what MQTT or the session does not allow."""

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    content_type: str | None = None
    """A MIME type, sent if the protocol has a place for it (MQTT 5)."""
    keep: bool = False
    """Goes through the buffer: every one is delivered, in order, not only the newest."""
    correlation: bytes | None = None
    """Names the request that this answers, sent if the protocol has a place for it."""
    once: bool = False
    """Gets one try: it is not sent again if the connection is lost before it is confirmed."""
    picture: bytes | None = None
    """A JPEG that the payload names, and that is to arrive before it; see contract/pictures.py."""
    user_properties: tuple[tuple[str, str], ...] = ()
    """Sent if the protocol has a place for them."""
    expiry_s: int = 0
    """The broker drops it if it has not delivered it within this, if the protocol has a place for
    that; 0: never."""

    @property
    def clears(self) -> bool:
        """Whether it takes away what the broker retains on its topic."""
        return self.retain and not self.payload

    def __post_init__(self) -> None:
        if not self.topic or any(character in self.topic for character in "+#\0"):
            raise ValueError(f"not a topic to publish on: {self.topic!r}")
        if len(self.topic.encode()) > _MAX_TOPIC_BYTES:
            raise ValueError(f"topic longer than {_MAX_TOPIC_BYTES} bytes: {self.topic[:40]!r}…")
        if self.keep and self.qos == 0:
            raise ValueError(f"QoS 0 is never acknowledged, so it cannot be kept: {self.topic!r}")
        if self.picture is not None and (self.retain or not self.keep):
            raise ValueError(f"a picture goes through the buffer, unretained: {self.topic!r}")


@plain_data
class Incoming(Plain):
    """A message that came from the broker, not a retained one."""

    topic: str
    payload: bytes
    response_topic: str | None = None
    """Where the answer is wanted; None if the sender did not say (MQTT 5)."""
    correlation: bytes | None = None
    """What the answer has to carry, so that the sender knows it."""


@plain_data
class Topics(Plain):
    """The topics of one device, and of one view of its camera."""

    root: str
    device: str
    camera: str
    view: str = ""
    """Empty: the camera's only one, which is called as the camera is."""

    def view_name(self) -> str:
        """Return what the view is called in topics and payloads."""
        return self.view or self.camera

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
        return f"{self.base}/{self.view_name()}/predictions"

    @property
    def state(self) -> str:
        """Retained: the stable label."""
        return f"{self.base}/{self.view_name()}/state"

    @property
    def event(self) -> str:
        """One message for each change of state."""
        return f"{self.base}/{self.view_name()}/event"

    @property
    def image(self) -> str:
        """The classified crop as a JPEG."""
        return f"{self.base}/{self.view_name()}/image"


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
            **self._head(result, clock_synchronized=clock_synchronized),
            **_found(result),
        }

    def classification(self, result: Result) -> dict[str, Any]:
        """Describe what was found in a picture on request: it has no number."""
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(result.frame.utc),
            "camera": self.camera,
            "view": result.view or self.camera,
            **_found(result),
        }

    def state(
        self,
        state: State,
        newest: Result,
        *,
        clock_synchronized: bool,
        seen: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Describe the label that holds, and when it was seen before."""
        return {
            **self._head(newest, clock_synchronized=clock_synchronized),
            "name": state.name,
            "label": state.label,
            "class_id": state.class_id,
            "score": round(state.score, 5),
            "seen": None if seen is None else dict(seen),
            "predictions": _predictions(newest),
        }

    def event(
        self,
        state: State,
        newest: Result,
        *,
        clock_synchronized: bool,
        seen: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Describe a change of state."""
        return {
            **self.state(state, newest, clock_synchronized=clock_synchronized, seen=seen),
            "event_type": "label_changed",
            "previous_name": state.previous_name,
            "previous_label": state.previous_label,
        }

    def _head(self, result: Result, *, clock_synchronized: bool) -> dict[str, Any]:
        seq = self._next_seq
        self._next_seq += 1
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(result.frame.utc),
            "clock_synchronized": clock_synchronized,
            "boot_id": self.boot_id,
            "seq": seq,
            "camera": self.camera,
            "view": result.view or self.camera,
        }


def _found(result: Result) -> dict[str, Any]:
    return {
        "origin": result.frame.origin,
        "repeated": result.answer_age_s > 0,
        "answer_age_s": round(result.answer_age_s, 3),
        "model": model_identity(result.model),
        **backend_fields(result.backend),
        "latency_ms": {
            "capture": ms(result.latency.capture_s),
            "preprocess": ms(result.latency.preprocess_s),
            "inference": ms(result.latency.inference_s),
            "total": ms(result.latency.total_s),
        },
        "predictions": _predictions(result),
    }


def _predictions(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "rank": each.rank,
            "class_id": each.class_id,
            "name": each.name,
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


def timestamp(when: datetime) -> str:
    """Render a time as UTC with milliseconds, as in 2026-01-02T03:04:05.678Z."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(payload: Mapping[str, Any]) -> bytes:
    """Render a payload as compact UTF-8 JSON, "?" in place of what UTF-8 has no bytes for."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    # A file's name need not be text in any encoding.
    return text.encode(errors="replace")


def ms(seconds: float) -> float:
    """Render seconds as milliseconds."""
    return round(seconds * 1000, 3)
