"""What every connection begins with: the newest message of each retained topic."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from edgeclassifier.buffer.parcel import Parcel
from edgeclassifier.contract.messages import Message


@dataclass(slots=True, eq=False, kw_only=True)
class Standing(Parcel):
    """The newest kept message of a retained topic."""

    number: int


class Births:
    """Remembers the newest of each topic, and which of them are still to be sent.

    Those that are also in the buffer are owed only once nothing older on their topic waits there.
    Belongs to the outbox's lock.
    """

    def __init__(self) -> None:
        self._newest: dict[str, Parcel] = {}
        self.standing: dict[str, Standing] = {}
        """Those that are in the buffer, too; filled by the outbox."""
        self.owed: dict[str, None] = {}
        """Topics to send, in order."""
        self.owed_standing: dict[str, None] = {}

    def add(self, message: Message, *, owed: bool) -> None:
        """Remember a message in place of its predecessor."""
        # Without a confirmation nobody would learn that the broker cannot take it.
        self._newest[message.topic] = Parcel(replace(message, qos=1))
        if owed:
            self.owed[message.topic] = None

    def owe_all(self) -> None:
        """Send everything again."""
        self.owed = dict.fromkeys(self._newest)
        self.owed_standing = dict.fromkeys(self.standing)

    def owe(self, topic: str) -> None:
        """Send the newest of a topic again, if there is one."""
        if topic in self._newest:
            self.owed[topic] = None
        if topic in self.standing:
            self.owed_standing[topic] = None

    def owe_nothing(self) -> None:
        """Send nothing: there is no connection."""
        self.owed.clear()
        self.owed_standing.clear()

    def take(self, held: Collection[str]) -> Parcel | None:
        """Return the next that is in no buffer, but for topics that are held."""
        for topic in self.owed:
            if topic not in held:
                del self.owed[topic]
                return self._newest[topic]
        return None

    def take_standing(self, held: Collection[str], *, passed: Callable[..., bool]) -> Parcel | None:
        """Return the next that is in the buffer, and that has been `passed` there."""
        for topic in self.owed_standing:
            if topic not in held and passed(self.standing[topic].number, topic=topic):
                del self.owed_standing[topic]
                return self.standing[topic]
        return None

    def take_back(self, parcel: Parcel) -> None:
        """Owe again what was taken, or its successor."""
        topic = parcel.message.topic
        if isinstance(parcel, Standing):
            self.owed_standing.setdefault(topic)
        elif topic in self._newest:
            self.owed.setdefault(topic)

    def forget(self, message: Message) -> None:
        """Send a message no more, unless it has a successor."""
        topic = message.topic
        for newest, owed in ((self._newest, self.owed), (self.standing, self.owed_standing)):
            if topic in newest and newest[topic].message.clears:
                del newest[topic]
                owed.pop(topic, None)

    def clear(self) -> None:
        """Forget everything: the next broker gets another birth."""
        self._newest.clear()
        self.standing.clear()
        self.owe_nothing()
