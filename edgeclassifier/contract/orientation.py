"""How a picture has to be turned to be upright. Turning costs nothing until pixels are read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # The configuration knows the angles, and is read without NumPy.
    from edgeclassifier.contract.frame import Pixels

ROTATIONS: Final = (0, 90, 180, 270)
FLIPS: Final = ("none", "horizontal", "vertical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """One of the eight ways to lay a picture down: first transposed, then mirrored."""

    transpose: bool = False
    """Swap rows and columns."""
    mirror: bool = False
    """Swap left and right."""
    upside_down: bool = False
    """Swap top and bottom."""

    def turn(self, pixels: "Pixels") -> "Pixels":
        """Return a view of H x W x 3, or of W x H x 3 if it is transposed."""
        turned = pixels.transpose(1, 0, 2) if self.transpose else pixels
        if self.upside_down:
            turned = turned[::-1]
        return turned[:, ::-1] if self.mirror else turned


UPRIGHT: Final = Orientation()


def orientation(rotation: int, flip: str) -> Orientation:
    """Turn clockwise by `rotation` degrees, then flip the result.

    Raises ValueError if `rotation` is not one of ROTATIONS, or `flip` not one of FLIPS.
    """
    if rotation not in ROTATIONS or flip not in FLIPS:
        raise ValueError(f"rotation is {rotation}, must be in {ROTATIONS}; flip {flip}, in {FLIPS}")
    return Orientation(
        transpose=rotation in (90, 270),
        mirror=(rotation in (90, 180)) != (flip == "horizontal"),
        upside_down=(rotation in (180, 270)) != (flip == "vertical"),
    )


def as_stored(pixels: "Pixels") -> "tuple[Pixels, Orientation]":
    """Return a turned picture as it lies in memory, and what turns it back: stored, orientation.

    Reading memory in its own order is several times as fast as copying a turned frame, and what is
    made of it is small and turned for nothing. `orientation.turn(stored)` is `pixels` again.
    """
    rows, columns = pixels.strides[:2]
    transpose = abs(rows) < abs(columns)
    upside_down, mirror = rows < 0, columns < 0
    stored = pixels[:: -1 if upside_down else 1, :: -1 if mirror else 1]
    return (
        stored.transpose(1, 0, 2) if transpose else stored,
        Orientation(transpose=transpose, mirror=mirror, upside_down=upside_down),
    )
