"""A picture that hangs askew is turned upright, and found again as it lies in memory."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeclassifier.contract.orientation import (
    FLIPS,
    ROTATIONS,
    UPRIGHT,
    Orientation,
    as_stored,
    orientation,
)

PICTURE = np.random.default_rng(1).integers(0, 256, (6, 10, 3), np.uint8)
T = Image.Transpose
PILLOW = {90: T.ROTATE_270, 180: T.ROTATE_180, 270: T.ROTATE_90}
FLIPPED = {"horizontal": T.FLIP_LEFT_RIGHT, "vertical": T.FLIP_TOP_BOTTOM}
EVERY = [
    Orientation(transpose=a, mirror=b, upside_down=c)
    for a in (False, True)
    for b in (False, True)
    for c in (False, True)
]


def by_pillow(rotation: int, flip: str) -> NDArray[np.uint8]:
    """Turn clockwise, then flip; Pillow counts counterclockwise."""
    image = Image.fromarray(PICTURE)
    if rotation:
        image = image.transpose(PILLOW[rotation])
    return np.asarray(image.transpose(FLIPPED[flip]) if flip != "none" else image)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_it_is_turned_clockwise_and_then_flipped(rotation: int, flip: str) -> None:
    turned = orientation(rotation, flip).turn(PICTURE)
    np.testing.assert_array_equal(turned, by_pillow(rotation, flip))
    assert np.shares_memory(turned, PICTURE), "turning a frame must cost nothing"


@pytest.mark.parametrize("how", EVERY)
def test_a_turned_picture_is_found_as_it_lies_in_memory(how: Orientation) -> None:
    turned = how.turn(PICTURE)
    part = turned[1:5, 2:5]
    stored, back = as_stored(turned)
    assert stored.flags.c_contiguous
    np.testing.assert_array_equal(stored, PICTURE)
    assert back == how
    stored, back = as_stored(part)
    assert stored.strides == PICTURE.strides
    np.testing.assert_array_equal(back.turn(stored), part)


def test_a_picture_that_is_not_turned_stays_what_it_is() -> None:
    assert as_stored(PICTURE)[1] == UPRIGHT == orientation(0, "none")


@pytest.mark.parametrize(("rotation", "flip"), [(45, "none"), (-90, "none"), (0, "both")])
def test_no_other_angle(rotation: int, flip: str) -> None:
    with pytest.raises(ValueError, match=r"rotation|flip"):
        orientation(rotation, flip)
