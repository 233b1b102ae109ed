"""A subscriber that loses nothing, and a broker that keeps what it has confirmed."""

import threading
from collections.abc import Callable
from typing import Self

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE_S = 60.0
_WEEK_S = 7 * 24 * 3600
BROKER = (
    "persistence true",
    "autosave_on_changes true",
    "autosave_interval 1",
    "max_queued_messages 0",
    "queue_qos0_messages true",
)


class Archive:
    """A subscriber whose session outlives its connections, and the broker.

    It subscribes with QoS 0 and thus never writes: the broker hands each message to the kernel
    before it confirms it to the sender, and all of it can be read after the broker's death. A
    confirmation written to a dead broker would make the client discard what it has not read yet.
    """

    def __init__(self, port: int, take: Callable[[str, bytes], None]) -> None:
        """Call `take` with topic and payload of each message, with `lock` held."""
        self.lock = threading.Lock()
        self._take_one = take
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="archive", protocol=MQTTv5)
        self._client.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type] # works
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=0)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.on_message = self._handle
        lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # as paho has it
        lasting.SessionExpiryInterval = _WEEK_S
        self._client.connect("127.0.0.1", port, clean_start=False, properties=lasting)

    def __enter__(self) -> Self:
        self._client.loop_start()
        assert self.wait_for_connection()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_for_connection(self) -> bool:
        return self._subscribed.wait(PATIENCE_S)

    def _handle(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        with self.lock:
            self._take_one(message.topic, bytes(message.payload))
