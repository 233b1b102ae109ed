"""Compressed frames that wait for the decoder."""

from collections import deque

from edgeclassifier.cameras.source import Piece

_MOST_BYTES = 32 * 2**20


class Backlog:
    """Holds what is needed to decode the newest frame: a key frame and those that refer to it.

    A newer key frame makes all before it superfluous, so a decoder that is too slow falls behind
    by the distance of two key frames at most.
    """

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._bytes = 0
        self._waits_for_key = self._gap = False
        self.newest_s = 0.0
        """When the newest piece came, on the monotonic clock."""

    def __len__(self) -> int:
        return len(self._pieces)

    def put(self, piece: Piece) -> bool:
        """Add the newest piece; say whether it makes one superfluous that nobody has taken."""
        replaces = piece.is_key and bool(self._pieces)
        if piece.is_key:
            self.clear()
            self._waits_for_key = False
        elif self._bytes + piece.size > _MOST_BYTES:
            self.clear()
        if not self._waits_for_key:
            self._pieces.append(piece)
            self._bytes += piece.size
            self.newest_s = piece.arrived_s
        return replaces

    def take(self, before_s: float, *, keys: bool = True) -> tuple[Piece, bool] | None:
        """Return the oldest piece, and whether others before it were left out.

        None if it came after `before_s`, is a key and no `keys` are wanted, or there is none.
        """
        if not self._pieces or self._pieces[0].arrived_s > before_s:
            return None
        if self._pieces[0].is_key and not keys:
            return None
        piece, after_gap = self._pieces.popleft(), self._gap
        self._bytes -= piece.size
        self._gap = False
        return piece, after_gap

    def clear(self) -> None:
        """Leave out what waits, and what follows until the next key frame."""
        if self._pieces:
            self._waits_for_key = self._gap = True
        self._pieces.clear()
        self._bytes = 0
