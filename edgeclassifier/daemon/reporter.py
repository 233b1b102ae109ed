"""Publishes `info` and `health` periodically, whether or not frames arrive."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from edgeclassifier.contract.message import Message
from edgeclassifier.contract.payloads import (
    JSON,
    SCHEMA_VERSION,
    Topics,
    backend_fields,
    encode,
    health_latency,
    timestamp,
)
from edgeclassifier.contract.status import Vitals
from edgeclassifier.host import memory, threads
from edgeclassifier.host.system import System
from edgeclassifier.metrics.tally import Tally


class Reporter:
    """Publishes the retained topics info and health from a thread of its own."""

    def __init__(
        self,
        *,
        publish: Callable[[Message], bool],
        topics: Topics,
        info: Callable[[], dict[str, Any]],
        boot_id: str,
        tally: Tally,
        system: System,
        vitals: Callable[[], Vitals],
        started_s: float,
        interval_s: float,
    ) -> None:
        """Take `started_s`, when the daemon started, on the monotonic clock."""
        self.on_report: list[Callable[[], None]] = []
        """Are called, in this part's thread, before info is published."""
        self._publish = publish
        self._topics = topics
        self._info = info
        self._boot_id = boot_id
        self._tally = tally
        self._system = system
        self._vitals = vitals
        self._started_s = started_s
        self._interval_s = interval_s
        self._publishing = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Publish both now, and health at the interval."""
        self._thread = threads.start(self._run, name="health")

    def configure(self, *, topics: Topics, interval_s: float) -> None:
        """Go by other settings, from now on."""
        self._topics = topics
        self._interval_s = interval_s
        self._wake.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Publish nothing meanwhile, so that nothing follows to a topic that is left."""
        with self._publishing:
            yield

    def changed(self) -> None:
        """Publish both now: the backend changed, or a problem appeared or cleared."""
        self._wake.set()

    def stop(self) -> None:
        """Publish a last time and end."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()
            self._send_health()

    def _run(self) -> None:
        self._report()
        while not self._stopping:
            if self._wake.wait(self._interval_s):
                self._wake.clear()
                if not self._stopping:
                    self._report()
            else:
                memory.trim()
                self._send_health()

    def _report(self) -> None:
        for call in self.on_report:
            call()
        info = self._info()
        with self._publishing:
            self._send(self._topics.info, info)
        self._send_health()

    def _send_health(self) -> None:
        health = self.payload()
        with self._publishing:
            self._send(self._topics.health, health)

    def _send(self, topic: str, payload: dict[str, Any]) -> None:
        message = Message(topic=topic, payload=encode(payload), retain=True, content_type=JSON)
        self._publish(message)

    def payload(self) -> dict[str, Any]:
        """Describe the daemon as it is now."""
        now_s = time.monotonic()
        progress = self._tally.progress(now_s=now_s)
        vitals = self._vitals()
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
            "throttling": _optional(self._system.throttling()),
            **backend_fields(vitals.backend),
            "accelerator": _optional(vitals.accelerator),
            "camera": asdict(vitals.camera),
            "paused": vitals.paused,
            "buffer": asdict(vitals.buffer),
            "drops": {
                "superseded_frames": vitals.superseded_frames,
                "unreadable_frames": vitals.unreadable_frames,
                "messages": vitals.dropped_messages,
            },
            "mqtt": {
                "connected": vitals.connected,
                "published": vitals.published_messages,
                "reconnects": vitals.reconnects,
                "last_error": vitals.last_error,
            },
            "reload": _optional(vitals.reload),
            "last_crash": _optional(vitals.last_crash),
        }


def _optional(part: Any) -> dict[str, Any] | None:
    return None if part is None else asdict(part)
