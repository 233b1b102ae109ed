"""Who decides how pixels are normalized, in which order, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from edgeclassifier.engine.normalization import (
    IMAGENET,
    MINUS_ONE_TO_ONE,
    RAW,
    ZERO_TO_ONE,
    Choice,
    choose_normalization,
)
from edgeclassifier.engine.preprocess import InputSpec, Normalization, Quantizer
from edgeclassifier.errors import ModelError

PATH = Path("m.tflite")
EVERY = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
EXAMINED = Choice(normalization=Normalization(mean=(7,), std=(7,)), reason="examined")
TORCHVISION = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def spec(dtype: str, scale: float = 0.0, zero_point: int = 0, channels: int = 3) -> InputSpec:
    return InputSpec(
        height=1,
        width=256,
        dtype=np.dtype(dtype),
        scale=scale,
        zero_point=zero_point,
        channels=channels,
    )


def choose(
    given: InputSpec,
    *,
    configured: Normalization | None = None,
    stated: Normalization | None = None,
) -> Choice:
    return choose_normalization(
        PATH, given, configured=configured, stated=stated, examine=lambda: EXAMINED
    )


def same(mean: float, std: float) -> Normalization:
    return Normalization(mean=(mean,), std=(std,))


# The order

FLOAT = spec("float32")
SIGNED = spec("uint8", 1 / 128, 128)
WIDE = spec("uint8", 0.01208906713873148, 129)
"""Holds -1.56 to 1.52."""


def test_the_configuration_comes_first() -> None:
    assert choose(FLOAT, configured=same(1, 2), stated=same(3, 4)).normalization == same(1, 2)
    assert choose(SIGNED, configured=same(127, 128), stated=same(3, 4)).normalization == same(
        127, 128
    )


@pytest.mark.parametrize("stated", [None, same(0, 1), same(0, 255), same(127.5, 127.5), same(3, 4)])
def test_an_input_of_a_usual_range_gets_raw_pixels_whatever_the_metadata_states(
    stated: Normalization | None,
) -> None:
    chosen = choose(SIGNED, stated=stated).normalization
    assert Quantizer(SIGNED, chosen).is_identity


def test_metadata_that_does_not_fit_is_named() -> None:
    said = "its metadata states mean = [0] and std = [1], of which its uint8 input would keep 2 of"
    assert said in choose(SIGNED, stated=same(0, 1)).reason
    assert choose(SIGNED, stated=same(127, 128)).reason == ""


def test_then_comes_the_metadata() -> None:
    assert choose(FLOAT, stated=same(3, 4)) == Choice(normalization=same(3, 4))
    wide = Normalization(mean=(127.0,), std=(82.0,))
    assert choose(WIDE, stated=wide) == Choice(normalization=wide)


def test_a_model_that_says_nothing_is_examined() -> None:
    assert choose(FLOAT) == EXAMINED


# Raw pixels


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [
        (1 / 128, 128),
        (1 / 128, 127),
        (0.007843131199479103, 127),
        (0.00787402, 128),
        (1 / 255, 0),
        (1.0, 0),
        (0.0, 0),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_usual_range_is_filled_by_raw_pixels(
    scale: float, zero_point: int, channels: int
) -> None:
    """The last one has no quantization, as Keras makes it of an input of type uint8."""
    given = spec("uint8", scale, zero_point, channels)
    tensor = Quantizer(given, choose(given).normalization)(EVERY)
    assert np.array_equal(tensor[0], EVERY[..., :channels])


@pytest.mark.parametrize(
    ("scale", "zero_point"), [(1 / 128, 0), (1 / 255, -128), (1.0, -128), (1.0, 0), (0.0, 0)]
)
def test_an_int8_input_of_a_usual_range_gets_pixels_less_128(scale: float, zero_point: int) -> None:
    given = spec("int8", scale, zero_point)
    tensor = Quantizer(given, choose(given).normalization)(EVERY)
    assert np.array_equal(tensor[0], EVERY.astype(int) - 128)


# Quantized inputs of other ranges


@pytest.mark.parametrize("stated", [None, same(0, 1), same(0, 255)])
def test_an_unusual_range_shows_by_itself_what_it_is_for(stated: Normalization | None) -> None:
    chosen = choose(WIDE, stated=stated)
    assert chosen.normalization == MINUS_ONE_TO_ONE
    assert (
        "its uint8 input holds -1.56 to 1.52: taken for -1 to 1, which keeps 167 of" in chosen.doubt
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-2.12, 2.64, IMAGENET),
        (-1.0, 0.85, MINUS_ONE_TO_ONE),
        (0.0, 0.85, ZERO_TO_ONE),
        (0.0, 230.0, RAW),
    ],
)
def test_a_range_that_pixels_nearly_fill_is_recognized(
    low: float, high: float, expected: Normalization
) -> None:
    scale = (high - low) / 255
    chosen = choose(spec("int8", scale, round(-low / scale) - 128))
    assert chosen.normalization == expected
    assert not chosen.doubt


def test_a_range_that_nothing_fits_is_refused_with_what_to_set() -> None:
    said = r"m\.tflite: its uint8 input holds -124 to 151, which none .* fits: set model\.mean"
    with pytest.raises(ModelError, match=said):
        choose(spec("uint8", 1.08, 115))


# What does not fit


@pytest.mark.parametrize(
    ("given", "configured", "levels"),
    [
        (SIGNED, same(0, 1), 2),
        (SIGNED, same(0, 255), 128),
        (spec("uint8", 1 / 255, 0), same(127.5, 127.5), 129),
        (spec("uint8"), same(127.5, 127.5), 2),
    ],
)
def test_a_configuration_that_wastes_a_usual_range_is_refused(
    given: InputSpec, configured: Normalization, levels: int
) -> None:
    said = (
        rf"keep {levels} of 256 levels of brightness: .* raw pixels are right: remove model\.mean"
    )
    with pytest.raises(ModelError, match=said) as caught:
        choose(given, configured=configured)
    assert "\n" not in str(caught.value)


def test_a_configuration_that_wastes_another_range_is_refused_or_warned_of() -> None:
    with pytest.raises(ModelError, match=r"keep 84 of 256 levels .*: set model\.mean and"):
        choose(WIDE, configured=same(0, 255))
    chosen = choose(WIDE, configured=same(127, 128))
    assert chosen.normalization == same(127, 128)
    assert "keep 166 of 256 levels" in chosen.doubt


@pytest.mark.parametrize(
    "mixed",
    [
        Normalization(mean=(123.675, 116.28, 103.53), std=(0.229, 0.224, 0.225)),
        Normalization(mean=(0.485, 0.456, 0.406), std=(58.395, 57.12, 57.375)),
        Normalization(mean=(103.94,), std=(0.017,)),
    ],
)
def test_mean_and_std_of_different_units_are_refused(mixed: Normalization) -> None:
    said = "one of them counts pixels from 0 to 1, the other"
    with pytest.raises(ModelError, match=said):
        choose(FLOAT, configured=mixed)
    with pytest.raises(ModelError, match=said):
        choose(FLOAT, stated=mixed)


def test_three_equal_numbers_are_one_for_a_model_of_brightness() -> None:
    grey = spec("float32", channels=1)
    three = Normalization(mean=(127.5,) * 3, std=(127.5,) * 3)
    assert choose(grey, stated=three).normalization == MINUS_ONE_TO_ONE


def test_a_channel_too_many_is_told() -> None:
    with pytest.raises(
        ModelError, match="3 numbers for mean and std, but the model takes brightne"
    ):
        choose(spec("float32", channels=1), configured=TORCHVISION)


# Units


@pytest.mark.parametrize("said_by", ["configured", "stated"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (TORCHVISION, IMAGENET),
        (same(0.5, 0.5), MINUS_ONE_TO_ONE),
        (same(0.1307, 0.3081), same(33.3285, 78.5655)),
    ],
)
def test_constants_for_pixels_from_0_to_1_are_recognized(
    said_by: str, given: Normalization, expected: Normalization
) -> None:
    chosen = choose(FLOAT, **{said_by: given})
    assert chosen.normalization.mean == pytest.approx(expected.mean)
    assert chosen.normalization.std == pytest.approx(expected.std)
    assert "from 0 to 1" in chosen.reason


@pytest.mark.parametrize("given", [same(0, 1), same(0, 255), same(127.5, 1), same(0, 127.5)])
def test_constants_for_pixels_from_0_to_255_stay(given: Normalization) -> None:
    assert choose(FLOAT, configured=given) == Choice(normalization=given)
