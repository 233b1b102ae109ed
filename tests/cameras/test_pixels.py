"""Every pixel format of libcamera becomes the same RGB."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeclassifier.cameras.pixels import to_rgb
from edgeclassifier.errors import CameraError

Pixels = NDArray[np.uint8]
SUBSAMPLED_ROWS = {"NV12": 2, "NV21": 2, "YUV420": 2, "YVU420": 2}
YUV_FORMATS = (*SUBSAMPLED_ROWS, "YUYV", "YVYU", "UYVY", "VYUY")


def reference(y: int, u: int, v: int, *, full_range: bool) -> list[float]:
    """BT.601 as its definition has it, one pixel at a time."""
    if full_range:
        luma, cb, cr = y / 255, (u - 128) / 255, (v - 128) / 255
    else:
        luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    red = luma + 2 * (1 - 0.299) * cr
    blue = luma + 2 * (1 - 0.114) * cb
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return [min(max(255 * part, 0.0), 255.0) for part in (red, green, blue)]


def pack(format_: str, y: Pixels, u: Pixels, v: Pixels, padding: int) -> Pixels:
    """Lay planes out in memory byte by byte, as libcamera does, in the shape of make_array()."""
    height, width = y.shape
    junk = 123
    if format_ in ("YUYV", "YVYU", "UYVY", "VYUY"):
        rows = np.full((height, 2 * (width + padding)), junk, np.uint8)
        for row in range(height):
            for x in range(0, width, 2):
                parts = {"U": u[row, x // 2], "V": v[row, x // 2]}
                lumas = iter(y[row, x : x + 2])
                for i, letter in enumerate(format_):
                    rows[row, 2 * x + i] = next(lumas) if letter == "Y" else parts[letter]
        return rows.reshape(height, width + padding, 2)
    if format_ in ("NV12", "NV21"):
        rows = np.empty((height * 3 // 2, width), np.uint8)  # picamera2 cuts the padding off
        rows[:height] = y
        rows[height:, 0::2], rows[height:, 1::2] = (u, v) if format_ == "NV12" else (v, u)
        return rows
    stride = width + 2 * padding
    buffer = []
    first, second = (u, v) if format_ == "YUV420" else (v, u)
    for plane, length in ((y, stride), (first, stride // 2), (second, stride // 2)):
        for line in plane:
            buffer += [*line, *([junk] * (length - len(line)))]
    return np.array(buffer, np.uint8).reshape(height * 3 // 2, stride)


@given(data=st.data())
@pytest.mark.parametrize("format_", YUV_FORMATS)
def test_yuv_agrees_with_the_definition(format_: str, data: st.DataObject) -> None:
    width, height = 2 * data.draw(st.integers(1, 5)), 2 * data.draw(st.integers(1, 4))
    rows = SUBSAMPLED_ROWS.get(format_, 1)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    full_range = data.draw(st.booleans())

    def plane(plane_height: int, plane_width: int) -> Pixels:
        return rng.integers(0, 256, (plane_height, plane_width), np.uint8)

    y = plane(height, width)
    u, v = plane(height // rows, width // 2), plane(height // rows, width // 2)
    array = pack(format_, y, u, v, padding=data.draw(st.integers(0, 3)))
    rgb = to_rgb(array, format=format_, width=width, height=height, full_range=full_range)
    expected = [
        [
            reference(
                int(y[row, x]),
                int(u[row // rows, x // 2]),
                int(v[row // rows, x // 2]),
                full_range=full_range,
            )
            for x in range(width)
        ]
        for row in range(height)
    ]
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    np.testing.assert_allclose(rgb.astype(float), expected, atol=2)


@pytest.mark.parametrize("full_range", [False, True])
def test_black_and_white_reach_the_ends(*, full_range: bool) -> None:
    black, white = (0, 255) if full_range else (16, 235)
    y = np.array([[black, white], [black, white]], np.uint8)
    grey = np.full((1, 1), 128, np.uint8)
    array = pack("NV12", y, grey, grey, 0)
    rgb = to_rgb(array, format="NV12", width=2, height=2, full_range=full_range)
    assert rgb[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(
    ("format_", "order"),
    [
        ("BGR888", "RGB"),
        ("RGB888", "BGR"),
        ("XBGR8888", "RGBX"),
        ("XRGB8888", "BGRX"),
        ("MJPEG", "RGB"),
    ],
)
def test_rgb_byte_orders(format_: str, order: str) -> None:
    parts = {"R": 10, "G": 20, "B": 30, "X": 255}
    array = np.broadcast_to(np.array([parts[p] for p in order], np.uint8), (4, 6, len(order)))
    rgb = to_rgb(array, format=format_, width=6, height=4, full_range=True)
    np.testing.assert_array_equal(rgb, np.broadcast_to([10, 20, 30], (4, 6, 3)))
    assert rgb.flags.c_contiguous


def test_a_grey_jpeg_has_three_equal_channels() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    rgb = to_rgb(array, format="MJPEG", width=6, height=4, full_range=True)
    for channel in range(3):
        np.testing.assert_array_equal(rgb[:, :, channel], array)


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(CameraError, match="SRGGB10"):
        to_rgb(np.zeros((4, 4), np.uint8), format="SRGGB10", width=4, height=4, full_range=True)


@pytest.mark.parametrize("format_", [*YUV_FORMATS, "BGR888", "XRGB8888", "MJPEG"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 4, 1), (2, 8, 3), (16,), (5, 8)])
def test_a_wrong_shape_is_an_error(format_: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(CameraError, match=f"no {format_} picture 8 pixels wide"):
        to_rgb(np.zeros(shape, np.uint8), format=format_, width=8, height=4, full_range=True)
