"""Where the broker is, and as whom to talk to it."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from edgeclassifier.contract.plain import Plain, plain_data

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from edgeclassifier.contract.messages import Message

Protocol = Literal["5", "3.1.1"]


@plain_data
class Broker(Plain):
    """Where the broker is and as whom to talk to it."""

    host: str
    port: int
    protocol: Protocol
    client_id: str
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    keepalive_s: int
    websocket_path: str | None = None
    """Where MQTT is spoken in a WebSocket; None if it is not."""
    older_too: bool = False
    """Whether 3.1.1 is tried if the broker does not take `protocol`."""
    will_delay_s: int = 0
    """After a lost connection the broker waits as long for the next one before it sends the will
    (MQTT 5)."""

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


@plain_data
class Access(Plain):
    """What a session needs to know of one broker."""

    broker: Broker
    will: Message | None
    subscriptions: Sequence[str]
