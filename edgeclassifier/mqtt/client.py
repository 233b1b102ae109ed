"""paho's client as a connection uses it, and what it says of itself to the broker.

Importing paho takes a tenth of a second on a fast machine, so this module is imported late.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

    from edgeclassifier.contract.messages import Message
    from edgeclassifier.mqtt.broker import Broker

_LARGEST_INCOMING_BYTES = 256 * 1024
"""A request takes far less, and a client that may publish must not be able to fill the memory."""


def make_client(broker: Broker, will: Message | None, *, timeout_s: float) -> Client:
    """Return a client that is not connected yet and leaves reconnecting to its user."""
    v5 = broker.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        clean_session=None if v5 else True,
        protocol=MQTTv5 if v5 else MQTTv311,
        # Else paho would reconnect by itself to try an older protocol.
        reconnect_on_failure=False,
    )
    client.connect_timeout = timeout_s
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    if will is not None:
        # MQTT 5 sends it without delay, unless told otherwise.
        client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
    client.on_socket_open = _send_small_packets_at_once
    return client


def connect_properties() -> Properties:
    """Return the properties of MQTT 5 for a connection."""
    packed = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # as paho has it
    packed.MaximumPacketSize = _LARGEST_INCOMING_BYTES
    return packed


def _send_small_packets_at_once(_client: Client, _userdata: object, sock: SocketLike) -> None:
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
