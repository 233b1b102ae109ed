"""Who watches the device from this machine: a subscriber that misses nothing."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

BROKER = (
    "persistence true",
    "autosave_on_changes true",
    "autosave_interval 1",
    "max_queued_messages 0",
    "queue_qos0_messages true",
)
"""Lines for mosquitto.conf, so that the session outlives the broker."""
_EXPIRY_S = 24 * 3600
_POLL_S = 0.2


class WatchError(Exception):
    """What was waited for did not come."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One message, and when it came on the monotonic clock."""

    at_s: float
    topic: str
    payload: bytes

    @property
    def kind(self) -> str:
        """The topic's last part."""
        return self.topic.rpartition("/")[2]

    def json(self) -> dict[str, Any]:
        """Decode the payload."""
        decoded: dict[str, Any] = json.loads(self.payload)
        return decoded


class Watcher:
    """Keeps everything that the device publishes, in the order of its arrival."""

    def __init__(self, port: int) -> None:
        """Prepare to subscribe at the broker on `port` of the loopback interface."""
        self._port = port
        self._seen: list[Seen] = []
        self._changed = threading.Condition()
        # With QoS 0 it never writes: nothing is discarded when the broker dies before it is read.
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="watcher", protocol=MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        # What is retained comes with the first subscription alone: it would be out of order later.
        options = SubscribeOptions(qos=0, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        self._client.on_connect = lambda client, *_: client.subscribe(
            "edgeclassifier/#", options=options
        )
        self._client.on_message = self._handle

    def __enter__(self) -> Self:
        lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # as paho has it
        lasting.SessionExpiryInterval = _EXPIRY_S
        self._client.connect("127.0.0.1", self._port, clean_start=False, properties=lasting)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def mark(self) -> int:
        """Return a place in what was seen, for since() and wait_for()."""
        with self._changed:
            return len(self._seen)

    def since(self, mark: int, kind: str = "") -> list[Seen]:
        """Return what came after a mark, of one kind or all."""
        with self._changed:
            return [each for each in self._seen[mark:] if kind in ("", each.kind)]

    def until(self, mark: int, kind: str = "") -> list[Seen]:
        """Return what came before a mark, of one kind or all."""
        with self._changed:
            return [each for each in self._seen[:mark] if kind in ("", each.kind)]

    def wait_for(
        self, what: str, condition: Callable[[Seen], object], *, mark: int, timeout_s: float
    ) -> Seen:
        """Return the first message after `mark` that `condition` holds for. Raises WatchError."""
        deadline_s = time.monotonic() + timeout_s
        looked_at = mark
        while True:
            for each in self.since(looked_at):
                looked_at += 1
                if condition(each):
                    return each
            if time.monotonic() > deadline_s:
                raise WatchError(f"{what}: not within {timeout_s:.0f} s")
            with self._changed:
                self._changed.wait(_POLL_S)

    def _handle(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        with self._changed:
            self._seen.append(Seen(time.monotonic(), message.topic, bytes(message.payload)))
            self._changed.notify_all()


def numbers_of_the_run(seen: Sequence[Seen]) -> set[int]:
    """Return the numbers of what the newest run of the daemon has published.

    From its beginning: with each connection the daemon sends again what is retained, whose number
    may be an old one.
    """
    numbered = [each.json() for each in seen if each.kind in {"predictions", "state", "event"}]
    return {each["seq"] for each in numbered if each["boot_id"] == numbered[-1]["boot_id"]}
