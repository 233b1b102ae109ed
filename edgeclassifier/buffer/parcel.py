"""A message on its way, and what keeps messages until they have arrived."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgeclassifier.contract.messages import Message
from edgeclassifier.contract.status import BufferStatus


@dataclass(slots=True, eq=False)
class Parcel:
    """One message on its way."""

    message: Message
    losses: int = 0
    """How often the connection broke while this was the first large message under way."""


@dataclass(slots=True, eq=False, kw_only=True)
class Kept(Parcel):
    """A message in a buffer."""

    number: int
    """Its place: counts up as messages are added; those of earlier runs are 0 and below."""
    size_bytes: int
    """As counted against the buffer's limit."""


class Buffer(Protocol):
    """Keeps messages until they are removed. Safe to use from any thread; nothing blocks.

    Messages leave in the order in which they came. When the limit is reached, the oldest that is
    not under way is dropped.
    """

    def start(self, *, on_ready: Callable[[], None]) -> None:
        """Begin; `on_ready` is called, from any thread, when take() may have something again."""

    def add(self, message: Message) -> int:
        """Keep a message and return its number."""

    def take(self) -> Kept | None:
        """Return the oldest message that is not under way; it is under way then.

        None if there is none, or none that may be sent yet.
        """

    def passed(self, number: int) -> bool:
        """Whether neither this message nor an older one is still to be taken."""

    def put_back(self) -> None:
        """Let everything under way be taken again, in order: the connection is lost."""

    def remove(self, kept: Kept) -> None:
        """Forget a message: the broker has it, or will never take it."""

    def close(self, *, timeout_s: float) -> None:
        """Write what has to outlive the process, within `timeout_s`. May be called twice."""

    def status(self) -> BufferStatus:
        """Return counts since the start, and what is wrong."""
