"""One try, to see whether the broker lets this client in."""

from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.mqtt.once import connected


def probe(broker: Broker) -> None:
    """Connect once, wait for the broker's welcome, and leave.

    A broker closes the older of two connections with the same client id: with a daemon's own id,
    its connection is interrupted for a moment.
    Raises BrokerError: one line with what was wrong and what to do.
    """
    with connected(broker):
        pass
