"""One connection for one purpose: to see whether the broker accepts it, or to deliver a message."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeclassifier.errors import BrokerError, ConfigError
from edgeclassifier.mqtt.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeclassifier.contract.messages import Message
    from edgeclassifier.mqtt.broker import Broker
    from edgeclassifier.mqtt.connection import Connection, Refusal
    from edgeclassifier.mqtt.listener import Answers, Listener


@contextmanager
def connected(
    broker: Broker,
    *,
    on_delivered: Callable[[int, Refusal | None], None] | None = None,
    listener: Listener | None = None,
    timeout_s: float = 10.0,
) -> Iterator[Connection]:
    """Connect once, wait for the broker's welcome, and leave politely. Raises BrokerError."""
    if problems := broker.problems():
        raise ConfigError(problems)
    from edgeclassifier.mqtt.connection import Connection

    versions = Versions(broker)

    def make() -> Connection:
        return Connection(
            broker=versions.broker,
            will=None,
            on_delivered=on_delivered,
            listener=listener,
            timeout_s=timeout_s,
        )

    connection = make()
    try:
        try:
            _greet(connection)
        except BrokerError:
            if not versions.note_failure(connection.ending):
                raise
            connection.close(politely=False)
            connection = make()
            _greet(connection)
        yield connection
    finally:
        connection.close(politely=True)


def _greet(connection: Connection) -> None:
    connection.open()
    while not connection.accepted:
        connection.step(1.0)


def probe(broker: Broker, *, timeout_s: float = 10.0) -> None:
    """Connect once, wait for the broker's welcome, and leave.

    A broker closes the older of two connections with the same client id: with a daemon's own id,
    its connection is interrupted for a moment.
    Raises BrokerError: one line with what was wrong and what to do.
    """
    with connected(broker, timeout_s=timeout_s):
        pass


def deliver(broker: Broker, messages: Sequence[Message], *, timeout_s: float = 10.0) -> None:
    """Connect, publish messages of QoS 1, wait for the broker to confirm each, and leave.

    Raises BrokerError: one line with what was wrong and what to do.
    """
    answers: dict[int, Refusal | None] = {}
    with connected(broker, on_delivered=answers.__setitem__, timeout_s=timeout_s) as connection:
        for message in messages:
            number = connection.send(message)
            until_s = time.monotonic() + timeout_s
            while number not in answers:
                if time.monotonic() > until_s:
                    raise BrokerError(
                        f"{broker}: did not confirm a message on {message.topic} within "
                        f"{timeout_s:.0f} s"
                    )
                connection.step(1.0)
            if (refusal := answers[number]) is not None:
                raise BrokerError(
                    f"{broker}: refused a message on {message.topic}: {refusal[1]}; check its "
                    "access list"
                )


def read_retained(broker: Broker, topic: str, *, timeout_s: float = 2.0) -> bytes | None:
    """Connect, and return what the broker has retained on a topic; None if that is nothing.

    Raises BrokerError: one line with what was wrong and what to do.
    """
    from edgeclassifier.mqtt.listener import Listener

    found: list[bytes] = []
    answered: list[Answers] = []
    listener = Listener(
        [lambda incoming: found.append(incoming.payload)],
        on_answers=lambda _number, answers: answered.append(answers),
        retained=True,
    )
    with connected(broker, listener=listener, timeout_s=timeout_s) as connection:
        connection.subscribe([topic])
        until_s = time.monotonic() + timeout_s
        while not found and (left_s := until_s - time.monotonic()) > 0:
            # A broker sends what it has retained together with its answer.
            connection.step(min(left_s, 0.5) if answered else left_s)
            if answered and not found:
                until_s = min(until_s, time.monotonic() + 0.5)
    return found[0] if found else None
