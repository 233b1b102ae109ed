"""Pictures that are sent before the messages that name them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from edgeclassifier.buffer.parcel import Parcel
from edgeclassifier.contract.pictures import ahead_of

if TYPE_CHECKING:
    from edgeclassifier.buffer.parcel import Kept

ByBroker = Literal["refused", "too_large", "closed"]
"""Why a broker does not get a message."""


class Ahead:
    """Says which pictures are under way, and whose. Belongs to the outbox's lock.

    A message follows its picture once that is confirmed, or will not come: until then it can say
    so. Its topic waits, too, so that what is on it stays in order. The picture is kept until its
    message is confirmed, and precedes it again on the next connection.
    """

    def __init__(self) -> None:
        self.owners: dict[Parcel, Kept] = {}
        """The messages of the pictures under way."""
        self.ready: deque[Kept] = deque()
        """Messages whose pictures are settled."""

    @property
    def topics(self) -> frozenset[str]:
        """Those of messages that wait for their pictures."""
        return frozenset(owner.message.topic for owner in self.owners.values())

    def begin(self, owner: Kept) -> Parcel:
        """Return the picture of a message, to be sent before it."""
        # The same one each time, as it counts how often it was refused.
        if owner.ahead is None:
            owner.ahead = Parcel(ahead_of(owner.message))
        self.owners[owner.ahead] = owner
        return owner.ahead

    def arrived(self, picture: Parcel) -> None:
        """Let the message of a picture follow it."""
        owner = self.owners.pop(picture)
        owner.ahead = None
        self.ready.append(owner)

    def clear(self) -> None:
        """Forget what is under way: the connection is lost."""
        self.owners.clear()
        self.ready.clear()
