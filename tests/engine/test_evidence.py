"""Models that say nothing about their pixels: found out by trying, or refused with what to set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.tiny_models import Operation, Tensor, colours, model

from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.evidence import examine
from edgeclassifier.engine.normalization import MINUS_ONE_TO_ONE, RAW, ZERO_TO_ONE, Choice
from edgeclassifier.engine.preprocess import Normalization
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import ModelError

CLASSES = ("red", "green", "blue")
LIKENESS = 4 * np.eye(3)
NO_BIAS = (0.0, 0.0, 0.0)
PICTURES = {
    name: np.full((50, 60, 3), rgb, np.uint8)
    for name, rgb in {
        "coffee.png": (200, 90, 60),
        "chelsea.png": (120, 150, 60),
        "sky.png": (60, 90, 200),
        "dusk.png": (50, 20, 90),
    }.items()
}

Examine = Callable[..., Choice]


@pytest.fixture
def examined(tmp_path: Path) -> Examine:
    def make(content: bytes, labels: tuple[str, ...] = CLASSES) -> Choice:
        path = tmp_path / "m.tflite"
        path.write_bytes(content)
        loaded = load_model(path, threads=1)
        made = Classifier(loaded, path=path, labels=labels, labels_source="l")
        return examine(path, made, PICTURES)

    return make


# The graph


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([("MUL", 1 / 255)], RAW),
        ([("DIV", 255.0)], RAW),
        ([("MUL", 1 / 127.5), ("SUB", 1.0)], RAW),
        ([("MUL", 1 / 127.5), ("ADD", -1.0)], RAW),
        ([("SUB", 127.5), ("DIV", 127.5)], RAW),
        ([("SUB", 123.68)], RAW),
        ([("MUL", 1 / 255), ("SUB", 0.449), ("DIV", 0.226)], RAW),
        ([("MUL", 2.0), ("SUB", 1.0)], ZERO_TO_ONE),
        ([("SUB", 0.485), ("DIV", 0.229)], ZERO_TO_ONE),
        ([("ADD", 1.0), ("MUL", 0.5)], MINUS_ONE_TO_ONE),
    ],
)
def test_the_arithmetic_at_its_beginning_says_what_a_model_takes(
    examined: Examine, before: list[tuple[str, float]], expected: Normalization
) -> None:
    chosen = examined(colours(LIKENESS, NO_BIAS, before=before))
    assert chosen.normalization == expected
    assert "it begins with the arithmetic that scales them itself" in chosen.reason
    assert not chosen.doubt


def convolution(weights: NDArray[np.float64]) -> bytes:
    """Write a model of one convolution over 8 x 8 pixels, whose mean is the logits."""
    tensors = [
        Tensor(shape=(1, 8, 8, 3), dtype="float32"),
        Tensor(shape=weights.shape, dtype="float32", values=tuple(weights.reshape(-1))),
        Tensor(shape=(len(weights),), dtype="float32", values=(1e-9,) * len(weights)),
        Tensor(shape=(1, 8, 8, len(weights)), dtype="float32"),
        Tensor(shape=(2,), dtype="int32", values=(1, 2)),
        Tensor(shape=(1, len(weights)), dtype="float32"),
        Tensor(shape=(1, len(weights)), dtype="float32"),
    ]
    operations = [
        Operation(name="CONV_2D", input=0, output=3, constants=(1, 2)),
        Operation(name="MEAN", input=3, output=5, constants=(4,)),
        Operation(name="SOFTMAX", input=5, output=6),
    ]
    return model(tensors, operations)


def test_a_division_that_was_folded_into_the_first_filters_is_seen(examined: Examine) -> None:
    chosen = examined(convolution(LIKENESS.reshape(3, 1, 1, 3) / 255))
    assert chosen.normalization == RAW
    assert "the filters of its first convolution are made for large numbers" in chosen.reason


def test_ordinary_filters_are_no_evidence(examined: Examine) -> None:
    assert examined(convolution(LIKENESS.reshape(3, 1, 1, 3))).doubt


def test_an_export_of_teachable_machine_is_recognized(examined: Examine) -> None:
    tensors = [
        Tensor(
            shape=(1, 224, 224, 3), name="serving_default_sequential_3_input:0", dtype="float32"
        ),
        Tensor(shape=(2,), dtype="int32", values=(1, 2)),
        Tensor(shape=(1, 3), dtype="float32"),
        Tensor(shape=(100, 3), values=(1.0,) * 300, dtype="float32"),
        Tensor(shape=(100,), values=(1.0,) * 100, dtype="float32"),
        Tensor(shape=(1, 100), dtype="float32"),
        Tensor(shape=(2, 100), values=(1.0,) * 200, dtype="float32"),
        Tensor(shape=(2,), values=(1.0, 1.0), dtype="float32"),
        Tensor(shape=(1, 2), dtype="float32"),
        Tensor(shape=(1, 2), dtype="float32"),
    ]
    operations = [
        Operation(name="MEAN", input=0, output=2, constants=(1,)),
        Operation(name="FULLY_CONNECTED", input=2, output=5, constants=(3, 4)),
        Operation(name="FULLY_CONNECTED", input=5, output=8, constants=(6, 7)),
        Operation(name="SOFTMAX", input=8, output=9),
    ]
    chosen = examined(model(tensors, operations), ("a", "b"))
    assert chosen.normalization == MINUS_ONE_TO_ONE
    assert "Teachable Machine" in chosen.reason


# The answers


def test_a_model_that_sees_nothing_but_pixels_up_to_255_gets_them(examined: Examine) -> None:
    """Whether logits, probabilities, or the one sigmoid of two classes."""
    weak = LIKENESS / 255
    for content in (colours(weak, NO_BIAS), colours(weak, NO_BIAS, last=None)):
        chosen = examined(content)
        assert chosen.normalization == RAW
        assert "its answers to the sample pictures differ by" in chosen.reason
        assert not chosen.doubt
    one = np.array([[0.03, -0.03, 0.0]])
    chosen = examined(colours(one, [0], last="LOGISTIC"), ("green", "red"))
    assert chosen.normalization == RAW


def test_what_cannot_be_told_is_chosen_with_a_warning_that_says_what_to_set(
    examined: Examine,
) -> None:
    chosen = examined(colours(LIKENESS, NO_BIAS))
    assert chosen.normalization == MINUS_ONE_TO_ONE
    assert not chosen.reason
    for said in (
        "does not say how its pixels are normalized: taken for -1 to 1",
        "set model.mean = [0] and model.std = [255] (0 to 1)",
        "model.mean = [127.5] and model.std = [127.5] ends this warning",
    ):
        assert said in chosen.doubt


def test_pictures_that_are_told_apart_better_from_0_to_1_are_evidence(examined: Examine) -> None:
    """Below zero all are taken for the same."""
    chosen = examined(
        colours(np.array([[-16.0, 0, 0], [16.0, 0, 0]]), (5.6, -5.6)), ("cold", "warm")
    )
    assert chosen.normalization == ZERO_TO_ONE
    assert "told apart better than for -1 to 1" in chosen.doubt


def test_the_name_that_edge_impulse_gives_its_input_is_evidence(examined: Examine) -> None:
    chosen = examined(colours(LIKENESS, NO_BIAS, name="serving_default_x:0"))
    assert chosen.normalization == ZERO_TO_ONE
    assert "Edge Impulse" in chosen.doubt


@pytest.mark.parametrize("background", [0, 1])
def test_a_model_of_imagenet_is_judged_by_what_it_recognizes(
    examined: Examine, background: int
) -> None:
    """It finds espresso where red prevails and a cat in the green, if pixels are 0 to 1."""
    weights = np.zeros((1000 + background, 3))
    weights[background + 967] = 40, -20, -20
    weights[background + 281] = -20, 40, -20
    labels = tuple(str(number) for number in range(len(weights)))
    chosen = examined(colours(weights, [-4.0 * (abs(row).sum() > 0) for row in weights]), labels)
    assert chosen.normalization in {ZERO_TO_ONE, MINUS_ONE_TO_ONE, RAW}
    assert "of cat and coffee in the sample pictures" in chosen.reason + chosen.doubt


def test_a_model_that_answers_the_same_to_everything_is_refused_with_what_to_set(
    examined: Examine,
) -> None:
    said = (
        r"m\.tflite: the model does not say how its pixels are normalized, and its answers to the "
        r"sample pictures do not show it: set model\.mean = \[127\.5\] and model\.std = \[127\.5\] "
        r"\(-1 to 1\), or model\.mean = \[0\] and model\.std = \[255\] \(0 to 1\), or "
        r"model\.mean = \[0\] and model\.std = \[1\] \(0 to 255\)"
    )
    with pytest.raises(ModelError, match=said):
        examined(colours(LIKENESS / 1e6, (0.0, 1.0, 0.0)))
