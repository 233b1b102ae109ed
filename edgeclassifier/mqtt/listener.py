"""What the device listens to at the broker.

Importing paho takes a tenth of a second on a fast machine, so this module is imported late.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgeclassifier.contract.messages import Incoming

logger = logging.getLogger(__name__)


class Listener:
    """Subscribes on every connection, and hands on what is not retained.

    A retained request would be carried out again at every start. `on_message` is called in the
    session's thread, so it must neither wait nor raise.
    """

    def __init__(self, *, topics: Sequence[str], on_message: Callable[[Incoming], None]) -> None:
        self._topics = topics
        self._on_message = on_message

    def attach(self, client: Client) -> None:
        """Take the messages of a client that is not connected yet."""
        client.on_message = self._handle_message
        client.on_subscribe = self._handle_subscribe

    def subscribe(self, client: Client) -> None:
        """Ask for the topics, on a connection that the broker has accepted."""
        if not self._topics:
            return
        if client.protocol == MQTTv5:
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            client.subscribe([(topic, options) for topic in self._topics])
        else:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _handle_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if message.retain:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # none of ours, whatever the broker let through
        properties = message.properties
        self._on_message(
            Incoming(
                topic=topic,
                payload=bytes(message.payload),
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            )
        )

    def _handle_subscribe(
        self,
        _client: Client,
        _userdata: object,
        _number: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        for topic, reason in zip(self._topics, reasons, strict=False):
            if reason.is_failure:
                logger.warning(
                    "MQTT: the broker does not let this device listen to %s: %s", topic, reason
                )
