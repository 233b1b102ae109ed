"""Which topics the device listens to, and which the broker does not let it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeclassifier.mqtt import codes
from edgeclassifier.mqtt.suspects import LeftOut

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 2.0
_SLOW_PAUSE_S = 60.0
"""Before the second try if only a person can help."""
_LONGEST_PAUSE_S = 300.0


@dataclass(slots=True)
class _Refusal:
    due_s: float
    pause_s: float
    reason: str


class Subscriptions:
    """Asks for each topic on every connection, and again after a pause if that is refused.

    Belongs to the session's thread; `listening` and `problems` may be read from any.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self.topics = tuple(topics)
        self.left_out = LeftOut()
        """Topics for which the broker closes the connection."""
        self.settled = not topics
        """Whether there is nothing to ask for on this connection."""
        self._granted: frozenset[str] = frozenset()
        self._asked: set[str] = set()
        self._refused: dict[str, _Refusal] = {}

    @property
    def listening(self) -> bool | None:
        """Whether everything is heard; None if there is nothing to listen to."""
        return self._granted >= set(self.topics) if self.topics else None

    @property
    def problems(self) -> Mapping[str, str]:
        """Why topics are not listened to."""
        refused = {topic: each.reason for topic, each in self._refused.copy().items()}
        return {**refused, **self.left_out.reasons}

    def begin(self) -> None:
        """Ask again: there is a new connection."""
        self.end()
        self._refused.clear()
        self.settled = not self.topics

    def end(self) -> None:
        """Nothing is heard: there is no connection."""
        self._granted = frozenset()
        self._asked.clear()

    def due(self) -> list[str]:
        """Name the topics to ask for now."""
        now_s = time.monotonic()
        return [topic for topic in self.topics if self._due_s(topic) <= now_s]

    def due_in_s(self) -> float:
        """Return how long it takes until there is something to ask for."""
        due_s = min((self._due_s(topic) for topic in self.topics), default=math.inf)
        return max(0.0, due_s - time.monotonic())

    def _due_s(self, topic: str) -> float:
        if topic in self._granted or topic in self._asked or topic in self.left_out:
            return math.inf
        refusal = self._refused.get(topic)
        return refusal.due_s if refusal is not None else -math.inf

    def note_asked(self, topics: Sequence[str]) -> None:
        """Wait for the broker's answer for these."""
        self._asked.update(topics)

    def note_answer(self, topic: str, code: int, name: str) -> None:
        """Take the broker's answer for one topic, and how it calls it."""
        self._asked.discard(topic)
        if code < 0x80:  # noqa: PLR2004 - where MQTT's failures begin
            self._granted |= {topic}
            self.left_out.confirmed(topic)
            if self._refused.pop(topic, None) is not None:
                logger.info("MQTT: the broker lets this device listen to %s now", topic)
        else:
            self._note_refusal(topic, code, name)
        self.settled = self._granted >= set(self.topics)

    def _note_refusal(self, topic: str, code: int, name: str) -> None:
        before = self._refused.get(topic)
        slow = codes.of_subscription(code) == "retry slowly"
        first_s = _SLOW_PAUSE_S if slow else _FIRST_PAUSE_S
        pause_s = min(2 * before.pause_s, _LONGEST_PAUSE_S) if before else first_s
        reason = f"refused by the broker: {name.lower()}"
        self._refused[topic] = _Refusal(time.monotonic() + pause_s, pause_s, reason)
        logger.log(
            logging.DEBUG if before else logging.WARNING,
            "MQTT: the broker does not let this device listen to %s: %s (asking again in %.0f s)",
            topic,
            name,
            pause_s,
        )
