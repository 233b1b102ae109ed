"""A message, one delivery of it, one that came in, and the broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ssl

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


@dataclass(slots=True, eq=False)
class Parcel:
    """One message on its way."""

    message: Message
    losses: int = 0
    """How often the connection broke while this was the first large message under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and as whom to talk to it."""

    host: str
    port: int
    protocol: Literal["5", "3.1.1"]
    client_id: str
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    keepalive_s: int

    def problems(self) -> list[str]:
        """Contradictions that no broker would accept, one line each."""
        problems = []
        if not self.host:
            problems.append("MQTT: the broker's host name is empty")
        if not 0 < self.port < 65_536:  # noqa: PLR2004 - what TCP has
            problems.append(f"MQTT: port {self.port} is not between 1 and 65535")
        if not self.client_id:
            problems.append("MQTT: the client id is empty; give every device its own")
        if self.password is not None and self.username is None:
            problems.append("MQTT: a password needs a user name beside it")
        if not 0 < self.keepalive_s < 65_536:  # noqa: PLR2004 - what fits into CONNECT
            problems.append(f"MQTT: keepalive of {self.keepalive_s} s is not between 1 and 65535")
        return problems

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"MQTT broker {host}:{self.port}"
