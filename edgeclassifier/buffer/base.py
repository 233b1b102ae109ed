"""What every buffer does, whatever it stores messages in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from edgeclassifier.contract.message import Message, Parcel

Storage = Literal["memory", "disk"]


@dataclass(slots=True, eq=False, kw_only=True)
class Kept(Parcel):
    """A message in a buffer."""

    number: int
    """Its place: counts up as messages are added; those of earlier runs are 0 and below."""
    size_bytes: int
    """As counted against the buffer's limit."""
    due_s: float = 0.0
    """When it is to be written, on the monotonic clock."""
    written: bool = False
    """Whether it would survive the end of the process."""
    gone: bool = False
    """Whether it has left the buffer: acknowledged, refused or dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStatus:
    """How a buffer is."""

    pending: int
    pending_bytes: int
    """As counted against the limit, what each message costs beside its payload included."""
    dropped: int
    """Messages that gave way to newer ones, or that the disk has lost."""
    storage: Storage
    """What keeps new messages now."""
    problem: str | None = None
    """Why messages are not on disk although they should be: one line."""
    written_messages: int = 0
    written_bytes: int = 0
    """What the written messages occupy on disk; the journal takes as much again."""
    commits: int = 0


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

        None where there is none, or none that may be sent yet.
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
