"""Preprocessing against slow, obvious references."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from edgeclassifier.engine.preprocess import (
    Box,
    InputSpec,
    Normalization,
    Preprocessor,
    Quantizer,
    crop_and_resize,
    crop_box,
)

SIDES = st.integers(1, 4000)
UINT8 = np.dtype(np.uint8)
INT8 = np.dtype(np.int8)
FLOAT32 = np.dtype(np.float32)


@given(SIDES, SIDES, st.floats(0.05, 1))
def test_the_crop_is_a_centred_square_inside_the_frame(w: int, h: int, fraction: float) -> None:
    box = crop_box(w, h, crop_fraction=fraction)
    assert box.width == box.height >= 1
    assert abs(box.width - fraction * min(w, h)) <= 1
    assert 0 <= box.x <= w - box.width
    assert 0 <= box.y <= h - box.height
    assert w - box.width == 2 * box.x
    assert h - box.height == 2 * box.y


FRACTIONS = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(SIDES, SIDES, FRACTIONS, FRACTIONS)
def test_a_region_stays_inside_the_frame_and_is_never_empty(
    w: int, h: int, corner: tuple[float, float], size: tuple[float, float]
) -> None:
    (x, y), (rw, rh) = corner, size
    region = (x, y, max(min(rw, 1 - x), 1e-6), max(min(rh, 1 - y), 1e-6))
    box = crop_box(w, h, region=region)
    assert 0 <= box.x < box.x + box.width <= w
    assert 0 <= box.y < box.y + box.height <= h
    assert abs(box.width - region[2] * w) <= 2
    assert abs(box.height - region[3] * h) <= 2


def triangle_resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float64]:
    """Resize with a triangle filter as wide as the scale, one output pixel at a time."""

    def weights(source: int, target: int) -> NDArray[np.float64]:
        scale = source / target
        support = max(scale, 1.0)
        rows = np.zeros((target, source))
        for i in range(target):
            centre = (i + 0.5) * scale
            for j in range(source):
                rows[i, j] = max(0.0, 1 - abs(j + 0.5 - centre) / support)
            rows[i] /= rows[i].sum()
        return rows

    across, down = weights(pixels.shape[1], width), weights(pixels.shape[0], height)
    resized: NDArray[np.float64] = np.einsum(
        "yj,xi,jic->yxc", down, across, pixels.astype(np.float64)
    )
    return resized


@settings(deadline=None)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(4, 30), st.integers(4, 30), st.just(3))),
    st.integers(16, 40),
    st.integers(16, 40),
)
def test_resizing_equals_an_obvious_antialiased_filter(
    pixels: NDArray[np.uint8], width: int, height: int
) -> None:
    box = Box(x=0, y=0, width=pixels.shape[1], height=pixels.shape[0])
    expected = triangle_resize(pixels, width, height)
    got = crop_and_resize(pixels, box, width=width, height=height)
    assert got.shape == (height, width, 3)
    assert np.abs(got - expected).max() <= 2


def test_a_large_reduction_averages_and_does_not_pick_pixels() -> None:
    """Fine stripes become grey: a filter without antialiasing would show false patterns."""
    stripes = np.zeros((1080, 1080, 3), np.uint8)
    stripes[:, ::2] = 255
    got = crop_and_resize(stripes, Box(x=0, y=0, width=1080, height=1080), width=224, height=224)
    assert 120 <= got.min() <= got.max() <= 135


@given(st.integers(0, 5), st.integers(0, 5))
def test_the_crop_is_cut_from_the_right_place(x: int, y: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    box = Box(x=x, y=y, width=20, height=10)
    assert np.array_equal(
        crop_and_resize(pixels, box, width=20, height=10), pixels[y : y + 10, x : x + 20]
    )
    whole = Image.fromarray(pixels).resize((25, 15), 2, box=(x, y, x + 20, y + 10))
    assert np.array_equal(crop_and_resize(pixels, box, width=25, height=15), np.asarray(whole))


def on_a_boundary(number: float) -> bool:
    return abs(number - round(number)) < 1e-6


@settings(deadline=None, max_examples=200)
@given(
    st.integers(20, 700),
    st.integers(20, 700),
    st.floats(0.3, 1).map(lambda fraction: round(fraction, 3)),
    st.integers(8, 64),
)
def test_a_square_that_falls_between_pixels_is_scaled_as_pillow_does(
    width: int, height: int, fraction: float, size: int
) -> None:
    """Of the whole frame: nothing is moved to the next pixel, nothing ends at the box."""
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    side = min(width, height) * fraction
    left, top = (width - side) / 2, (height - side) / 2
    # On a boundary the last bit of a fraction would decide which blocks Pillow averages.
    reach = side / size / 2
    assume(not any(map(on_a_boundary, (left - reach, top - reach, side / size / 1.5))))
    expected = Image.fromarray(pixels).resize(
        (size, size),
        Image.Resampling.BILINEAR,
        box=(left, top, left + side, top + side),
        reducing_gap=1.5,
    )
    box = crop_box(width, height, crop_fraction=fraction)
    got = crop_and_resize(pixels, box, width=size, height=size).astype(int)
    # Pillow rounds between rows and columns, in the order that is faster for a frame's size.
    assert np.abs(got - np.asarray(expected)).max() <= 2


QUANTIZATIONS = st.tuples(
    st.sampled_from([UINT8, INT8]), st.floats(0.001, 1), st.integers(-128, 255)
)
MEANS = st.tuples(*[st.floats(0, 255)] * 3)
STDS = st.tuples(*[st.floats(0.5, 255)] * 3)


@given(arrays.arrays(np.uint8, (5, 4, 3)), QUANTIZATIONS, MEANS, STDS)
def test_quantization_equals_the_formula_pixel_by_pixel(
    rgb: NDArray[np.uint8],
    quantization: tuple[np.dtype[np.uint8], float, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    dtype, scale, zero_point = quantization
    limits = np.iinfo(dtype)
    zero_point = max(limits.min, min(limits.max, zero_point))
    spec = InputSpec(height=5, width=4, dtype=dtype, scale=scale, zero_point=zero_point)
    tensor = Quantizer(spec, Normalization(mean=mean, std=std))(rgb)
    assert tensor.shape == (1, 5, 4, 3)
    assert tensor.dtype == dtype
    for index in np.ndindex(5, 4, 3):
        real = (float(rgb[index]) - mean[index[2]]) / std[index[2]]
        expected = max(limits.min, min(limits.max, round(real / scale) + zero_point))
        assert tensor[0][index] == expected


@given(arrays.arrays(np.uint8, (2, 2, 3)), st.floats(0, 255), st.floats(0.5, 255))
def test_float_models_get_the_normalized_value(
    rgb: NDArray[np.uint8], mean: float, std: float
) -> None:
    spec = InputSpec(height=2, width=2, dtype=FLOAT32)
    tensor = Quantizer(spec, Normalization(mean=(mean,), std=(std,)))(rgb)
    assert tensor.dtype == np.float32
    assert np.allclose(tensor[0], (rgb.astype(np.float64) - mean) / std, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "mean", "std", "identity"),
    [
        (UINT8, 1 / 128, 128, 128, 128, True),
        (UINT8, 1 / 128, 127, 127, 128, True),
        (UINT8, 1 / 127.5, 127, 127, 127.5, True),
        (UINT8, 0.01208906713873148, 129, 127, 128, False),
        (INT8, 1 / 128, -128, 0, 128, False),
        (UINT8, 1 / 128, 128, 127, 128, False),
    ],
)
def test_pixels_go_straight_through_only_where_that_is_right(
    dtype: np.dtype[np.uint8],
    scale: float,
    zero_point: int,
    mean: float,
    std: float,
    *,
    identity: bool,
) -> None:
    spec = InputSpec(height=1, width=256, dtype=dtype, scale=scale, zero_point=zero_point)
    quantizer = Quantizer(spec, Normalization(mean=(mean,), std=(std,)))
    assert quantizer.is_identity is identity
    every = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
    assert bool(np.array_equal(quantizer(every)[0], every)) is identity


def test_int8_is_the_uint8_table_shifted() -> None:
    every = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
    spec = InputSpec(height=1, width=256, dtype=INT8, scale=1 / 128, zero_point=-1)
    tensor = Quantizer(spec, Normalization(mean=(127,), std=(128,)))(every)
    assert np.array_equal(tensor[0], (every.astype(np.int16) - 128).astype(np.int8))


# Channels

FRAME = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
THREE = Normalization(mean=(103.9, 116.8, 123.7), std=(1, 2, 3))


@pytest.mark.parametrize("dtype", [FLOAT32, UINT8])
def test_a_bgr_model_gets_blue_first_and_its_constants_in_that_order(
    dtype: np.dtype[np.uint8],
) -> None:
    spec = InputSpec(height=8, width=8, dtype=dtype, scale=0.0 if dtype.kind == "f" else 1.0)
    crop, tensor = Preprocessor(spec=spec, normalization=THREE, bgr=True)(FRAME)
    expected = (crop[..., ::-1] - np.array(THREE.mean)) / np.array(THREE.std)
    if dtype.kind != "f":
        expected = np.rint(expected).clip(0, 255)
    assert tensor.flags.c_contiguous
    assert np.allclose(tensor[0], expected, atol=1e-4)


def test_raw_pixels_are_swapped_too() -> None:
    spec = InputSpec(height=8, width=8, dtype=UINT8)
    straight = Normalization(mean=(0,), std=(1,))
    crop, tensor = Preprocessor(spec=spec, normalization=straight, bgr=True)(FRAME)
    assert np.array_equal(tensor[0], crop[..., ::-1])


@pytest.mark.parametrize("dtype", [FLOAT32, UINT8, INT8])
def test_a_model_of_one_channel_gets_brightness(dtype: np.dtype[np.uint8]) -> None:
    """As ITU-R 601 weighs the colours; red and blue are told apart before, whatever the order."""
    spec = InputSpec(
        height=8, width=8, dtype=dtype, channels=1, scale=0.0 if dtype.kind == "f" else 1.0
    )
    normalization = Normalization(mean=(128 if dtype == INT8 else 0,), std=(1,))
    crop, tensor = Preprocessor(spec=spec, normalization=normalization, bgr=True)(FRAME)
    grey = crop @ np.array([0.299, 0.587, 0.114])
    assert tensor.shape == (1, 8, 8, 1)
    assert tensor.dtype == dtype
    assert np.abs(tensor[0, ..., 0] - (grey - normalization.mean[0])).max() <= 1
