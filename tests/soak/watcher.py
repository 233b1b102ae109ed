"""A subscriber that checks everything as it comes and keeps next to nothing."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

NUMBERED = ("predictions", "state", "event")


class Sequence:
    """The numbers of one run of the daemon, which have to come without a gap and in order."""

    def __init__(self) -> None:
        self.next = 0
        self.repeated = 0
        self.late = 0
        """How many came after a later one."""
        self.missing: set[int] = set()

    def add(self, number: int) -> bool:
        """Take a number; return whether it is new."""
        if number >= self.next:
            self.missing.update(range(self.next, number))
            self.next = number + 1
            return True
        if number in self.missing:
            self.missing.discard(number)
            self.late += 1
            return True
        self.repeated += 1
        return False


class Watcher:
    """Counts messages, checks their numbers, and knows the newest health.

    It subscribes with QoS 0: what the broker has taken is then written to it at once, and nothing
    that was acknowledged is left in a broker that is killed.
    """

    def __init__(self, port: int) -> None:
        self.sequences: dict[str, Sequence] = {}
        self.predictions = 0
        self.images = 0
        self.health: dict[str, Any] = {}
        self.health_s = 0.0
        """When the newest health came, on the monotonic clock."""
        self.availability = ""
        self.subscriptions = 0
        self._changed = threading.Condition()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=0)
        self._client.on_subscribe = self._handle_subscribed
        self._client.on_message = self._handle_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def wait_for(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Wait until `condition` holds, asked after each message; return whether it does."""
        with self._changed:
            return bool(self._changed.wait_for(condition, timeout_s))

    def _handle_subscribed(self, *_: object) -> None:
        with self._changed:
            self.subscriptions += 1
            self._changed.notify_all()

    def _handle_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if not message.payload:
            return  # a name that the device has left is cleared
        kind = message.topic.rsplit("/", 1)[1]
        with self._changed:
            if kind in NUMBERED and not message.retain:
                self._count(kind, json.loads(message.payload))
            elif kind == "health":
                self.health, self.health_s = json.loads(message.payload), time.monotonic()
            elif kind == "availability":
                self.availability = message.payload.decode()
            elif kind == "image":
                self.images += 1
            self._changed.notify_all()

    def _count(self, kind: str, payload: dict[str, Any]) -> None:
        sequence = self.sequences.setdefault(payload["boot_id"], Sequence())
        if sequence.add(payload["seq"]) and kind == "predictions":
            self.predictions += 1
