"""A message on its way, and what keeps messages until they have arrived."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from edgeclassifier.contract.messages import Message
from edgeclassifier.contract.pictures import PictureMissing
from edgeclassifier.contract.status import BufferStatus


@dataclass(slots=True, eq=False)
class Parcel:
    """One message on its way."""

    message: Message
    refusals: int = 0
    """How often the broker refused it for a reason that can pass, or confirmed later ones alone."""


@dataclass(slots=True, eq=False, kw_only=True)
class Kept(Parcel):
    """A message in a buffer."""

    number: int
    """Its place: counts up as messages are added; those of earlier runs are 0 and below."""
    size_bytes: int
    """As counted against the buffer's limit, without its picture."""
    picture_bytes: int = 0
    """As counted against the limit of pictures; 0 if it has none."""
    ahead: Parcel | None = None
    """Its picture, if that was sent and is not confirmed."""

    @property
    def all_bytes(self) -> int:
        """What it takes with its picture."""
        return self.size_bytes + self.picture_bytes


class Buffer(Protocol):
    """Keeps messages until they are removed. Safe to use from any thread; nothing blocks.

    Messages leave in the order in which they came, but for what begin() says. When the limit is
    reached, the oldest that is not under way is dropped.

    The pictures of messages have a limit of their own. When that is reached, the oldest picture
    that is not under way is dropped, and its message says so.
    """

    def start(self, *, on_ready: Callable[[], None]) -> None:
        """Begin; `on_ready` is called, from any thread, when take() may have something again."""

    def add(self, message: Message) -> int:
        """Keep a message and return its number."""

    def begin(self, *, most_in_order: float) -> int:
        """Call what waits the backlog, and return the number of the first message after it.

        While more than `most_in_order` messages wait, new ones that are not retained are taken
        before the backlog; else all leave in the order in which they came.
        """

    def take(self, *, held: Collection[str] = (), backlog: bool = True) -> Kept | None:
        """Return the oldest message that is not under way; it is under way then.

        Passes over the topics that are `held`, and over the backlog if that is not to be sent.
        None if there is none, or none that may be sent yet.
        """

    def passed(self, number: int, *, topic: str) -> bool:
        """Whether neither this message of a topic nor an older one is still to be taken."""

    def without_picture(self, kept: Kept, reason: PictureMissing) -> Kept:
        """Let a message that is under way say that its picture will not come; return it so."""

    def put_back(self, kept: Kept | None = None) -> None:
        """Let everything under way be taken again, in order: the connection is lost.

        Or just one message, which the broker has refused for a reason that can pass.
        """

    def remove(self, kept: Kept) -> None:
        """Forget a message: the broker has it, or will never take it."""

    def close(self, *, timeout_s: float) -> None:
        """Write what has to outlive the process, within `timeout_s`. May be called twice."""

    def status(self) -> BufferStatus:
        """Return counts since the start, and what is wrong."""
