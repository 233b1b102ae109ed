"""What is seen of the daemon meanwhile: its messages, its memory, its rate."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from soak.process import children
from soak.watcher import NUMBERED, Sequence

MIB = 1 << 20
_PERIOD_S = 0.05


def _topics(base: str) -> set[str]:
    return {f"{base}/health", *(f"{base}/cam0/{each}" for each in NUMBERED)}


class Messages:
    """Counts what the device publishes by itself, whichever way it comes in."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._changed = threading.Condition()
        self.sequences: dict[str, Sequence] = {}
        self.predictions = 0
        self._made_s: list[float] = []
        self.health: dict[str, Any] = {}

    def take(self, topic: str, payload: bytes) -> None:
        """Take what came, once or again."""
        kind = topic.rsplit("/", 1)[-1]
        if topic not in _topics(self._base) or not payload:
            return
        found = json.loads(payload)
        with self._changed:
            if kind in NUMBERED:
                new = self.sequences.setdefault(found["boot_id"], Sequence()).add(found["seq"])
                if new and kind == "predictions":
                    self.predictions += 1
                    self._made_s.append(datetime.fromisoformat(found["timestamp"]).timestamp())
            else:
                self.health = found
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Wait until `condition` holds, asked after each message; return whether it does."""
        with self._changed:
            return bool(self._changed.wait_for(condition, timeout_s))

    def flows(self, timeout_s: float, count: int = 10) -> bool:
        """Wait for `count` new predictions; return whether they came."""
        wanted = self.predictions + count
        return self.wait_for(lambda: self.predictions >= wanted, timeout_s)

    def rate(self, duration_s: float) -> float:
        """Return predictions per second over the next `duration_s`."""
        began_s, before = time.monotonic(), self.predictions
        time.sleep(duration_s)
        return (self.predictions - before) / (time.monotonic() - began_s)

    def made(self, began_s: float, ended_s: float) -> int:
        """Count those whose frames are of a period by the clock, whenever they came."""
        return sum(began_s <= each <= ended_s for each in self._made_s)

    @property
    def newest_s(self) -> float:
        """Of when, by the clock, the newest frame is that came; 0 before the first."""
        return max(self._made_s, default=0.0)

    @property
    def lost(self) -> int:
        """How many numbers have not come, although later ones did."""
        return sum(len(each.missing) for each in self.sequences.values())


class Subscriber:
    """Hands what a broker has on the device's own topics to `messages`."""

    def __init__(self, port: int, base: str, messages: Messages) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        # With QoS 0 the broker would throw away what is too much for a moment.
        topics = [(each, 1) for each in sorted(_topics(base))]
        self._client.on_connect = lambda client, *_: client.subscribe(topics)
        self._client.on_message = self._take
        self._messages = messages
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if not message.retain or message.topic.endswith("/health"):
            self._messages.take(message.topic, bytes(message.payload))


class Meter:
    """Samples what the daemon and its children occupy: files that they share count once (PSS)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def restart(self) -> None:
        """Forget the peak so far."""
        self.peak_bytes = occupied(self._pid)

    def close(self) -> None:
        """Stop sampling. May be called twice."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            self.peak_bytes = max(self.peak_bytes, occupied(self._pid))


def occupied(pid: int) -> int:
    """Return the proportional set size of a process and all below it, in bytes."""
    total = _field(pid, "Pss")
    with contextlib.suppress(OSError):
        total += sum(occupied(child) for child in children(pid))
    return total


def kept(pid: int) -> int:
    """Return the anonymous memory of one process, in bytes."""
    return _field(pid, "Anonymous")


def _field(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return 0
