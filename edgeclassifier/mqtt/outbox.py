"""What is to be sent next: safe to fill from any thread."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, get_args

from edgeclassifier.buffer import Buffer
from edgeclassifier.buffer.parcel import Kept, Parcel
from edgeclassifier.contract.messages import Message
from edgeclassifier.contract.status import DropReason
from edgeclassifier.mqtt.ahead import Ahead, ByBroker
from edgeclassifier.mqtt.backlog import Backlog
from edgeclassifier.mqtt.births import Births, Standing
from edgeclassifier.mqtt.holds import Holds
from edgeclassifier.mqtt.suspects import LeftOut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeclassifier.mqtt.codes import Then


class Outbox:
    """Hands out messages until the broker confirms them.

    Retained messages are the device's birth: the newest of each topic is remembered for good and
    sent first on every connection, where newer ones replace older ones that still wait.

    Kept messages go through the buffer. If they are retained, the newest is part of the birth, too.
    The others are accepted while online, leave in order, and are sent again on the next connection
    if this one breaks before they are confirmed; answers are not. Pictures go ahead of theirs.
    """

    def __init__(
        self,
        *,
        buffer: Buffer,
        max_queued: int,
        backlog_rate_hz: float = 0.0,
        patience_s: float = 8.0,
    ) -> None:
        """Let `max_queued` messages wait that are neither retained nor kept.

        What the buffer holds when a connection begins leaves at `backlog_rate_hz` (0: no limit).
        """
        self._buffer = buffer
        self._max_queued = max_queued
        self._lock = threading.RLock()
        self.online = False
        """Whether a broker has accepted the connection and it still stands."""
        self.published = 0
        """Messages that were accepted for delivery."""
        self.acknowledged = 0
        """Deliveries confirmed by the broker (QoS 0: handed to the network), births included."""
        self._closed = self._parting = False
        self._births = Births()
        self._waiting: deque[Parcel] = deque()
        self._farewell: Parcel | None = None
        self.has_farewell = False
        """Whether a last message was to be sent on this connection, be it sent or not."""
        self._under_way: dict[Parcel, None] = {}  # sent and not confirmed, in order
        self._drops: Counter[DropReason] = Counter()
        self.left_out = LeftOut()
        """Topics that the broker closes connections for."""
        self._holds = Holds(patience_s=patience_s)
        self._backlog = Backlog(buffer, rate_hz=backlog_rate_hz)
        self._ahead = Ahead()

    @property
    def drops(self) -> Mapping[str, int]:
        """Messages that will never arrive, by reason, those of the buffer included."""
        drops = {reason: self._drops[reason] for reason in get_args(DropReason)}
        return {**drops, "buffer": self._buffer.status().dropped}

    @property
    def pending(self) -> int:
        """Messages that wait or are under way, those in the buffer included."""
        with self._lock:
            more = len(self._births.owed) + len(self._waiting) + (self._farewell is not None)
            more += sum(not isinstance(parcel, Kept) for parcel in self._under_way)
            return more - len(self._ahead.owners) + self._buffer.status().pending

    @property
    def settled(self) -> bool:
        """Whether nothing is under way, and no farewell waits."""
        with self._lock:
            return not self._under_way and self._farewell is None

    def add(self, message: Message) -> bool:
        """Accept a message, or return False: it is dropped. Never blocks on the network."""
        with self._lock:
            accepted = not self._closed and self._accept(message)
            self.published += accepted
            self._drops["no_place"] += not accepted
            return accepted

    def _accept(self, message: Message) -> bool:
        if message.keep:
            number = self._buffer.add(message)
            if message.retain:
                self._births.standing[message.topic] = Standing(message, number=number)
            return True
        if message.retain:
            self._births.add(message, owed=self.online)
            return True
        if not self.online or len(self._waiting) + len(self._under_way) >= self._max_queued:
            return False
        self._waiting.append(Parcel(message))
        return True

    def go_online(self, *, limit: int | None = None) -> None:
        """Send the birth again: a connection stands, whose broker takes packets up to `limit`."""
        with self._lock:
            self.online = True
            self._births.owe_all()
            self._holds.begin(limit=limit, now_s=time.monotonic())
            self._backlog.begin()

    def go_offline(self, *, give_up: Parcel | None = None) -> None:
        """Let what was under way wait for the next connection, but for what is given up."""
        with self._lock:
            self.online = self._parting = self.has_farewell = False
            self._farewell = None
            self._births.owe_nothing()
            others = [
                parcel
                for parcel in self._under_way
                if not (parcel.message.retain or parcel.message.keep or parcel is give_up)
                and parcel not in self._ahead.owners
            ]
            self._under_way.clear()
            if give_up is not None:
                self._drop(give_up, "closed")
            self._ahead.clear()
            self._buffer.put_back()
            again = [p for p in others if p.message.qos > 0 and not p.message.once]
            self._drops["lost"] += len(others) - len(again)
            self._waiting.extendleft(reversed(again))

    def take(self, *, window: int) -> Parcel | None:
        """Return the next message to send, or None while `window` of them are not confirmed."""
        with self._lock:
            if len(self._under_way) >= window:
                return None
            parcel = self._next_of_any() if self.left_out.topics else self._next()
            if parcel is not None:
                self._under_way[parcel] = None
            return parcel

    def _next_of_any(self) -> Parcel | None:
        """Return the next one, but for topics that are left out: only their births wait."""
        for topic in self.left_out.returning():
            self._births.owe(topic)
        while (parcel := self._next()) is not None and parcel.message.topic in self.left_out:
            if isinstance(parcel, Kept) or not parcel.message.retain:
                self._drop(parcel, "closed")
        return parcel

    def _next(self) -> Parcel | None:
        if self._parting:
            farewell, self._farewell = self._farewell, None
            return farewell
        if self._ahead.ready:
            return self._ahead.ready.popleft()
        held: frozenset[str] = frozenset()
        if self._holds.topics:
            held = self._holds.blocked(self._under_way, now_s=time.monotonic())
        if self._ahead.owners:
            held |= self._ahead.topics
        if self._births.owed and (birth := self._births.take(held)) is not None:
            return birth
        if self._waiting:
            return self._waiting.popleft()
        if self._births.owed_standing:
            birth = self._births.take_standing(held, passed=self._buffer.passed)
            if birth is not None:
                return birth
        return self._next_kept(held)

    def _next_kept(self, held: frozenset[str]) -> Parcel | None:
        if self._backlog.catching_up:
            kept = self._backlog.take(held, now_s=time.monotonic(), at_once=self._closed)
        else:
            kept = self._buffer.take(held=held)
        if kept is None:
            return None
        if kept.number < self._backlog.end:
            self._backlog.spend(1 if kept.message.picture is None else 2)
        standing = self._births.standing.get(kept.message.topic)
        if standing is not None and standing.number == kept.number:
            self._births.owed_standing.pop(kept.message.topic, None)
        return kept if kept.message.picture is None else self._ahead.begin(kept)

    def due_in_s(self) -> float:
        """Return how long it takes until something may be sent that may not be now."""
        if not (self._backlog.catching_up or self._holds.topics):
            return float("inf")
        with self._lock:
            now_s = time.monotonic()
            due_s = self._holds.due_in_s(now_s=now_s)
            return min(due_s, self._backlog.wait_s(now_s) or due_s)

    def confirm(self, parcel: Parcel) -> None:
        """Note that the broker has the message."""
        with self._lock:
            del self._under_way[parcel]
            if isinstance(parcel, Kept):
                self._buffer.remove(parcel)
            elif parcel in self._ahead.owners:
                self._ahead.arrived(parcel)
            if parcel.message.clears:
                self._births.forget(parcel.message)
            if self._holds.topics:
                self._holds.confirmed(parcel, now_s=time.monotonic())
            self.acknowledged += 1

    def refuse(self, parcel: Parcel, then: Then) -> bool:
        """Take back what the broker refused; return whether it will be sent again.

        A birth that is dropped is tried on the next connection.
        """
        with self._lock:
            del self._under_way[parcel]
            bounded, now_s = then == "retry, bounded", time.monotonic()
            if then == "retry":
                self._backlog.slower(now_s)
            passing = (then == "retry" or bounded) and not (parcel.message.once or self._parting)
            waiting = self._ahead.owners.get(parcel, parcel)
            if passing and self._holds.refused(waiting, bounded=bounded, now_s=now_s):
                self._take_back(parcel)
                return True
            self._drop(parcel, "refused")
            return False

    def postpone(self, parcel: Parcel) -> bool:
        """Take back what is too large for this broker; return whether it waits.

        A birth waits for the next connection. What is in the buffer waits a while, as the limit
        may be another one soon.
        """
        with self._lock:
            del self._under_way[parcel]
            if parcel.message.retain and not isinstance(parcel, Kept):
                return True
            waiting = self._ahead.owners.get(parcel, parcel)
            if isinstance(waiting, Kept) and self._holds.too_large(waiting, now_s=time.monotonic()):
                self._take_back(parcel)
                return True
            self._drop(parcel, "too_large")
            return False

    def _take_back(self, parcel: Parcel) -> None:
        parcel = self._ahead.owners.pop(parcel, parcel)
        if isinstance(parcel, Kept):
            self._buffer.put_back(parcel)
        elif parcel.message.retain:
            self._births.take_back(parcel)
        else:
            self._waiting.appendleft(parcel)

    def _drop(self, parcel: Parcel, reason: ByBroker) -> None:
        self._drops[reason] += 1
        self._holds.gone(self._ahead.owners.get(parcel, parcel))
        if (waiting := self._ahead.owners.pop(parcel, None)) is not None:
            self._ahead.ready.append(self._buffer.without_picture(waiting, reason))
        elif isinstance(parcel, Kept):
            self._buffer.remove(parcel)

    def slower(self) -> None:
        """Send the backlog more slowly, if it was being sent: that was too fast for the broker."""
        with self._lock:
            if self._backlog.catching_up:
                self._backlog.slower(time.monotonic())

    def close(self) -> None:
        """Accept nothing any more."""
        with self._lock:
            self._closed = True

    def part(self, *, last: Message | None) -> None:
        """Send nothing more on this connection but `last`."""
        with self._lock:
            if self._parting:
                return
            self._parting = True
            if last is not None:
                self._farewell = Parcel(last)
                self.has_farewell = True
                self.published += 1

    def move(self, *, last: Message | None) -> None:
        """Part from this broker, and forget the birth: the next one gets another."""
        with self._lock:
            self._births.clear()
            self._holds.clear()
            if self.online:
                self.part(last=last)
