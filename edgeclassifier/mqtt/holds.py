"""Topics that wait, because the broker has refused a message on them for a reason that can pass."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeclassifier.buffer.parcel import Kept

if TYPE_CHECKING:
    from edgeclassifier.buffer.parcel import Parcel

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_MOST_UNDER_WAY = 2
"""After a pause: the message that was refused, and one more to tell whether it is that alone."""
_MOST_REFUSALS = 50
"""About twenty minutes."""
_MOST_OF_A_PICTURE = 8
"""About a minute, for which its message waits, too."""
_MOST_ALONE = 4
"""Refusals while others on the same topic are accepted."""


@dataclass(slots=True, kw_only=True)
class _Hold:
    until_s: float
    pause_s: float
    first: Parcel | None
    alone: int = 0
    """How often `first` was refused since others have been accepted."""
    others: bool = False
    accepted: int = 0
    """Others on the topic since `first` was sent last."""


class Holds:
    """Says which topics may be sent now. Belongs to the outbox's lock."""

    def __init__(self, *, patience_s: float) -> None:
        """Wait for `patience_s` whether the size that the broker accepts lasts."""
        self._patience_s = patience_s
        self.topics: dict[str, _Hold] = {}
        self._limit: int | None = None
        self._limit_since_s = -math.inf

    def refused(self, parcel: Parcel, *, bounded: bool, now_s: float) -> bool:
        """Hold the topic of a refused message; False if that has been sent often enough.

        If it was its picture that was refused, that is so after a minute in any case.
        """
        topic = parcel.message.topic
        hold = self.topics.get(topic)
        if hold is None:
            hold = _Hold(until_s=now_s + _FIRST_PAUSE_S, pause_s=_FIRST_PAUSE_S, first=parcel)
            self.topics[topic] = hold
        elif hold.first is None or parcel is hold.first:
            hold.first, hold.accepted = parcel, 0
            hold.pause_s = min(2 * hold.pause_s, _LONGEST_PAUSE_S)
            hold.until_s = now_s + hold.pause_s
            hold.alone += hold.others
        parcel.refusals += 1
        is_picture = isinstance(parcel, Kept) and parcel.ahead is not None
        if is_picture and parcel.refusals >= _MOST_OF_A_PICTURE:
            del self.topics[topic]
            return False
        if bounded and (parcel.refusals >= _MOST_REFUSALS or hold.alone >= _MOST_ALONE):
            del self.topics[topic]
            return False
        return True

    def confirmed(self, parcel: Parcel, *, now_s: float) -> None:
        """Let the topic go on if that is the message that was refused, or its successor."""
        topic = parcel.message.topic
        hold = self.topics.get(topic)
        if hold is None:
            return
        if parcel is hold.first or not isinstance(parcel, Kept):
            del self.topics[topic]
            return
        hold.others = True
        # Not those that were under way when it was refused.
        hold.accepted += now_s >= hold.until_s
        if hold.accepted > _MOST_UNDER_WAY:
            # The first is sent before the others, so it has gone: the buffer was full.
            del self.topics[topic]

    def gone(self, parcel: Parcel) -> None:
        """Do not wait for a message that was given up."""
        hold = self.topics.get(parcel.message.topic)
        if hold is not None and hold.first is parcel:
            del self.topics[parcel.message.topic]

    def blocked(self, under_way: Collection[Parcel], *, now_s: float) -> frozenset[str]:
        """Name the topics of which nothing may be sent now."""
        return frozenset(
            topic
            for topic, hold in self.topics.items()
            if now_s < hold.until_s
            or sum(p.message.topic == topic for p in under_way) >= _MOST_UNDER_WAY
        )

    def due_in_s(self, *, now_s: float) -> float:
        """Return how long it takes until a topic may be tried again."""
        later = (hold.until_s - now_s for hold in self.topics.values() if hold.until_s > now_s)
        return min(later, default=math.inf)

    def begin(self, *, limit: int | None, now_s: float) -> None:
        """Note the size of packets that the broker of a new connection accepts."""
        if limit != self._limit:
            self._limit, self._limit_since_s = limit, now_s
            # What did not fit may fit now.
            self.topics = {t: h for t, h in self.topics.items() if h.first is not None}

    def too_large(self, parcel: Parcel, *, now_s: float) -> bool:
        """Hold the topic of a message that does not fit; False once that limit has lasted."""
        until_s = self._limit_since_s + self._patience_s
        if now_s >= until_s:
            return False
        hold = _Hold(until_s=until_s, pause_s=_FIRST_PAUSE_S, first=None)
        self.topics[parcel.message.topic] = hold
        return True

    def clear(self) -> None:
        """Forget everything: there is another broker."""
        self.topics.clear()
        self._limit = None
