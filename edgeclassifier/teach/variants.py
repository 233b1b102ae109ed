"""The same picture as a camera may see it at another time: brighter, warmer, a little aside."""

from collections.abc import Callable, Iterator

import numpy as np

from edgeclassifier.contract.frame import Pixels

_SHIFT = 0.07
"""In sides of the picture."""
_BUDGET = 240
"""Variants are for few pictures: so many in all, which take as long as so many pictures."""


def _lit(red: float, green: float, blue: float) -> Callable[[Pixels], Pixels]:
    factors = np.array((red, green, blue), np.float32)

    def light(pixels: Pixels) -> Pixels:
        lit: Pixels = (pixels * factors).clip(0, 255).astype(np.uint8)
        return lit

    return light


def _shifted(across: float, down: float) -> Callable[[Pixels], Pixels]:
    def shift(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        x, y = round(across * min(height, width)), round(down * min(height, width))
        rows = slice(max(0, y), height + min(0, y))
        columns = slice(max(0, x), width + min(0, x))
        return np.ascontiguousarray(pixels[rows, columns])

    return shift


VARIANTS: tuple[Callable[[Pixels], Pixels], ...] = (
    _lit(0.7, 0.7, 0.7),
    _lit(1.3, 1.3, 1.3),
    _shifted(_SHIFT, _SHIFT / 2),
    _shifted(-_SHIFT, -_SHIFT / 2),
    _lit(1.12, 1.0, 0.88),
    _lit(0.88, 1.0, 1.12),
)
"""In the order of what they bring. No mirror: it brings less, and left and right may be classes."""


def variants_for(pictures: int) -> int:
    """Return how many variants of each of so many pictures are worth their time."""
    return min(len(VARIANTS), _BUDGET // max(1, pictures) - 1) if pictures < _BUDGET else 0


def varied(pixels: Pixels, count: int) -> Iterator[Pixels]:
    """Yield a picture of H x W x 3, then the first `count` variants of it."""
    yield pixels
    for vary in VARIANTS[:count]:
        yield vary(pixels)
