"""Keeps Home Assistant told of the device."""

import logging
import random
import threading
import time
from collections.abc import Callable

from edgeclassifier.contract.message import Message
from edgeclassifier.errors import EdgeclassifierError

log = logging.getLogger(__name__)

_ONLINE = b"online"
_JITTER_S = 3.0
_APART_S = 5.0


def birth_topic(prefix: str) -> str:
    """Return where Home Assistant says that it has started."""
    return f"{prefix}/status"


class Announcer:
    """Publishes the discovery message when it is new, and when Home Assistant has started.

    Its methods may be called from any thread, and none waits.
    """

    def __init__(
        self,
        *,
        publish: Callable[[Message], bool],
        make: Callable[[], Message],
        jitter_s: float = _JITTER_S,
        apart_s: float = _APART_S,
    ) -> None:
        """Publish what `make` returns; where it raises EdgeclassifierError, that is logged.

        All devices hear of the start of Home Assistant at the same moment: each lets up to
        `jitter_s` pass. Two messages are at least `apart_s` apart, because Home Assistant loses
        most of one that comes while it still sets up the entities of the one before.
        """
        self._publish = publish
        self._make = make
        self._jitter_s = jitter_s
        self._apart_s = apart_s
        self._lock = threading.Lock()
        self._last: Message | None = None
        self._last_s = float("-inf")
        self._timer: threading.Timer | None = None
        self._stopped = False

    def announce(self) -> None:
        """Publish it now: at the start, and on a broker that is a new one."""
        with self._lock:
            self._cancel()
            self._send(self._made())

    def changed(self) -> None:
        """Publish it if it is not what was published last: at once, or as soon as it may be."""
        with self._lock:
            if self._timer is not None or self._stopped:
                return
            message = self._made()
            if message is None or message == self._last:
                return
            wait_s = self._last_s + self._apart_s - time.monotonic()
            if wait_s > 0:
                self._send_later(wait_s)
            else:
                self._send(message)

    def birth(self, payload: bytes) -> None:
        """Take what Home Assistant says on its birth topic, and publish again if it has started."""
        if payload != _ONLINE:
            return
        with self._lock:
            if self._timer is None:
                # Spreads load, is not a secret.
                self._send_later(random.uniform(0, self._jitter_s))  # noqa: S311

    def withdraw(self) -> None:
        """Take the device out of Home Assistant, and stop."""
        with self._lock:
            self._cancel()
            self._stopped = True
            if self._last is not None:
                self._publish(_emptied(self._last))

    def stop(self) -> None:
        """Publish no more."""
        with self._lock:
            self._cancel()
            self._stopped = True

    def _send_later(self, wait_s: float) -> None:
        if self._stopped:
            return
        self._timer = threading.Timer(wait_s, self._send_now)
        self._timer.name = "announcer"
        self._timer.daemon = True
        self._timer.start()

    def _send_now(self) -> None:
        with self._lock:
            if self._timer is threading.current_thread():
                self._timer = None
                self._send(self._made())

    def _made(self) -> Message | None:
        try:
            return self._make()
        except EdgeclassifierError as error:
            log.warning("Home Assistant is not told of the device: %s", error)
            return None

    def _send(self, message: Message | None) -> None:
        if self._stopped or message is None:
            return
        if self._last is not None and self._last.topic != message.topic:
            self._publish(_emptied(self._last))
        self._publish(message)
        self._last, self._last_s = message, time.monotonic()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _emptied(message: Message) -> Message:
    return Message(topic=message.topic, payload=b"", retain=True)
