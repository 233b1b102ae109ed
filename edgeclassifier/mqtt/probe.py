"""One try, to see whether the broker lets this client in."""

from edgeclassifier.errors import ConfigError
from edgeclassifier.mqtt.base import Broker


def probe(broker: Broker) -> None:
    """Connect once, wait for the broker's welcome, and leave.

    A broker closes the older of two connections with the same client id: with a daemon's own id,
    its connection is interrupted for a moment.
    Raises BrokerError: one line with what was wrong and what to do.
    """
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
