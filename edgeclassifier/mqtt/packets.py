"""What PUBLISH packets are made of."""

import functools

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeclassifier.mqtt.base import Message


@functools.cache
def publish_properties(content_type: str | None) -> Properties:
    """Return the properties of MQTT 5 for a message of this type. Not to be changed."""
    packed = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # as paho has it
    if content_type is not None:
        packed.ContentType = content_type
    return packed


def publish_bytes(message: Message) -> int:
    """Return the size of the whole packet in MQTT 5."""
    properties = publish_properties(message.content_type)
    # Topic and properties come after their length, then the packet's number.
    header = len(properties.pack())  # type: ignore[no-untyped-call] # as paho has it
    body = 2 + len(message.topic.encode()) + 2 + header + len(message.payload)
    return 1 + _varint_bytes(body) + body


def _varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
