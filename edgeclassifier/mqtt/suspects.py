"""What a broker may close the connection for: found, counted, and left out in the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MOST_LOSSES = 3
"""As many lost connections with the same first unconfirmed message set it aside."""
_MOST_SET_ASIDE = 3
"""As many messages set aside one after the other make the topic left out."""
_CAREFUL_UNTIL = 64
"""Confirmations: more than were under way when a connection was lost."""
_FIRST_PAUSE_S = 60.0
_LONGEST_PAUSE_S = 3600.0
_GROWTH = 4
_LONGEST_LIST = 32
"""Of topics left out: some are named by others, in requests."""


@dataclass(slots=True)
class _Pause:
    until_s: float
    pause_s: float
    reason: str


class LeftOut:
    """Topics that nothing is sent to for a while, and why. Belongs to the outbox's lock.

    Each is tried again after a minute, and after growing pauses up to an hour.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.topics: dict[str, _Pause] = {}
        """Those that are left out, and those that are being tried again."""

    def __contains__(self, topic: object) -> bool:
        pause = self.topics.get(str(topic))
        return pause is not None and self._clock() < pause.until_s

    def add(self, topic: str, reason: str) -> float:
        """Leave a topic out from now on; return for how many seconds."""
        before = self.topics.pop(topic, None)
        pause_s = min(_GROWTH * before.pause_s, _LONGEST_PAUSE_S) if before else _FIRST_PAUSE_S
        self.topics[topic] = _Pause(self._clock() + pause_s, pause_s, reason)
        while len(self.topics) > _LONGEST_LIST:
            del self.topics[next(iter(self.topics))]
        return pause_s

    def confirmed(self, topic: str) -> None:
        """Note that the broker takes it after all."""
        self.topics.pop(topic, None)

    def returning(self) -> list[str]:
        """Name those that may be tried again, each once."""
        now_s = self._clock()
        found = [topic for topic, each in self.topics.items() if each.until_s <= now_s]
        for topic in found:
            self.topics[topic].until_s = math.nan
        return found

    def clear(self) -> None:
        """Forget everything: another broker has other rules."""
        self.topics.clear()

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why each topic is left out."""
        return {topic: each.reason for topic, each in self.topics.copy().items() if topic in self}


class Suspects:
    """Counts, by topic, connections that the broker closed while something was unconfirmed.

    Brokers read in order, so it is the first unconfirmed message or subscription. After the first
    loss connections are `careful`: a ping has to be answered before anything is sent, and one
    thing at a time is under way. What a connection does not survive then is to blame, and neither
    the network nor another client that uses the same id.
    """

    def __init__(self) -> None:
        self.careful = self.watching = False
        """`watching` says whether confirmed() has to be told."""
        self._losses: dict[str, int] = {}
        self._set_aside: dict[str, int] = {}
        self._confirmed = 0

    def lost(self, topic: str, *, proven: bool) -> bool:
        """Note a lost connection; return whether the message or subscription is to be set aside.

        `proven` says that nothing else was under way, and the connection worked before.
        """
        self.careful = self.watching = True
        self._confirmed = 0
        self._losses[topic] = self._losses.get(topic, 0) + 1 if proven else 1
        return self._losses[topic] >= MOST_LOSSES

    def unanswered(self, topic: str) -> bool:
        """Note that the broker confirmed later ones alone; return whether to set it aside."""
        self.watching = True
        self._losses[topic] = self._losses.get(topic, 0) + 1
        return self._losses[topic] >= MOST_LOSSES

    def set_aside(self, topic: str) -> bool:
        """Note that it was; return whether the whole topic is to be left out."""
        # The next one gets one try, until one is confirmed.
        self._losses[topic] = MOST_LOSSES - 1
        self._set_aside[topic] = self._set_aside.get(topic, 0) + 1
        return self._set_aside[topic] >= _MOST_SET_ASIDE

    def confirmed(self, topic: str) -> None:
        """Note that the broker takes this topic."""
        self._losses.pop(topic, None)
        self._set_aside.pop(topic, None)
        self._confirmed += 1
        if self._confirmed >= _CAREFUL_UNTIL:
            self.careful = False
            self.watching = bool(self._losses)

    def clear(self) -> None:
        """Forget everything: there is another broker."""
        self.careful = self.watching = False
        self._confirmed = 0
        self._losses.clear()
        self._set_aside.clear()
