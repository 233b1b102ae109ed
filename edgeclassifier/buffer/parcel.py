"""A message on its way, and one in a buffer."""

from dataclasses import dataclass

from edgeclassifier.contract.message import Message


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
    due_s: float = 0.0
    """When it is to be written, on the monotonic clock."""
    written: bool = False
    """Whether it would survive the end of the process."""
    gone: bool = False
    """Whether it has left the buffer: acknowledged, refused or dropped."""
