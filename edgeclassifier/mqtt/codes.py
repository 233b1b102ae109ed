"""What each reason code of MQTT 5 means for what was sent: one table, which is in the docs, too.

paho translates the return codes of MQTT 3.1.1 into these.
"""

from collections.abc import Mapping
from typing import Literal

from edgeclassifier.contract.plain import Plain, plain_data

Then = Literal["retry", "retry, bounded", "set aside", "retry slowly", "slow down", "suspect"]
"""What follows.

retry: it is sent again after growing pauses, for as long as it takes.
retry, bounded: the same, but a message that the broker keeps refusing is set aside.
set aside: it is dropped, counted, and named in the log.
retry slowly: only a person can help, so the pauses are long from the beginning.
suspect: what was sent last may be the reason, and is set aside if that happens repeatedly.
slow down: as suspect, and the backlog is sent more slowly from now on.
"""


@plain_data
class Code(Plain):
    """What follows a reason code, by the packet that brings it; None if it cannot bring it."""

    value: int
    name: str
    message: Then | None = None
    """PUBACK: a message is refused."""
    subscription: Then | None = None
    """SUBACK: the device may not listen."""
    connecting: Then | None = None
    """CONNACK: the broker refuses the connection."""
    leaving: Then | None = None
    """DISCONNECT: the broker ends the connection. The next one is tried in any case."""


_CODES = (
    Code(
        value=0x80,
        name="unspecified error",
        message="retry, bounded",
        subscription="retry",
        connecting="retry",
        leaving="suspect",
    ),
    Code(value=0x81, name="malformed packet", connecting="retry slowly", leaving="suspect"),
    Code(value=0x82, name="protocol error", connecting="retry slowly", leaving="suspect"),
    Code(
        value=0x83,
        name="implementation specific error",
        message="retry, bounded",
        subscription="retry",
        connecting="retry",
        leaving="suspect",
    ),
    Code(value=0x84, name="unsupported protocol version", connecting="retry slowly"),
    Code(value=0x85, name="client identifier not valid", connecting="retry slowly"),
    Code(value=0x86, name="bad user name or password", connecting="retry slowly"),
    Code(
        value=0x87,
        name="not authorized",
        message="set aside",
        subscription="retry slowly",
        connecting="retry slowly",
        leaving="suspect",
    ),
    Code(value=0x88, name="server unavailable", connecting="retry"),
    Code(value=0x89, name="server busy", connecting="retry", leaving="retry"),
    Code(value=0x8A, name="banned", connecting="retry slowly"),
    Code(value=0x8B, name="server shutting down", leaving="retry"),
    Code(value=0x8C, name="bad authentication method", connecting="retry slowly"),
    Code(value=0x8D, name="keep alive timeout", leaving="retry"),
    Code(value=0x8E, name="session taken over", leaving="retry"),
    Code(value=0x8F, name="topic filter invalid", subscription="retry slowly", leaving="suspect"),
    Code(
        value=0x90,
        name="topic name invalid",
        message="set aside",
        connecting="retry slowly",
        leaving="suspect",
    ),
    Code(value=0x91, name="packet identifier in use", message="retry", subscription="retry"),
    Code(value=0x93, name="receive maximum exceeded", leaving="slow down"),
    Code(value=0x94, name="topic alias invalid", leaving="suspect"),
    Code(value=0x95, name="packet too large", connecting="retry slowly", leaving="suspect"),
    Code(value=0x96, name="message rate too high", leaving="slow down"),
    Code(
        value=0x97,
        name="quota exceeded",
        message="retry",
        subscription="retry",
        connecting="retry",
        leaving="slow down",
    ),
    Code(value=0x98, name="administrative action", leaving="retry"),
    Code(
        value=0x99,
        name="payload format invalid",
        message="set aside",
        connecting="retry slowly",
        leaving="suspect",
    ),
    Code(value=0x9A, name="retain not supported", connecting="retry slowly", leaving="suspect"),
    Code(value=0x9B, name="QoS not supported", connecting="retry slowly", leaving="retry slowly"),
    Code(value=0x9C, name="use another server", connecting="retry slowly", leaving="retry"),
    Code(value=0x9D, name="server moved", connecting="retry slowly", leaving="retry"),
    Code(
        value=0x9E,
        name="shared subscriptions not supported",
        subscription="retry slowly",
        leaving="suspect",
    ),
    Code(value=0x9F, name="connection rate exceeded", connecting="retry", leaving="retry"),
    Code(value=0xA0, name="maximum connect time", leaving="retry"),
    Code(
        value=0xA1,
        name="subscription identifiers not supported",
        subscription="retry slowly",
        leaving="suspect",
    ),
    Code(
        value=0xA2,
        name="wildcard subscriptions not supported",
        subscription="retry slowly",
        leaving="suspect",
    ),
)
CODES: Mapping[int, Code] = {code.value: code for code in _CODES}
_UNKNOWN = Code(
    value=0xFF,
    name="any other",
    message="retry, bounded",
    subscription="retry slowly",
    connecting="retry slowly",
    leaving="suspect",
)


def of_message(value: int) -> Then:
    """Return what follows a refused message."""
    return CODES.get(value, _UNKNOWN).message or "retry, bounded"


def of_subscription(value: int) -> Then:
    """Return what follows a refused subscription."""
    return CODES.get(value, _UNKNOWN).subscription or "retry slowly"


def of_connecting(value: int) -> Then:
    """Return what follows a refused connection."""
    return CODES.get(value, _UNKNOWN).connecting or "retry slowly"


def of_leaving(value: int) -> Then:
    """Return what follows the end of a connection, with the reason that the broker gave."""
    return CODES.get(value, _UNKNOWN).leaving or "suspect"
