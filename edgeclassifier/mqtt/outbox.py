"""What is to be sent next: safe to fill from any thread."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeclassifier.buffer import Buffer
from edgeclassifier.buffer.parcel import Kept, Parcel
from edgeclassifier.contract.messages import Message

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUSPECT_BYTES = 16 * 1024
"""No broker in use refuses smaller messages for their size."""
_MAX_LOSSES = 3


@dataclass(slots=True, eq=False, kw_only=True)
class _Standing(Parcel):
    """The newest kept message of a retained topic."""

    number: int


class Outbox:
    """Hands out messages until the broker confirms them.

    Retained messages are the device's birth: the newest of each topic is remembered for good and
    sent first on every connection, where newer ones replace older ones that still wait.

    Kept messages go through the buffer. Where they are retained, the newest is part of the birth,
    too, once nothing older waits in the buffer: it never overtakes its predecessors.

    The others are accepted while online, leave in order, and are sent again on the next connection
    if this one breaks before they are confirmed.
    """

    def __init__(self, *, buffer: Buffer, max_queued: int) -> None:
        """Let `max_queued` messages wait that are neither retained nor kept."""
        self._buffer = buffer
        self._max_queued = max_queued
        self._lock = threading.Lock()
        self._online = self._closed = self._parting = False
        self._births: dict[str, Parcel] = {}
        self._owed: dict[str, None] = {}  # topics of births to send, in order
        self._standing: dict[str, _Standing] = {}
        self._owed_standing: dict[str, None] = {}
        self._waiting: deque[Parcel] = deque()
        self._farewell: Parcel | None = None
        self._has_farewell = False
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
        """Messages that were refused, here or by the broker, or lost with a connection.

        What the buffer dropped is not among them.
        """
        return self._dropped

    @property
    def pending(self) -> int:
        """Messages that wait or are under way, those in the buffer included."""
        with self._lock:
            more = len(self._owed) + len(self._waiting) + (self._farewell is not None)
            others = sum(not isinstance(parcel, Kept) for parcel in self._under_way)
            return more + others + self._buffer.status().pending

    @property
    def settled(self) -> bool:
        """Whether nothing is under way, and no farewell waits."""
        with self._lock:
            return not self._under_way and self._farewell is None

    @property
    def has_farewell(self) -> bool:
        """Whether a last message was to be sent on this connection, be it sent or not."""
        return self._has_farewell

    def add(self, message: Message) -> bool:
        """Accept a message, or return False: it is dropped. Never blocks on the network."""
        with self._lock:
            accepted = not self._closed and self._accept(message)
            if accepted:
                self._published += 1
            else:
                self._dropped += 1
            return accepted

    def _accept(self, message: Message) -> bool:
        if message.keep:
            number = self._buffer.add(message)
            if message.retain:
                self._standing[message.topic] = _Standing(message, number=number)
            return True
        if message.retain:
            # Without a confirmation nobody would learn that the broker cannot take it.
            self._births[message.topic] = Parcel(replace(message, qos=1))
            if self._online:
                self._owed[message.topic] = None
            return True
        if not self._online or len(self._waiting) + len(self._under_way) >= self._max_queued:
            return False
        self._waiting.append(Parcel(message))
        return True

    def go_online(self) -> None:
        """Send the birth again: a connection stands."""
        with self._lock:
            self._online = True
            self._owed = dict.fromkeys(self._births)
            self._owed_standing = dict.fromkeys(self._standing)

    def go_offline(self) -> Message | None:
        """Let what was under way wait for the next connection.

        Returns a message that is given up, because connections keep breaking while it is sent.
        """
        with self._lock:
            self._online = self._parting = False
            self._farewell = None
            self._has_farewell = False
            self._owed.clear()
            self._owed_standing.clear()
            returned = list(self._under_way)
            self._under_way.clear()
            culprit = self._find_culprit(returned)
            if culprit is not None:
                returned.remove(culprit)
                self._give_up(culprit)
            self._buffer.put_back()
            others = [p for p in returned if not p.message.retain and not p.message.keep]
            again = [p for p in others if p.message.qos > 0]
            self._dropped += len(others) - len(again)
            self._waiting.extendleft(reversed(again))
            return culprit.message if culprit else None

    def take(self, *, window: int) -> Parcel | None:
        """Return the next message to send, or None while `window` of them are not confirmed."""
        with self._lock:
            if len(self._under_way) >= window:
                return None
            parcel = self._next()
            if parcel is not None:
                self._under_way[parcel] = None
            return parcel

    def _next(self) -> Parcel | None:
        if self._parting:
            farewell, self._farewell = self._farewell, None
            return farewell
        if self._owed:
            topic = next(iter(self._owed))
            del self._owed[topic]
            return self._births[topic]
        if self._waiting:
            return self._waiting.popleft()
        for topic in self._owed_standing:
            if self._buffer.passed(self._standing[topic].number):
                del self._owed_standing[topic]
                return self._standing[topic]
        kept = self._buffer.take()
        if kept is not None:
            standing = self._standing.get(kept.message.topic)
            if standing is not None and standing.number == kept.number:
                self._owed_standing.pop(kept.message.topic, None)
        return kept

    def confirm(self, parcel: Parcel) -> None:
        """Note that the broker has the message."""
        with self._lock:
            del self._under_way[parcel]
            if isinstance(parcel, Kept):
                self._buffer.remove(parcel)
            parcel.losses = 0
            self._acknowledged += 1

    def reject(self, parcel: Parcel) -> None:
        """Drop what the broker will not take; a birth is tried on the next connection."""
        with self._lock:
            del self._under_way[parcel]
            if isinstance(parcel, Kept):
                self._buffer.remove(parcel)
            self._dropped += 1

    def close(self) -> None:
        """Accept nothing any more."""
        with self._lock:
            self._closed = True

    def part(self, *, last: Message | None) -> None:
        """Send nothing more on this connection but `last`."""
        with self._lock:
            self._part(last)

    def move(self, *, last: Message | None) -> None:
        """Part from this broker, and forget the birth: the next one gets another."""
        with self._lock:
            self._births.clear()
            self._standing.clear()
            self._owed.clear()
            self._owed_standing.clear()
            if self._online:
                self._part(last)

    def _part(self, last: Message | None) -> None:
        if self._parting:
            return
        self._parting = True
        if last is not None:
            self._farewell = Parcel(last)
            self._has_farewell = True
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

    def _give_up(self, parcel: Parcel) -> None:
        self._dropped += 1
        topic = parcel.message.topic
        if isinstance(parcel, Kept):
            self._buffer.remove(parcel)
        for remembered in (self._births, self._standing):
            if topic in remembered and remembered[topic].message is parcel.message:
                del remembered[topic]
