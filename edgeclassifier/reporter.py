"""Publishes what the daemon is, once, and how it is, again and again, with frames or without."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edgeclassifier.health import ProgressMeter
from edgeclassifier.mqtt.base import Message
from edgeclassifier.mqtt.messages import (
    SCHEMA_VERSION,
    Topics,
    encode,
    health_latency,
    timestamp,
)
from edgeclassifier.publisher import JSON
from edgeclassifier.system import System


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What other parts counted since the start."""

    superseded_frames: int
    unreadable_frames: int
    dropped_messages: int
    pending_messages: int
    published_messages: int
    reconnects: int
    last_error: str | None


class Reporter:
    """Publishes the retained topics info and health from a thread of its own."""

    def __init__(
        self,
        *,
        publish: Callable[[Message], bool],
        topics: Topics,
        info: Callable[[], dict[str, Any]],
        boot_id: str,
        backend: str,
        meter: ProgressMeter,
        system: System,
        counters: Callable[[], Counters],
        started_s: float,
        interval_s: float,
    ) -> None:
        """Take `started_s`, when the daemon started, on the monotonic clock."""
        self._publish = publish
        self._topics = topics
        self._info = info
        self._boot_id = boot_id
        self._backend = backend
        self._meter = meter
        self._system = system
        self._counters = counters
        self._started_s = started_s
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Publish both now, and health at the interval."""
        self._thread.start()

    def stop(self) -> None:
        """Publish a last time and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
            self._send(self._topics.health, self.payload())

    def _run(self) -> None:
        self._send(self._topics.info, self._info())
        self._send(self._topics.health, self.payload())
        while not self._stopping.wait(self._interval_s):
            self._send(self._topics.health, self.payload())

    def _send(self, topic: str, payload: dict[str, Any]) -> None:
        message = Message(topic=topic, payload=encode(payload), retain=True, content_type=JSON)
        self._publish(message)

    def payload(self) -> dict[str, Any]:
        """Describe the daemon as it is now."""
        now_s = time.monotonic()
        progress = self._meter.look(now_s=now_s)
        counters = self._counters()
        throttling = self._system.throttling()
        age_s = progress.frame_age_s
        return {
            "schema": SCHEMA_VERSION,
            "timestamp": timestamp(datetime.now(UTC)),
            "clock_synchronized": self._system.clock_synchronized(),
            "boot_id": self._boot_id,
            "uptime_s": round(now_s - self._started_s, 1),
            "frames": progress.frames,
            "frame_age_s": None if age_s is None else round(age_s, 3),
            "fps": round(progress.fps, 3),
            "latency_ms": health_latency(progress),
            "memory_rss_bytes": self._system.memory_rss_bytes(),
            "cpu_temperature_c": self._system.cpu_temperature_c(),
            "throttling": throttling
            and {"now": throttling.now, "since_boot": throttling.since_boot},
            "backend": self._backend,
            "degraded": False,
            "buffer": {"pending": counters.pending_messages},
            "drops": {
                "superseded_frames": counters.superseded_frames,
                "unreadable_frames": counters.unreadable_frames,
                "messages": counters.dropped_messages,
            },
            "mqtt": {
                "published": counters.published_messages,
                "reconnects": counters.reconnects,
                "last_error": counters.last_error,
            },
            "last_crash": None,
        }
