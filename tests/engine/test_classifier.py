"""The classifier on real models whose scores are their input: every answer can be computed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from support.tiny_models import LABELS, Operation, Tensor, classifier, colours, model

from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.outputs import OutputKind
from edgeclassifier.engine.runtime import RUNTIMES, Interpreter, LoadedModel, Runtime, load_model
from edgeclassifier.errors import InferenceError, ModelError

Build = Callable[..., Classifier]
PICTURE = Tensor(shape=(1, 2, 2, 3), dtype="float32")
ROW = Tensor(shape=(1, 12), dtype="float32")
FLATTEN = Operation(name="RESHAPE", input=0, output=1)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return what loads the bytes of a model and makes a classifier of them."""
    path = tmp_path_factory.mktemp("models") / "model.tflite"

    def make(
        content: bytes, labels: tuple[str, ...] = LABELS, *, input_size: int = 0, **options: Any
    ) -> Classifier:
        path.write_bytes(content)
        loaded = load_model(path, threads=1, input_size=input_size)
        return Classifier(loaded, path=path, labels=labels, labels_source="labels.txt", **options)

    return make


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    result: NDArray[np.float64] = powers / powers.sum()
    return result


def picture(values: Sequence[float], dtype: str) -> NDArray[Any]:
    """Make the input tensor whose scores are `values`."""
    return np.array(values, dtype).reshape(1, 2, 2, 3)


# Scores


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@settings(deadline=None, max_examples=50)
@given(data=st.data(), scale=st.floats(1 / 1024, 1, width=32), position=st.floats(0, 1))
def test_scores_are_scale_times_stored_value_minus_zero_point_between_0_and_1(
    build: Build, dtype: str, data: st.DataObject, scale: float, position: float
) -> None:
    limits = np.iinfo(dtype)
    zero_point = round(int(limits.min) + position * 255)
    stored = data.draw(arrays.arrays(dtype, (1, 2, 2, 3)))
    content = classifier(dtype, scale=scale, zero_point=zero_point)
    scores = build(content, output="probabilities").invoke(stored)
    expected = [
        min(max(scale * (int(value) - zero_point), 0.0), 1.0) for value in stored.reshape(-1)
    ]
    assert scores.dtype == np.float32
    assert scores.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_uint8_below_its_zero_point_does_not_wrap_around(build: Build) -> None:
    content = classifier("uint8", scale=0.5, zero_point=255)
    scores = build(content, output="probabilities").invoke(picture([0, 1, 254, 255] * 3, "uint8"))
    assert scores.tolist() == [0] * 12
    powers = softmax(np.array([-127.5, -127, -0.5, 0] * 3))
    logits = build(content, output="logits").invoke(picture([0, 1, 254, 255] * 3, "uint8"))
    assert logits.tolist() == pytest.approx(powers.tolist())


def test_what_is_no_number_counts_as_nothing(build: Build) -> None:
    content = classifier("float32", last="SOFTMAX")
    scores = build(content).invoke(picture([float("nan")] * 12, "float32"))
    assert scores.tolist() == [0] * 12


def test_float_scores_are_taken_as_they_are(build: Build) -> None:
    values = np.linspace(0, 1, 12, dtype=np.float32)
    scores = build(classifier(), output="probabilities").invoke(values.reshape(1, 2, 2, 3))
    assert scores.tolist() == values.tolist()


# Softmax: once, and only where the model leaves it out

LOGITS = [0, 40, 50, 255, 100, 3, 7, 9, 200, 199, 198, 12]


@pytest.mark.parametrize(
    ("last", "scale", "zero_point", "applied"),
    [
        ("SOFTMAX", 0.05, 10, False),
        ("LOGISTIC", 0.05, 10, False),
        (None, 0.05, 10, True),
        (None, 0.05, 0, True),
        (None, 1 / 256, 10, True),
        (None, 1 / 256, 0, False),
        (None, 1 / 255, 0, False),
    ],
)
def test_a_quantized_output_beyond_0_to_1_is_logits_unless_an_operation_says_otherwise(
    build: Build, last: str | None, scale: float, zero_point: int, *, applied: bool
) -> None:
    found = build(classifier("uint8", scale=scale, zero_point=zero_point, last=last))
    scores = found.invoke(picture(LOGITS, "uint8"))
    real = scale * (np.array(LOGITS) - zero_point)
    expected = real
    if last == "SOFTMAX":
        expected = softmax(real)
    elif last == "LOGISTIC":
        expected = 1 / (1 + np.exp(-real))
    elif applied:
        expected = softmax(real)
    assert found.applies_softmax is applied
    # What the model computes itself comes in steps of 1/256.
    assert scores.tolist() == pytest.approx(expected, abs=1e-5 if last is None else 1 / 256)


@pytest.mark.parametrize(
    ("last", "applied"), [("SOFTMAX", False), ("LOGISTIC", False), ("LOG_SOFTMAX", True)]
)
def test_a_float_output_beyond_0_to_1_is_logits(build: Build, last: str, *, applied: bool) -> None:
    found = build(classifier(last=last))
    values = np.linspace(-3, 5, 12)
    scores = found.invoke(picture(values.tolist(), "float32"))
    # The softmax of a log-softmax is the softmax.
    expected = 1 / (1 + np.exp(-values)) if last == "LOGISTIC" else softmax(values)
    assert found.applies_softmax is applied
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("activation", "expected"), [("SOFTMAX", np.e / (np.e + 11)), ("LOGISTIC", 1 / (1 + 1 / np.e))]
)
def test_an_activation_is_seen_behind_a_change_of_form(
    build: Build, activation: str, expected: float
) -> None:
    """In steps of 1/16, from -8 to 8, the range alone would say: logits."""
    coarse = Tensor(shape=(1, 12), dtype="int8", scale=1 / 16, zero_point=0)
    probabilities = replace(coarse, scale=1 / 256, zero_point=-128)
    tensors = [replace(coarse, shape=(1, 2, 2, 3)), coarse, probabilities, coarse]
    names = ("RESHAPE", activation, "QUANTIZE")
    found = build(
        model(
            tensors,
            [
                Operation(name=name, input=index, output=index + 1)
                for index, name in enumerate(names)
            ],
        )
    )
    scores = found.invoke(picture([16, *[0] * 11], "int8"))
    assert not found.applies_softmax
    assert scores[0] == pytest.approx(expected, abs=1 / 16)


@pytest.mark.parametrize(
    ("last", "output", "applied"),
    [(None, "logits", True), (None, "probabilities", False), ("SOFTMAX", "logits", True)],
)
def test_the_configuration_overrules_what_the_output_looks_like(
    build: Build,
    caplog: pytest.LogCaptureFixture,
    last: str | None,
    output: OutputKind,
    *,
    applied: bool,
) -> None:
    found = build(classifier(last=last), output=output)
    values = np.linspace(0, 1, 12)
    model_puts_out = softmax(values) if last else values
    expected = softmax(model_puts_out) if applied else model_puts_out
    assert found.applies_softmax is applied
    assert ("puts out probabilities" in caplog.text) is (last == "SOFTMAX")
    assert found.invoke(picture(values.tolist(), "float32")).tolist() == pytest.approx(
        expected, abs=1e-6
    )


def test_huge_logits_do_not_overflow(build: Build) -> None:
    found = build(classifier(), output="logits")
    scores = found.invoke(picture([1e4, -1e4, *[0] * 10], "float32"))
    assert scores.tolist() == [1.0, *[0.0] * 11]


class BareInterpreter:
    """Only what the protocol promises, and a kernel that fails on demand."""

    def __init__(self, inner: Interpreter, *, error: str | None = None) -> None:
        self._inner = inner
        self._error = error
        self.allocate_tensors = inner.allocate_tensors
        self.get_input_details = inner.get_input_details
        self.get_output_details = inner.get_output_details
        self.set_tensor = inner.set_tensor
        self.get_tensor = inner.get_tensor

    def invoke(self) -> None:
        if self._error is not None:
            raise RuntimeError(self._error)
        self._inner.invoke()


def bare(
    path: Path, content: bytes, *, labels: tuple[str, ...] = LABELS, error: str | None = None
) -> Classifier:
    path.write_bytes(content)
    loaded = load_model(path, threads=1)
    return Classifier(
        LoadedModel(
            interpreter=BareInterpreter(loaded.interpreter, error=error),
            runtime=loaded.runtime,
            threads=loaded.threads,
        ),
        path=path,
        labels=labels,
        labels_source="labels.txt",
    )


@pytest.mark.parametrize(("last", "applied"), [("SOFTMAX", False), ("LOG_SOFTMAX", True)])
def test_where_a_runtime_does_not_list_its_operations_the_range_decides(
    tmp_path: Path, last: str, *, applied: bool
) -> None:
    assert bare(tmp_path / "m.tflite", classifier(last=last)).applies_softmax is applied


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_model_that_loads_but_does_not_run_is_refused_with_the_reason(
    tmp_path: Path, dtype: str
) -> None:
    """At the first picture at the latest."""
    content = classifier(dtype, scale=0.5 if dtype == "uint8" else 0)
    said = r"m\.tflite: the model does not run: kernel 7 is upset"
    with pytest.raises(InferenceError, match=said):
        bare(tmp_path / "m.tflite", content, error="kernel\n7 is upset").invoke(
            picture([0] * 12, dtype)
        )


RGB = ("red", "green", "blue")
LIKENESS = 4 * np.eye(3)


def coloured(*rgb: float, size: int = 8) -> NDArray[np.float32]:
    return np.full((1, size, size, 3), rgb, np.float32)


def test_logits_that_look_like_probabilities_for_a_blank_picture_get_softmax(build: Build) -> None:
    found = build(colours(LIKENESS, [0.2, 0.1, 0.3], last=None), RGB)
    scores = found.invoke(coloured(-0.5, -1, -1))
    assert scores.tolist() == pytest.approx(softmax(np.array([-1.8, -3.9, -3.7])), abs=1e-5)


def test_without_a_graph_more_than_one_answer_decides(tmp_path: Path) -> None:
    """A blank picture gives .2, .3, .5: probabilities, by the look of it."""
    content = colours(LIKENESS, [0.2, 0.3, 0.5], last=None)
    found = bare(tmp_path / "m.tflite", content, labels=RGB)
    assert found.applies_softmax
    content = colours(LIKENESS, [0.2, 0.3, 0.5], last="SOFTMAX")
    assert not bare(tmp_path / "m.tflite", content, labels=RGB).applies_softmax


def test_probabilities_that_are_logits_are_refused_with_what_to_set(build: Build) -> None:
    content = colours(LIKENESS, [0, 0, 0], last=None)
    said = (
        r'model\.output = "probabilities", but .* FULLY_CONNECTED: set model\.output to "auto" or'
    )
    with pytest.raises(ModelError, match=said):
        build(content, RGB, output="probabilities")


def test_several_labels_at_once_need_not_sum_to_one(build: Build) -> None:
    found = build(colours(LIKENESS, [0, 0, 0], last="LOGISTIC"), RGB, output="probabilities")
    scores = found.invoke(coloured(1, 1, -1))
    assert scores.tolist() == pytest.approx([0.982, 0.982, 0.018], abs=1e-3)


# One output with a sigmoid

DARK_OR_BRIGHT = np.array([[2.0, 2.0, 2.0]])


@pytest.mark.parametrize("output", ["auto", "probabilities"])
def test_one_sigmoid_tells_two_classes_apart(build: Build, output: OutputKind) -> None:
    found = build(colours(DARK_OR_BRIGHT, [0], last="LOGISTIC"), ("cat", "dog"), output=output)
    for picture, best, score in (((1, 1, 1), "dog", 0.9975), ((-1, -1, -1), "cat", 0.9975)):
        predictions = found.top(found.invoke(coloured(*picture)))
        assert predictions[0].label == best
        assert predictions[0].score == pytest.approx(score, abs=1e-4)
        assert sum(each.score for each in predictions) == pytest.approx(1)
    assert found.labels == ("cat", "dog")


def test_a_quantized_sigmoid_tells_two_classes_apart(build: Build) -> None:
    row = Tensor(shape=(1, 1), dtype="int8", scale=1 / 16, zero_point=0)
    content = model(
        [
            replace(row, shape=(1, 1, 1, 3)),
            Tensor(shape=(3,), dtype="int32", values=(1, 2, 3)),
            row,
            replace(row, scale=1 / 256, zero_point=-128),
        ],
        [
            Operation(name="MEAN", input=0, output=2, constants=(1,)),
            Operation(name="LOGISTIC", input=2, output=3),
        ],
    )
    found = build(content, ("low", "high"))
    scores = found.invoke(np.full((1, 1, 1, 3), 32, np.int8))
    assert scores.tolist() == pytest.approx([0.119, 0.881], abs=1 / 256)


@pytest.mark.parametrize("labels", [("cat",), ("cat", "dog", "mouse")])
def test_one_sigmoid_without_two_labels_says_what_to_do(
    build: Build, labels: tuple[str, ...]
) -> None:
    count = {1: "1 label", 3: "3 labels"}[len(labels)]
    said = f"two classes apart, but labels.txt has {count}: name two, that of the low"
    with pytest.raises(ModelError, match=said):
        build(colours(DARK_OR_BRIGHT, [0], last="LOGISTIC"), labels)


def test_one_output_without_a_sigmoid_is_no_classifier(build: Build) -> None:
    with pytest.raises(ModelError, match="one output without a sigmoid: it estimates a number"):
        build(colours(DARK_OR_BRIGHT, [0], last=None), ("cat", "dog"))


# Open sides


def test_a_model_that_leaves_its_size_open_is_refused_with_what_to_set(build: Build) -> None:
    said = (
        r"input shape \[1, -1, -1, 3\]: the model leaves height and width open: set model\.input_s"
    )
    with pytest.raises(ModelError, match=said):
        build(colours(LIKENESS, [0, 0, 0], is_open=True), RGB)


def test_a_model_that_leaves_its_size_open_takes_the_configured_one(build: Build) -> None:
    found = build(colours(LIKENESS, [0, 0, 0], is_open=True), RGB, input_size=24)
    assert (found.input.height, found.input.width) == (24, 24)
    assert found.layout.input.shape == (1, 24, 24, 3)
    scores = found.invoke(coloured(0, 1, 0, size=24))
    assert scores.tolist() == pytest.approx(softmax(np.array([0.0, 4.0, 0.0])), abs=1e-5)


def test_an_open_batch_is_a_batch_of_one(build: Build) -> None:
    picture = Tensor(shape=(1, 2, 2, 3), dtype="float32", signature=(-1, 2, 2, 3))
    found = build(model([picture, ROW], [FLATTEN]), output="probabilities")
    assert found.invoke(np.array(SCORES, np.float32).reshape(1, 2, 2, 3)).tolist() == pytest.approx(
        SCORES
    )


# Brightness


def test_a_model_of_one_channel_is_an_image_classifier(build: Build) -> None:
    found = build(colours(np.array([[3.0], [-3.0]]), [0, 0], channels=1), ("bright", "dark"))
    assert found.input.channels == 1
    scores = found.invoke(np.full((1, 8, 8, 1), 1, np.float32))
    assert scores.tolist() == pytest.approx(softmax(np.array([3.0, -3.0])), abs=1e-5)


# The best classes


SCORES = [0.1, 0.3, 0.3, 0.0, 0.05, 0.3, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("top_k", "threshold", "expected"),
    [
        (1, 0.0, [1]),
        (3, 0.0, [1, 2, 5]),
        (5, 0.0, [1, 2, 5, 8, 0]),
        (5, 0.3, [1, 2, 5]),
        (5, 0.31, []),
        (12, 0.0, [1, 2, 5, 8, 0, 4, 3, 6, 7, 9, 10, 11]),
        (100, 0.0, [1, 2, 5, 8, 0, 4, 3, 6, 7, 9, 10, 11]),
    ],
)
def test_the_best_classes_come_first_and_ties_in_order_of_class_id(
    build: Build, top_k: int, threshold: float, expected: list[int]
) -> None:
    found = build(classifier(), top_k=top_k, threshold=threshold, output="probabilities")
    best = found.top(found.invoke(picture(SCORES, "float32")))
    assert [each.class_id for each in best] == expected
    assert [each.rank for each in best] == list(range(1, len(expected) + 1))
    assert [each.label for each in best] == [LABELS[index] for index in expected]
    assert [each.score for each in best] == pytest.approx([SCORES[index] for index in expected])


@settings(deadline=None, max_examples=50)
@given(scores=arrays.arrays(np.float32, 12, elements=st.sampled_from([0, 0.125, 0.25, 0.5])))
def test_the_order_is_that_of_sorting_by_score_then_by_class_id(
    build: Build, scores: NDArray[np.float32]
) -> None:
    best = build(classifier(), top_k=12).top(scores)
    expected = sorted(range(12), key=lambda index: (-scores[index], index))
    assert [each.class_id for each in best] == expected


def test_the_runtime_is_named_with_its_version(build: Build) -> None:
    found = build(classifier())
    assert str(found.runtime) in {
        f"{each.name} {version(each.package)}" for each in RUNTIMES if installed(each)
    }
    assert found.threads == 1


def installed(runtime: Runtime) -> bool:
    return find_spec(runtime.module.partition(".")[0]) is not None


def test_running_again_uses_the_tensor_that_is_there(build: Build) -> None:
    found = build(classifier("uint8", scale=1 / 256))
    first = found.invoke(picture(LOGITS, "uint8"))
    found.invoke_again()
    assert found.invoke(picture(LOGITS, "uint8")).tolist() == first.tolist()


# What is known of a model


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [("uint8", 0.5, 10), ("int8", 0.25, -10), ("float32", 0.0, 0)],
)
def test_the_input_is_described_as_the_file_has_it(
    build: Build, dtype: str, scale: float, zero_point: int
) -> None:
    content = classifier(dtype, shape=(1, 1, 4, 3), scale=scale, zero_point=zero_point)
    found = build(content).input
    assert (found.height, found.width) == (1, 4)
    assert (found.dtype, found.scale, found.zero_point) == (np.dtype(dtype), scale, zero_point)


@pytest.mark.parametrize("output_shape", [(1, 12), (12,), (1, 1, 1, 12)])
def test_a_row_of_scores_may_have_any_rank(build: Build, output_shape: tuple[int, ...]) -> None:
    found = build(classifier(output_shape=output_shape), output="probabilities")
    assert found.invoke(picture(SCORES, "float32")).tolist() == pytest.approx(SCORES)


# What is no image classifier


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (classifier(shape=(1, 2, 2, 4)), r"input shape \[1, 2, 2, 4\]; expected \[1, height"),
        (classifier(shape=(1, 3, 2, 2)), r"input shape \[1, 3, 2, 2\]; expected"),
        (classifier(shape=(2, 2, 2, 3)), r"input shape \[2, 2, 2, 3\]; expected"),
        (classifier(shape=(1, 12)), r"input shape \[1, 12\]; expected"),
        (classifier(shape=(2, 2, 3)), r"input shape \[2, 2, 3\]; expected"),
        (classifier("int32"), "input type int32; expected uint8, int8 or float32"),
        (
            model([PICTURE, PICTURE, ROW], [Operation(name="RESHAPE", input=0, output=2)],
                  inputs=(0, 1)),
            "2 inputs; an image classifier has one",
        ),
        (
            model([PICTURE, ROW, ROW], [FLATTEN, Operation(name="RESHAPE", input=0, output=2)],
                  outputs=(1, 2)),
            r"2 outputs \[\[1, 12\], \[1, 12\]\]; an image classifier has one",
        ),
        (
            model([PICTURE, *[ROW] * 4],
                  [Operation(name="RESHAPE", input=0, output=n) for n in range(1, 5)],
                  outputs=(1, 2, 3, 4)),
            r"4 outputs .* \(a detection model\?\); an image classifier has one",
        ),
        (classifier(output_shape=(2, 6)), r"output shape \[2, 6\]; expected \[1, classes\]"),
        (classifier(output_shape=(1, 2, 2, 3)), r"output shape \[1, 2, 2, 3\]; expected"),
        (classifier(output_shape=(12, 1)), r"output shape \[12, 1\]; expected"),
        (
            model([PICTURE, ROW, Tensor(shape=(1, 1), dtype="float32")], [FLATTEN]),
            "one output without a sigmoid: it estimates a number",
        ),
        (
            model([PICTURE, ROW, Tensor(shape=(1, 12), dtype="int32")],
                  [FLATTEN, Operation(name="CAST", input=1, output=2)]),
            "output type int32; expected uint8, int8 or float32",
        ),
    ],
)  # fmt: skip
def test_what_is_no_image_classifier_is_refused_with_the_reason(
    build: Build, content: bytes, reason: str
) -> None:
    with pytest.raises(ModelError, match=rf"model\.tflite: {reason}") as caught:
        build(content)
    assert "\n" not in str(caught.value)


# Labels


@pytest.mark.parametrize("count", [1, 10, 14, 1000])
def test_labels_of_another_model_are_refused(build: Build, count: int) -> None:
    labels = tuple(f"label {index}" for index in range(count))
    with pytest.raises(ModelError, match=f"labels.txt: {count} labels?, but the model has 12 cl"):
        build(classifier(), labels)


def test_a_missing_label_is_not_taken_for_the_background(build: Build) -> None:
    """It would shift every label behind it."""
    with pytest.raises(ModelError, match="11 labels, but the model has 12"):
        build(classifier(), LABELS[:11])
    with pytest.raises(ModelError, match="13 labels, but the model has 12"):
        build(classifier(), ("background", *LABELS))
    with pytest.raises(ModelError, match="13 labels, but the model has 12"):
        build(classifier(), (*LABELS, "another"))
