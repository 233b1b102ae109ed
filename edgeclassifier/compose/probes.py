"""Connections to the broker beside the daemon's: to try it, to read, or to say one thing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeclassifier.compose.broker import broker_access
from edgeclassifier.config import MqttConfig
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import BrokerError
from edgeclassifier.mqtt.broker import Broker

if TYPE_CHECKING:
    from edgeclassifier.contract.messages import Message, Topics


@plain_data
class Probe(Plain):
    """How to connect for a moment.

    A broker closes the older of two connections with one client id, so the daemon's own is used
    only while the daemon does not run.
    """

    access: Broker
    own_id: str
    """The daemon's client id."""

    @property
    def is_foreign(self) -> bool:
        """Whether another client id than the daemon's is used."""
        return self.access.client_id != self.own_id


def make_probe(config: MqttConfig, *, device: str, daemon_runs: bool) -> Probe:
    """Read secrets and certificates. Raises ConfigError if one is not usable."""
    access = broker_access(config, device=device)
    beside = config.probe_client_id or f"{access.client_id}-check"
    client_id = beside if daemon_runs else access.client_id
    return Probe(
        access=replace(access, client_id=client_id, will_delay_s=0), own_id=access.client_id
    )


def probe_broker(probe: Probe) -> None:
    """Connect once and leave. Raises BrokerError with what is wrong."""
    from edgeclassifier.mqtt import once

    with _explained(probe):
        once.probe(probe.access)


def deliver(probe: Probe, messages: Sequence["Message"]) -> None:
    """Publish messages, and wait until the broker has them. Raises BrokerError."""
    from edgeclassifier.mqtt import once

    with _explained(probe):
        once.deliver(probe.access, messages)


def last_health(probe: Probe, topics: "Topics") -> Mapping[str, Any] | None:
    """Read what a daemon has said last of its health; None if that cannot be known."""
    from edgeclassifier.mqtt.once import read_retained

    try:
        health = json.loads(read_retained(probe.access, topics.health) or b"null")
    except (BrokerError, ValueError):
        return None
    return health if isinstance(health, dict) else None


@contextmanager
def _explained(probe: Probe) -> Iterator[None]:
    """Say which client id it was that a broker refused, or closed the connection of."""
    try:
        yield
    except BrokerError as error:
        said, used = str(error), probe.access.client_id
        if error.__cause__ is not None or not ("refused" in said or "closed" in said):
            raise
        said += f" (client id {used!r}"
        if probe.is_foreign:
            said += (
                f"; the daemon's own, {probe.own_id!r}, was not tried, because a daemon runs: if "
                "the broker ties users to client ids, stop the daemon and try again, allow this "
                "one, or set mqtt.probe_client_id to one that is allowed"
            )
        raise type(error)(said + ")") from None
