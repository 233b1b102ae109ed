"""Publishes `info` and `health` periodically, whether or not frames arrive."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edgeclassifier.contract.messages import JSON, Message, Topics, encode
from edgeclassifier.host import memory, threads

Payload = Mapping[str, Any]


class Reporter:
    """Publishes the retained topics info and health from a thread of its own."""

    def __init__(
        self,
        *,
        publish: Callable[[Message], bool],
        topics: Topics,
        info: Callable[[], Payload],
        health: Callable[[], Payload],
        interval_s: float,
    ) -> None:
        """Take what makes the payloads; health is published each `interval_s` seconds."""
        self.on_report: list[Callable[[], None]] = []
        """Are called, in this part's thread, before info is published."""
        self._publish = publish
        self._topics = topics
        self._info = info
        self._health = health
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
        health = self._health()
        with self._publishing:
            self._send(self._topics.health, health)

    def _send(self, topic: str, payload: Payload) -> None:
        message = Message(topic=topic, payload=encode(payload), retain=True, content_type=JSON)
        self._publish(message)
