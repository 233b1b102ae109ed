"""What the reader of a live source needs of it, and what it gets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

MAX_PIXELS = 12_500_000
"""Of a frame: 4K and 12 megapixels are below. Decoded, converted and kept, it takes 100 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A compressed frame as it came."""

    data: Any
    """What the source can decode: a Packet of PyAV, or a Jpeg."""
    arrived_s: float
    """On the monotonic clock."""
    size: int
    """In bytes."""
    is_key: bool
    """Whether it can be decoded without those before it."""


class Captured:
    """A decoded frame, not yet converted, and its time on the monotonic clock."""

    __slots__ = ("frame", "monotonic_s")

    def __init__(self, frame: "VideoFrame", monotonic_s: float) -> None:
        self.frame = frame
        self.monotonic_s = monotonic_s


class Source(Protocol):
    """One connection to a live source.

    One thread takes the pieces and closes it, another decodes; never both at a time that close()
    runs.
    """

    @property
    def unreadable(self) -> int:
        """How many frames were damaged, or refer to such."""

    @property
    def refusal(self) -> str | None:
        """Why whole frames are refused; None if they are not."""

    def pieces(self, wait: Callable[[float], bool]) -> Iterator[Piece]:
        """Receive until the connection ends. Raises CameraError if it breaks.

        A source that is asked for each frame calls `wait`, which blocks for the seconds given and
        then until a frame is wanted; False if none will be.
        """

    def decode(self, piece: Piece, *, after_gap: bool) -> list[Captured]:
        """Decode the next piece, `after_gap` a later one that is a key.

        Returns the whole frames that it completes.
        """

    def abort(self) -> None:
        """End a wait for data in another thread, if that can be done."""

    def close(self) -> None:
        """Disconnect."""
