"""Messages through one connection after the other, and what the broker says about each."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeclassifier.buffer.parcel import Parcel
from edgeclassifier.mqtt import codes
from edgeclassifier.mqtt.suspects import MOST_LOSSES, Suspects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeclassifier.contract.messages import Message
    from edgeclassifier.mqtt.connection import Connection, Refusal
    from edgeclassifier.mqtt.ending import Ending
    from edgeclassifier.mqtt.listener import Answers
    from edgeclassifier.mqtt.outbox import Outbox
    from edgeclassifier.mqtt.subscriptions import Subscriptions

logger = logging.getLogger(__name__)

_SHORTEST_WAIT_S = 0.01
_MOST_PROBLEMS = 32
_CLOSES = "the broker closes the connection over it"


@dataclass(slots=True, eq=False)
class _Subscribe:
    """A request to hear topics, on its way."""

    topics: Sequence[str]


class Delivery:
    """Moves messages, and finds out what keeps them; belongs to the thread of the connections.

    Everything sent leaves a trail until it is confirmed, in order. QoS 0 is confirmed by what
    follows it. Where a connection ends, the trail begins with what the broker may not have liked.
    """

    def __init__(
        self, *, outbox: Outbox, subscriptions: Subscriptions, confirm_s: float = 10.0
    ) -> None:
        """Give the broker `confirm_s` to confirm what it has received."""
        self._outbox = outbox
        self.subscriptions = subscriptions
        self._confirm_s = confirm_s
        self._suspects = Suspects()
        self._under_way: dict[int, Parcel | _Subscribe] = {}
        self._trail: dict[Parcel | _Subscribe, float] = {}
        """What is not confirmed, and since when."""
        self._confirmed_s = 0.0
        """When the newest thing that is confirmed was sent."""
        self._pinged = self._proven = self._overdue = False
        """Whether a ping is under way, this connection has answered one, and it was given up."""
        self.suspicious = False
        """Whether the last connection was lost over something that is to be found out soon."""
        self.on_cleared: list[Callable[[str], None]] = []
        """Are called with each topic on which nothing is retained any more, and must not wait."""
        self._complaints: set[tuple[str, str]] = set()
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> Mapping[str, str]:
        """Topics that the broker does not take, and why."""
        return {
            **self._problems.copy(),
            **self._outbox.left_out.reasons,
            **self.subscriptions.problems,
        }

    def begin(self, connection: Connection) -> None:
        """Use a connection that stands."""
        self._pinged = self._proven = self._overdue = False
        self._confirmed_s = 0.0
        self.subscriptions.begin()
        self._outbox.go_online(limit=connection.limit_bytes)

    def send_waiting(self, connection: Connection) -> None:
        """Send as much as the broker takes without a confirmation."""
        if self._suspects.careful:
            self._send_carefully(connection)
            return
        if not self.subscriptions.settled:
            self._subscribe(connection, self.subscriptions.due())
        while self._send_one(connection, window=connection.window):
            pass

    def _send_one(self, connection: Connection, *, window: int) -> bool:
        """Send the next message, if there is one; return whether there may be another one."""
        parcel = self._outbox.take(window=window)
        if parcel is None:
            return False
        if connection.fits(parcel.message):
            self._under_way[connection.send(parcel.message)] = parcel
            self._trail[parcel] = time.monotonic()
        elif self._outbox.postpone(parcel):
            self._complain(parcel.message, "larger than the broker accepts", kept=True)
        else:
            self._complain(parcel.message, "larger than the broker accepts")
        return True

    def _send_carefully(self, connection: Connection) -> None:
        """Send one thing at a time, and know of each that the broker lives on."""
        if self._pinged:
            if not connection.is_answered:
                return
            self._pinged, self._proven = False, True
            self._trail = {item: at for item, at in self._trail.items() if not _is_unanswered(item)}
        if not self._proven or any(_is_unanswered(item) for item in self._trail):
            self._pinged = True
            connection.ping()
        elif not self._trail:
            if not self.subscriptions.settled and (due := self.subscriptions.due()):
                self._subscribe(connection, due[:1])
            else:
                self._send_one(connection, window=1)

    def _subscribe(self, connection: Connection, topics: Sequence[str]) -> None:
        if topics and (number := connection.subscribe(topics)) is not None:
            request = _Subscribe(topics)
            self._under_way[number] = request
            self._trail[request] = time.monotonic()
            self.subscriptions.note_asked(topics)

    def send_everything(self, connection: Connection, *, until_s: float) -> None:
        """Send until nothing waits and everything is answered, or until the time has come."""
        while self._outbox.pending and (left_s := until_s - time.monotonic()) > 0:
            self.send_waiting(connection)
            connection.step(min(left_s, self.due_in_s()))

    def finish(self, connection: Connection, *, until_s: float) -> bool:
        """Send what may still be sent after part(); return whether that was done in time."""
        while not self._outbox.settled and (left_s := until_s - time.monotonic()) > 0:
            self.send_waiting(connection)
            connection.step(left_s)
        return self._outbox.settled

    def due_in_s(self) -> float:
        """Return how long there is nothing to send but what comes in meanwhile."""
        due_s = self._outbox.due_in_s()
        if not self.subscriptions.settled:
            due_s = min(due_s, self.subscriptions.due_in_s())
        return max(_SHORTEST_WAIT_S, due_s)

    def note_answer(self, number: int, refusal: Refusal | None) -> None:
        """Take the broker's answer to the delivery of this number: None is a confirmation."""
        parcel = self._under_way.pop(number)
        if not isinstance(parcel, Parcel):
            return
        if refusal is None:
            self._outbox.confirm(parcel)
            if parcel.message.clears:
                for call in self.on_cleared:
                    call(parcel.message.topic)
        else:
            self._note_refusal(parcel, *refusal)
        if parcel.message.qos:
            self._note_answered(parcel)
            if refusal is None and (self._suspects.watching or self._problems):
                self._suspects.confirmed(parcel.message.topic)
                self._problems.pop(parcel.message.topic, None)
                self._outbox.left_out.confirmed(parcel.message.topic)

    def _note_answered(self, answered: Parcel | _Subscribe) -> None:
        """Forget it, and those before it that nobody answers."""
        self._confirmed_s = max(self._confirmed_s, self._trail.pop(answered, 0.0))
        while self._trail and _is_unanswered(first := next(iter(self._trail))):
            if self._trail[first] > self._confirmed_s:
                break
            del self._trail[first]

    def _note_refusal(self, parcel: Parcel, code: int, name: str) -> None:
        waits = self._outbox.refuse(parcel, codes.of_message(code))
        self._complain(parcel.message, f"refused by the broker: {name}", kept=waits)

    def note_subscribed(self, number: int, answers: Answers) -> None:
        """Take the broker's answer to a request to hear topics."""
        request = self._under_way.pop(number, None)
        if isinstance(request, _Subscribe):
            self._note_answered(request)
            for topic, (code, name) in zip(request.topics, answers, strict=False):
                self.subscriptions.note_answer(topic, code, name)
                self._suspects.confirmed(topic)

    def check(self, connection: Connection) -> None:
        """End a connection whose broker does not confirm what it has received."""
        if not self._trail:
            return
        first = next(iter(self._trail))
        now_s = time.monotonic()
        if now_s - self._trail[first] < self._confirm_s:
            return
        if connection.is_sending or _is_unanswered(first):
            # The network is slow, or nothing followed that would have been confirmed.
            self._trail[first] = now_s
            return
        self._overdue = True
        connection.ending.note(
            f"the broker has not confirmed {_topics(first)} for {self._confirm_s:.0f} s, although "
            "it answers otherwise; look into its log, and whether it is overloaded",
            then="retry",
        )

    def end(self, ending: Ending) -> None:
        """Take back what is under way, and judge why the connection has ended."""
        self.suspicious = False
        first = next(iter(self._trail), None)
        guilty = first is not None and self._is_guilty(first, self._trail[first], ending)
        if ending.then in ("suspect", "slow down"):
            self._outbox.slower()
        self._under_way.clear()
        self._trail.clear()
        self.subscriptions.end()
        self._outbox.go_offline(give_up=first if guilty and isinstance(first, Parcel) else None)

    def _is_guilty(self, first: Parcel | _Subscribe, since_s: float, ending: Ending) -> bool:
        """Decide whether the connection will be lost again over the first thing in the trail."""
        topic = _topics(first)
        if ending.then in ("suspect", "slow down"):
            proven = self._proven
            # Nothing is to blame for what ends before the ping is answered.
            self.suspicious = proven == self._suspects.careful
            guilty = self.suspicious and self._suspects.lost(topic, proven=proven)
            why = _CLOSES
        else:
            guilty = self._overdue and self._is_never_confirmed(first, since_s)
            why = "the broker never confirms it"
        if isinstance(first, Parcel) and first.message.once:
            guilty = guilty or self._proven
            if not guilty:
                self._complain(first.message, "the connection was lost, and it gets one try")
        if guilty:
            self._set_aside(first, why)
        return guilty

    def _is_never_confirmed(self, first: Parcel | _Subscribe, since_s: float) -> bool:
        """Count it if the broker confirms what is sent later."""
        if isinstance(first, _Subscribe):
            return self._confirmed_s > since_s and self._suspects.unanswered(_topics(first))
        if self._confirmed_s > since_s or first.refusals:
            first.refusals += 1
        return first.refusals >= MOST_LOSSES

    def _set_aside(self, first: Parcel | _Subscribe, why: str) -> None:
        left_out = self._suspects.set_aside(_topics(first))
        if isinstance(first, _Subscribe):
            for topic in first.topics:
                pause_s = self.subscriptions.left_out.add(topic, why)
                logger.warning("MQTT: not listening to %s for %.0f s: %s", topic, pause_s, why)
            return
        message = first.message
        self._complain(message, why)
        if left_out or message.once or (message.retain and not message.keep):
            pause_s = self._outbox.left_out.add(message.topic, why)
            logger.warning(
                "MQTT: nothing is sent to %s for %.0f s: %s", message.topic, pause_s, why
            )

    def move(self, subscriptions: Subscriptions) -> None:
        """Go to another broker, which has other rules."""
        self.subscriptions = subscriptions
        self._suspects.clear()
        self._outbox.left_out.clear()
        self._problems.clear()

    def _complain(self, message: Message, reason: str, *, kept: bool = False) -> None:
        complaint = (message.topic, reason)
        level = logging.DEBUG if complaint in self._complaints else logging.WARNING
        if len(self._complaints) < 10 * _MOST_PROBLEMS:
            self._complaints.add(complaint)
        if message.topic in self._problems or len(self._problems) < _MOST_PROBLEMS:
            self._problems[message.topic] = reason
        what = "keeping back" if kept else "dropped"
        size = len(message.payload)
        logger.log(level, "MQTT: %s %s (%d bytes): %s", what, message.topic, size, reason)


def _is_unanswered(item: Parcel | _Subscribe) -> bool:
    """Whether the broker does not confirm it: QoS 0."""
    return isinstance(item, Parcel) and item.message.qos == 0


def _topics(item: Parcel | _Subscribe) -> str:
    return item.message.topic if isinstance(item, Parcel) else ", ".join(item.topics)
