"""What packets of MQTT 5 are made of."""

import functools
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeclassifier.contract.message import Message

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


class _Packed(Properties):
    """Properties that are packed once.

    paho looks for all the 27 that there are, by names that it makes anew, with each message that is
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


def publish_bytes(message: Message) -> int:
    """Return the size of the whole packet in MQTT 5."""
    properties = publish_properties(message)
    # Topic and properties come after their length, then the packet's number.
    header = len(properties.pack())  # type: ignore[no-untyped-call] # as paho has it
    body = 2 + len(message.topic.encode()) + 2 + header + len(message.payload)
    return 1 + _varint_bytes(body) + body


def _varint_bytes(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
