"""One connection to the broker: opened once, used by one thread, then thrown away.

Importing paho takes a tenth of a second on a fast machine, so this module is imported late.
"""

from __future__ import annotations

import functools
import select
import ssl
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paho.mqtt import MQTTException, properties
from paho.mqtt.client import (
    MQTT_ERR_SUCCESS,
    MQTT_LOG_ERR,
    Client,
    ConnectFlags,
    DisconnectFlags,
)
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgeclassifier.contract.messages import Message
from edgeclassifier.errors import BrokerError
from edgeclassifier.host.wakeup import WakeUp
from edgeclassifier.mqtt import reasons
from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.mqtt.client import connect_properties, make_client

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

    from edgeclassifier.mqtt.listener import Listener

_WINDOW = 20
_GARBAGE = (
    MQTTException,
    properties.MQTTException,  # type: ignore[attr-defined] # paho 2.1 has two classes of this name
    struct.error,
    ValueError,
    LookupError,
)
"""What paho raises, depending on its version, for bytes that are not MQTT."""


class RefusedError(BrokerError):
    """The broker refused, and will until a person changes something."""


class Connection:
    """A connection that lasts until `step` raises BrokerError or `close` is called.

    Every method is called from the same thread. `on_delivered` is called, from within `step`,
    with the number that `send` returned and None, or the reason why the broker refused it.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        will: Message | None,
        wake: WakeUp | None = None,
        on_delivered: Callable[[int, str | None], None] | None = None,
        listener: Listener | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Take `timeout_s` for each of: connecting to one address, and the broker's answer."""
        self._broker = broker
        self._wake = wake
        self._on_delivered = on_delivered
        self._listener = listener
        self._timeout_s = timeout_s
        self._failure: str | None = None
        self._refused_for_good = False
        self._answer_due_s = 0.0
        self._max_packet_bytes: int | None = None
        self.accepted = False
        """Whether the broker has welcomed this client."""
        self.window = _WINDOW
        """How many unconfirmed messages the broker takes; paho knows of no such limit."""
        self._client = client = make_client(broker, will, timeout_s=self._timeout_s)
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_publish = self._handle_publish
        client.on_log = self._handle_log
        # With this callback paho leaves writing to the loop in `step`.
        client.on_socket_register_write = _ignore
        if listener is not None:
            listener.attach(client)

    def open(self) -> None:
        """Find, reach and greet the broker; its answer comes in `step`.

        Blocks for the name service, and for up to ten seconds in each of the later stages.
        Raises BrokerError.
        """
        broker = self._broker
        try:
            # paho's defaults: a clean start, and no session that outlives the connection. What is
            # not confirmed is kept and sent again by this side.
            self._client.connect(
                broker.host,
                broker.port,
                keepalive=broker.keepalive_s,
                properties=connect_properties() if broker.protocol == "5" else None,
            )
        except (OSError, ValueError) as error:
            text = reasons.of_connecting(error, timeout_s=self._timeout_s)
            raise BrokerError(f"{broker}: {text}") from error
        self._answer_due_s = time.monotonic() + self._timeout_s

    def fits(self, message: Message) -> bool:
        """Whether the broker accepts a packet of this size."""
        if self._max_packet_bytes is None:
            return True
        return _publish_bytes(message) <= self._max_packet_bytes

    def send(self, message: Message) -> int:
        """Queue a message for the next `step`; return the number of this delivery."""
        info = self._client.publish(
            message.topic,
            message.payload,
            qos=message.qos,
            retain=message.retain,
            properties=_publish_properties(message) if self._broker.protocol == "5" else None,
        )
        if info.rc != MQTT_ERR_SUCCESS:
            raise BrokerError(f"{self._broker}: {reasons.CLOSED}")
        return info.mid

    def step(self, timeout_s: float) -> None:
        """Wait for the network or `wake` for at most `timeout_s`, then read and write.

        Raises BrokerError, or RefusedError, once there is no connection any more.
        """
        sock = self._client.socket()
        if sock is not None:
            try:
                self._exchange(sock, timeout_s)
            except _GARBAGE:
                self._fail(reasons.NOT_MQTT)
        if self._failure is None and not self.accepted and time.monotonic() > self._answer_due_s:
            self._fail(reasons.NO_ANSWER.format(seconds=self._timeout_s))
        if self._failure is None and self._client.socket() is None:
            self._fail(reasons.CLOSED)
        if self._failure is not None:
            kind = RefusedError if self._refused_for_good else BrokerError
            raise kind(f"{self._broker}: {self._failure}")

    def _exchange(self, sock: SocketLike, timeout_s: float) -> None:
        buffered = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        if self._wake is not None:
            poll.register(self._wake, select.POLLIN)
        ready = dict(poll.poll(0 if buffered else timeout_s * 1000))
        if self._wake is not None and ready.get(self._wake.fileno()):
            self._wake.clear()
        # paho looks after errors itself and does nothing once its socket is closed.
        if buffered or ready.get(sock.fileno(), 0) & ~select.POLLOUT:
            self._client.loop_read()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()

    def close(self, *, politely: bool) -> None:
        """End the connection. Politely means that the broker does not send the will."""
        if politely:
            self._client.disconnect()
            self._client.loop_write()
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason

    def _handle_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        limits: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refused_for_good = reason.value not in reasons.PASSING_REFUSALS
            self._fail(
                reasons.of_refusal(reason.value, str(reason), client_id=self._broker.client_id)
            )
            return
        self.accepted = True
        self.window = min(_WINDOW, getattr(limits, "ReceiveMaximum", _WINDOW))
        self._max_packet_bytes = getattr(limits, "MaximumPacketSize", None)
        if self._listener is not None:
            self._listener.subscribe(self._client)

    def _handle_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            client_id = self._broker.client_id
            self._fail(reasons.of_farewell(reason.value, str(reason), client_id=client_id))
        elif reason == "Keep alive timeout":
            self._fail(reasons.SILENT)
        elif reason == "Protocol error":
            self._fail(reasons.NOT_MQTT)
        else:
            self._fail(reasons.CLOSED if self.accepted else reasons.CLOSED_EARLY)

    def _handle_publish(
        self,
        _client: Client,
        _userdata: object,
        number: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._on_delivered is not None:
            self._on_delivered(number, str(reason).lower() if reason.is_failure else None)

    def _handle_log(self, _client: Client, _userdata: object, level: int, text: str) -> None:
        if level == MQTT_LOG_ERR and "socket" in text:
            self._fail(reasons.of_network_text(text, accepted=self.accepted))


def _ignore(*_args: object) -> None:
    return


def _publish_properties(message: Message) -> Properties:
    """Return the properties of MQTT 5 for a message. Not to be changed."""
    return _properties(message.content_type, message.correlation)


class _Packed(Properties):
    """Properties that are packed once.

    paho looks for all the 27 that there are, by new names each time, for every message that is
    sent. Python remembers thousands of such names, and what they lie between cannot be freed.
    """

    packed: bytes
    text: str

    def __init__(self, **properties: Any) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # as paho has it
        for name, value in properties.items():
            setattr(self, name, value)
        # Properties itself takes no other attributes.
        self.__dict__["packed"] = super().pack()  # type: ignore[no-untyped-call]
        self.__dict__["text"] = super().__str__()  # type: ignore[no-untyped-call]

    def pack(self) -> bytes:
        """Return the bytes that go into the packet."""
        return self.packed

    def __str__(self) -> str:
        return self.text


@functools.lru_cache(maxsize=8)
def _properties(content_type: str | None, correlation: bytes | None) -> Properties:
    given = {"ContentType": content_type, "CorrelationData": correlation}
    return _Packed(**{name: value for name, value in given.items() if value is not None})


def _publish_bytes(message: Message) -> int:
    """Return the size of the whole packet in MQTT 5."""
    properties = _publish_properties(message)
    # Topic and properties come after their length, then the packet's number.
    header = len(properties.pack())  # type: ignore[no-untyped-call] # as paho has it
    body = 2 + len(message.topic.encode()) + 2 + header + len(message.payload)
    return 1 + _varint_bytes(body) + body


def _varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
