"""A message, one delivery of it, one that came in, and the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    pass

_MAX_TOPIC_BYTES = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to publish. Raises ValueError for what MQTT or the session does not allow."""

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    content_type: str | None = None
    """A MIME type, sent where the protocol has a place for it (MQTT 5)."""
    keep: bool = False
    """Goes through the buffer: every one is delivered, in order, not only the newest."""
    correlation: bytes | None = None
    """Names the request that this answers, sent where the protocol has a place for it."""

    def __post_init__(self) -> None:
        if not self.topic or any(character in self.topic for character in "+#\0"):
            raise ValueError(f"not a topic to publish on: {self.topic!r}")
        if len(self.topic.encode()) > _MAX_TOPIC_BYTES:
            raise ValueError(f"topic longer than {_MAX_TOPIC_BYTES} bytes: {self.topic[:40]!r}…")
        if self.keep and self.qos == 0:
            raise ValueError(f"QoS 0 is never acknowledged, so it cannot be kept: {self.topic!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message that came from the broker, not a retained one."""

    topic: str
    payload: bytes
    response_topic: str | None = None
    """Where the answer is wanted; None where the sender did not say (MQTT 5)."""
    correlation: bytes | None = None
    """What the answer has to carry, so that the sender knows it."""
