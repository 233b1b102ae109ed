"""What the device listens to at the broker.

Importing paho takes a tenth of a second on a fast machine, so this module is imported late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgeclassifier.contract.messages import Incoming

Answers = Sequence[tuple[int, str]]
"""The reason code for each topic that was asked for, and its name."""


class Listener:
    """Asks for topics, and hands on what is not retained, or else that alone.

    A retained request would be carried out again at every start. `ears` are called in the
    session's thread, so they must neither wait nor raise; `on_answers` is called with the number
    that subscribe() returned.
    """

    def __init__(
        self,
        ears: Sequence[Callable[[Incoming], None]],
        *,
        on_answers: Callable[[int, Answers], None],
        retained: bool = False,
    ) -> None:
        self._ears, self._retained = ears, retained
        self._on_answers = on_answers

    def attach(self, client: Client) -> None:
        """Take the messages of a client that is not connected yet."""
        client.on_message = self._handle_message
        client.on_subscribe = self._handle_subscribe

    def subscribe(self, client: Client, topics: Sequence[str]) -> int | None:
        """Ask for topics, on a connection that the broker has accepted."""
        if client.protocol == MQTTv5:
            handling = (
                SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
                if self._retained
                else SubscribeOptions.RETAIN_DO_NOT_SEND
            )
            options = SubscribeOptions(qos=1, retainHandling=handling)
            _, number = client.subscribe([(topic, options) for topic in topics])
        else:
            _, number = client.subscribe([(topic, 1) for topic in topics])
        return number

    def _handle_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if message.retain != self._retained:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # none of ours, whatever the broker let through
        properties = message.properties
        incoming = Incoming(
            topic=topic,
            payload=bytes(message.payload),
            response_topic=getattr(properties, "ResponseTopic", None),
            correlation=getattr(properties, "CorrelationData", None),
        )
        for hear in self._ears:
            hear(incoming)

    def _handle_subscribe(
        self,
        _client: Client,
        _userdata: object,
        number: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self._on_answers(number, [(reason.value, str(reason)) for reason in reasons])
