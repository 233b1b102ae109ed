"""One message, delivered while somebody waits for it."""

import time

from edgeclassifier.errors import BrokerError, ConfigError
from edgeclassifier.mqtt.base import Broker, Message

_TIMEOUT_S = 10.0


def deliver(broker: Broker, message: Message) -> None:
    """Connect, publish one message of QoS 1, wait for the broker to confirm it, and leave.

    Raises BrokerError: one line with what was wrong and what to do.
    """
    if problems := broker.problems():
        raise ConfigError(problems)
    from edgeclassifier.mqtt.connection import Connection

    answers: dict[int, str | None] = {}
    connection = Connection(broker=broker, will=None, on_delivered=answers.__setitem__)
    try:
        connection.open()
        while not connection.accepted:
            connection.step(1.0)
        number = connection.send(message)
        until_s = time.monotonic() + _TIMEOUT_S
        while number not in answers:
            if time.monotonic() > until_s:
                raise BrokerError(
                    f"{broker}: did not confirm a message on {message.topic} within "
                    f"{_TIMEOUT_S:.0f} s"
                )
            connection.step(1.0)
    finally:
        connection.close(politely=True)
    if (refusal := answers[number]) is not None:
        raise BrokerError(
            f"{broker}: refused a message on {message.topic}: {refusal}; check its access list"
        )
