"""What is still to be delivered: bounded, and safe to fill from any thread."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from edgeclassifier.mqtt.base import Message

_SUSPECT_BYTES = 16 * 1024
"""No broker in use refuses smaller messages for their size."""
_MAX_LOSSES = 3


@dataclass(slots=True, eq=False)
class Parcel:
    """One message on its way."""

    message: Message
    losses: int = 0
    """How often the connection broke while this was the first large message under way."""


class Outbox:
    """Keeps messages until the broker confirms them.

    Retained messages are the device's birth: the newest of each topic is kept for good and sent
    first on every connection, where newer ones replace older ones that still wait. The others
    are accepted while online, leave in order, and are sent again on the next connection if this
    one breaks before they are confirmed.
    """

    def __init__(self, *, max_queued: int) -> None:
        self._max_queued = max_queued
        self._lock = threading.Lock()
        self._online = False
        self._closed = False
        self._retained: dict[str, Parcel] = {}
        self._owed: dict[str, None] = {}  # topics of retained messages to send, in order
        self._waiting: deque[Parcel] = deque()
        self._under_way: dict[Parcel, None] = {}  # sent and not confirmed, in order
        self._published = self._acknowledged = self._dropped = 0

    @property
    def online(self) -> bool:
        """Whether a broker has accepted the connection and it still stands."""
        return self._online

    @property
    def published(self) -> int:
        """Messages that were accepted for delivery."""
        return self._published

    @property
    def acknowledged(self) -> int:
        """Deliveries confirmed by the broker (QoS 0: handed to the network), births included."""
        return self._acknowledged

    @property
    def dropped(self) -> int:
        """Messages that were refused, here or by the broker, or lost with a connection."""
        return self._dropped

    @property
    def pending(self) -> int:
        """Messages that wait or are under way."""
        with self._lock:
            return len(self._owed) + len(self._waiting) + len(self._under_way)

    def add(self, message: Message) -> bool:
        """Accept a message, or return False: it is dropped. Never blocks on the network."""
        parcel = Parcel(message)
        with self._lock:
            accepted = not self._closed and self._keep(parcel)
            if accepted:
                self._published += 1
            else:
                self._dropped += 1
            return accepted

    def _keep(self, parcel: Parcel) -> bool:
        message = parcel.message
        if message.retain:
            self._retained[message.topic] = parcel
            if self._online:
                self._owed[message.topic] = None
            return True
        if not self._online:
            return self._keep_for_later(parcel)
        if len(self._waiting) + len(self._under_way) >= self._max_queued:
            return False
        self._waiting.append(parcel)
        return True

    def _keep_for_later(self, _parcel: Parcel) -> bool:
        """Nobody is online to take the message: an offline buffer would accept it here."""
        return False

    def go_online(self) -> None:
        """Send everything retained again: a connection stands."""
        with self._lock:
            self._online = True
            self._owed = dict.fromkeys(self._retained)

    def go_offline(self) -> Message | None:
        """Let what was under way wait for the next connection.

        Returns a message that is given up, because connections keep breaking while it is sent.
        """
        with self._lock:
            self._online = False
            self._owed.clear()
            returned = list(self._under_way)
            self._under_way.clear()
            culprit = self._find_culprit(returned)
            if culprit is not None:
                returned.remove(culprit)
                self._forget(culprit)
                self._dropped += 1
            again = [p for p in returned if not p.message.retain and p.message.qos > 0]
            self._dropped += sum(not p.message.retain and p.message.qos == 0 for p in returned)
            self._waiting.extendleft(reversed(again))
            return culprit.message if culprit else None

    def take(self, *, window: int) -> Parcel | None:
        """Return the next message to send, or None while `window` of them are not confirmed."""
        with self._lock:
            if len(self._under_way) >= window:
                return None
            if self._owed:
                topic = next(iter(self._owed))
                del self._owed[topic]
                parcel = self._retained[topic]
            elif self._waiting:
                parcel = self._waiting.popleft()
            else:
                return None
            self._under_way[parcel] = None
            return parcel

    def confirm(self, parcel: Parcel) -> None:
        """Note that the broker has the message."""
        with self._lock:
            del self._under_way[parcel]
            parcel.losses = 0
            self._acknowledged += 1

    def reject(self, parcel: Parcel) -> None:
        """Drop what the broker will not take; a retained one is tried on the next connection."""
        with self._lock:
            del self._under_way[parcel]
            self._dropped += 1

    def close(self, *, last: Message | None) -> None:
        """Accept nothing any more; `last` leaves after everything else."""
        with self._lock:
            self._closed = True
            if last is not None:
                self._waiting.append(Parcel(last))
                self._published += 1

    def _find_culprit(self, returned: Iterable[Parcel]) -> Parcel | None:
        """Find what a broker without reason codes cannot take, and closes the connection for.

        Brokers read in order, so it is the first unconfirmed message of a suspicious size.
        """
        for parcel in returned:
            if len(parcel.message.payload) >= _SUSPECT_BYTES:
                parcel.losses += 1
                return parcel if parcel.losses >= _MAX_LOSSES else None
        return None

    def _forget(self, parcel: Parcel) -> None:
        if self._retained.get(parcel.message.topic) is parcel:
            del self._retained[parcel.message.topic]
