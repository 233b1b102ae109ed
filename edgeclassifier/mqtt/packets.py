"""What packets of MQTT 5 are made of."""

import functools

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeclassifier.mqtt.base import Message

_LARGEST_INCOMING_BYTES = 256 * 1024
"""A request takes far less, and whoever may publish must not be able to fill the memory."""


def connect_properties() -> Properties:
    """Return the properties of MQTT 5 for a connection."""
    packed = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # as paho has it
    packed.MaximumPacketSize = _LARGEST_INCOMING_BYTES
    return packed


def publish_properties(message: Message) -> Properties:
    """Return the properties of MQTT 5 for a message. Not to be changed."""
    return _properties(message.content_type, message.correlation)


@functools.lru_cache(maxsize=8)
def _properties(content_type: str | None, correlation: bytes | None) -> Properties:
    packed = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # as paho has it
    if content_type is not None:
        packed.ContentType = content_type
    if correlation is not None:
        packed.CorrelationData = correlation
    return packed


def publish_bytes(message: Message) -> int:
    """Return the size of the whole packet in MQTT 5."""
    properties = publish_properties(message)
    # Topic and properties come after their length, then the packet's number.
    header = len(properties.pack())  # type: ignore[no-untyped-call] # as paho has it
    body = 2 + len(message.topic.encode()) + 2 + header + len(message.payload)
    return 1 + _varint_bytes(body) + body


def _varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
