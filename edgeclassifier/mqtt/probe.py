"""One try, to see whether the broker lets this client in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgeclassifier.errors import ConfigError
from edgeclassifier.mqtt.base import Broker

if TYPE_CHECKING:
    import ssl


def probe(
    *,
    host: str,
    port: int,
    protocol: Literal["5", "3.1.1"],
    client_id: str,
    username: str | None,
    password: str | None,
    tls: ssl.SSLContext | None,
    keepalive_s: int,
) -> None:
    """Connect once, wait for the broker's welcome, and leave.

    A broker closes the older of two connections with the same `client_id`: with a daemon's own
    id, its connection is interrupted for a moment.
    Raises BrokerError: one line with what was wrong and what to do.
    """
    broker = Broker(
        host=host,
        port=port,
        protocol=protocol,
        client_id=client_id,
        username=username,
        password=password,
        tls=tls,
        keepalive_s=keepalive_s,
    )
    if problems := broker.problems():
        raise ConfigError(problems)
    from edgeclassifier.mqtt.connection import Connection

    connection = Connection(broker=broker, will=None)
    try:
        connection.open()
        while not connection.accepted:
            connection.step(1.0)
    finally:
        connection.close(politely=True)
