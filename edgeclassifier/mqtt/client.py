"""paho's client as a connection uses it, and what it says of itself to the broker.

Importing paho takes a tenth of a second on a fast machine, so this module is imported late.
"""

from __future__ import annotations

import logging
import socket
import struct
from typing import TYPE_CHECKING, TypeVar

from paho.mqtt import MQTTException, properties
from paho.mqtt.client import PUBLISH, Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from edgeclassifier.mqtt.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paho.mqtt.client import SocketLike, _InPacket

    from edgeclassifier.contract.messages import Message
    from edgeclassifier.mqtt.broker import Broker

logger = logging.getLogger(__name__)

LARGEST_INCOMING_BYTES = 20 * 1024
"""A request takes 16 KiB at most, and its topics and properties a little."""
_CHUNK_BYTES = 64 * 1024
_HEAD_BYTES = 4 * 1024
GARBAGE = (
    MQTTException,
    properties.MQTTException,  # type: ignore[attr-defined] # paho 2.1 has two classes of this name
    struct.error,
    ValueError,
    LookupError,
)
"""What paho raises, depending on its version, for bytes that are not MQTT."""


_TYPE, _QOS = 0xF0, 0x06


class UnwantedError(Exception):
    """The broker sent what MQTT does not allow it to send."""


class IncomingClient(Client):
    """A client that looks at what comes in before it takes it.

    A message that is too large is passed over while it arrives, and confirmed: a client that may
    publish must be able neither to fill the memory nor to break the connection.
    """

    websocket_path: str | None = None
    """Where MQTT is spoken in a WebSocket; None if it is not."""
    _head = b""
    _has_refused = False

    def _create_socket(self) -> SocketLike:
        sock = super()._create_socket()
        if self.websocket_path is None or not isinstance(sock, socket.socket):
            return sock
        return WebSocket(
            sock,
            host=self._host,
            port=self._port,
            path=self.websocket_path,
            timeout_s=self.connect_timeout,
        )

    def skip(self) -> None:
        """Pass over the next part of a packet that is too large. Raises BlockingIOError always.

        That is what paho expects if there is nothing to read.
        """
        packet = self._in_packet
        if packet["command"] & _TYPE != PUBLISH:
            raise UnwantedError(f"a packet of {packet['remaining_length']} bytes")
        self._check_qos()
        data = super()._sock_recv(min(packet["to_process"], _CHUNK_BYTES))
        if not data:
            raise ConnectionResetError("closed")
        self._head += data[: _HEAD_BYTES - len(self._head)]
        packet["to_process"] -= len(data)
        if packet["to_process"] <= 0:
            head, self._head = self._head, b""
            self._in_packet = _empty_packet()
            self._refuse(packet["command"], head, packet["remaining_length"])
        raise BlockingIOError

    def _handle_publish(self) -> MQTTErrorCode:
        self._check_qos()
        packet = self._in_packet
        if self.protocol == MQTTv5:
            packet["packet"] = _without_repeated(packet["command"], packet["packet"])
        return super()._handle_publish()

    def _check_qos(self) -> None:
        if self._in_packet["command"] & _QOS > 2:  # noqa: PLR2004 - QoS 1, as its bits lie
            raise UnwantedError("a message of QoS 2, which this device has not subscribed to")

    def _refuse(self, command: int, head: bytes, size_bytes: int) -> None:
        topic, number = _topic_and_number(command, head)
        logger.log(
            logging.DEBUG if self._has_refused else logging.WARNING,
            "MQTT: passed over a message of %d bytes on %r: requests take at most %d",
            size_bytes,
            topic.decode(errors="replace")[:100],
            LARGEST_INCOMING_BYTES,
        )
        self._has_refused = True
        if number is not None:
            self._send_puback(number)


ClientType = TypeVar("ClientType", bound=IncomingClient)


def make_client(
    broker: Broker, will: Message | None, *, timeout_s: float, kind: type[ClientType]
) -> ClientType:
    """Return a client that is not connected yet and leaves reconnecting to its user."""
    v5 = broker.protocol == "5"
    client = kind(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        clean_session=None if v5 else True,
        protocol=MQTTv5 if v5 else MQTTv311,
        # Else paho would reconnect by itself to try an older protocol.
        reconnect_on_failure=False,
    )
    client.connect_timeout = timeout_s
    client.websocket_path = broker.websocket_path
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    if will is not None:
        client.will_set(
            will.topic,
            will.payload,
            qos=will.qos,
            retain=will.retain,
            properties=_will_properties(broker) if v5 else None,
        )
    client.on_socket_open = _send_small_packets_at_once
    return client


def connect(client: Client, broker: Broker, *, resume: bool) -> None:
    """Reach and greet the broker. Raises OSError or ValueError.

    What is not confirmed is kept and sent again by this side. Only a will that has to wait needs a
    session that outlives the connection.
    """
    if broker.protocol == "5":
        client.connect(
            broker.host,
            broker.port,
            keepalive=broker.keepalive_s,
            properties=_connect_properties(broker),
            clean_start=not (resume and broker.will_delay_s),
        )
    else:
        client.connect(broker.host, broker.port, keepalive=broker.keepalive_s)


def _connect_properties(broker: Broker) -> Properties:
    packed = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # as paho has it
    packed.MaximumPacketSize = LARGEST_INCOMING_BYTES
    if broker.will_delay_s:
        # The will is sent when the session ends, so a session has to outlive the connection.
        packed.SessionExpiryInterval = broker.will_delay_s
    return packed


def _will_properties(broker: Broker) -> Properties:
    packed = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call] # as paho has it
    packed.WillDelayInterval = broker.will_delay_s
    return packed


def _send_small_packets_at_once(_client: Client, _userdata: object, sock: SocketLike) -> None:
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _empty_packet() -> _InPacket:
    return {
        "command": 0,
        "have_remaining": 0,
        "remaining_count": [],
        "remaining_mult": 1,
        "remaining_length": 0,
        "packet": bytearray(),
        "to_process": 0,
        "pos": 0,
    }


def _topic_and_number(command: int, head: bytes | bytearray) -> tuple[bytes, int | None]:
    """Read the topic from the beginning of a message, and the number if it is to be confirmed."""
    if len(head) < 2:  # noqa: PLR2004 - a length takes two bytes
        return b"", None
    end = 2 + int(struct.unpack_from("!H", head)[0])
    number = None
    if command & _QOS and len(head) >= end + 2:
        number = int(struct.unpack_from("!H", head, end)[0])
    return bytes(head[2:end]), number


def _without_repeated(command: int, packet: bytearray) -> bytearray:
    """Return a message without the properties of which there may be any number.

    Nobody here reads them, and paho's time for them grows with the square of their number. What is
    malformed is left to paho.
    """
    topic, number = _topic_and_number(command, packet)
    at = 2 + len(topic) + (0 if number is None else 2)
    try:
        size, start = _varint(packet, at)
        wanted, end = bytearray(), start + size
        at = start
        while at < end:
            kind, value = packet[at], at + 1
            following = value + _VALUE_BYTES[kind](packet, value)
            if kind not in _REPEATED:
                wanted += packet[at:following]
            at = following
    except (LookupError, struct.error):
        return packet
    if at != end or end > len(packet):
        return packet
    head = packet[: 2 + len(topic) + (0 if number is None else 2)]
    # paho leaves this without types.
    length: bytes = VariableByteIntegers.encode(len(wanted))  # type: ignore[no-untyped-call]
    return head + length + wanted + packet[end:]


def _varint(packet: bytearray, at: int) -> tuple[int, int]:
    """Return a variable byte integer, and where it ends."""
    value = 0
    for place in range(4):
        value |= (packet[at + place] & 127) << 7 * place
        if packet[at + place] < 128:  # noqa: PLR2004 - the bit that says that more follows
            return value, at + place + 1
    raise LookupError("it does not end")


def _text_bytes(packet: bytearray, at: int) -> int:
    return 2 + int(struct.unpack_from("!H", packet, at)[0])


def _pair_bytes(packet: bytearray, at: int) -> int:
    first = _text_bytes(packet, at)
    return first + _text_bytes(packet, at + first)


_SUBSCRIPTION, _USER = 0x0B, 0x26
_REPEATED = (_SUBSCRIPTION, _USER)
_VALUE_BYTES: Mapping[int, Callable[[bytearray, int], int]] = {
    0x01: lambda _packet, _at: 1,  # payload format
    0x02: lambda _packet, _at: 4,  # message expiry
    0x03: _text_bytes,  # content type
    0x08: _text_bytes,  # response topic
    0x09: _text_bytes,  # correlation data
    _SUBSCRIPTION: lambda packet, at: _varint(packet, at)[1] - at,
    0x23: lambda _packet, _at: 2,  # topic alias
    _USER: _pair_bytes,
}
"""How long the value of each property of a message is."""


def publish_bytes(message: Message, properties: Properties) -> int:
    """Return the size of the whole packet in MQTT 5."""
    # Topic and properties come after their length, then the packet's number.
    header = len(properties.pack())  # type: ignore[no-untyped-call] # as paho has it
    body = 2 + len(message.topic.encode()) + 2 + header + len(message.payload)
    return 1 + max(1, -(-body.bit_length() // 7)) + body
