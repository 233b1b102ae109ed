"""Right answers on real pictures: that is what all the preprocessing is for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.daemon import isolated, run_cli
from support.plain_loop import best, plain_scores
from support.shared_data import FOLDER, needs_shared_data

from edgeclassifier.engine.runtime import load_model
from edgeclassifier.models.catalogue import BUNDLED_FOLDER

LABELS = f"model.labels={FOLDER / 'models' / 'imagenet_labels.txt'}"

NORMALIZED = ("--set", "model.mean=[127]", "--set", "model.std=[128]")


def accuracy(tmp_path: Path, model: str, *options: str) -> tuple[float, float]:
    finished = run_cli(
        "evaluate",
        FOLDER / "images",
        "--labels",
        FOLDER / "images" / "labels.csv",
        "--model",
        model,
        "--json",
        *options,
        env=isolated(tmp_path),
        timeout_s=110,
    )
    assert finished.returncode == 0, finished.stderr
    figures = json.loads(finished.stdout)
    assert figures["pictures"] == 200
    return figures["top1"], figures["top3"]


@needs_shared_data
@pytest.mark.parametrize(
    ("model", "options", "top1", "top3"),
    [
        ("mobilenet_v2_1.0_224_quant", (), 0.885, 0.965),
        (
            "efficientnet_edgetpu_m_quant",
            ("--set", LABELS, *NORMALIZED),
            0.935,
            0.985,
        ),
        ("efficientnet_lite2_260_int8", (), 0.930, 0.990),
    ],
)
def test_accuracy_is_within_one_point_of_the_reference(
    tmp_path: Path, model: str, options: tuple[str, ...], top1: float, top3: float
) -> None:
    """The references were measured with another program on the same pictures."""
    file = FOLDER / "models" / f"{model}.tflite"
    found = accuracy(tmp_path, str(file) if file.exists() else model, *options)
    assert found == pytest.approx((top1, top3), abs=0.0101)


@needs_shared_data
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("model", "options", "normalization"),
    [
        ("mobilenet_v2_1.0_224_quant", (), None),
        ("efficientnet_edgetpu_m_quant", ("--set", LABELS, *NORMALIZED), (127.0, 128.0)),
        ("efficientnet_lite2_260_int8", (), None),
    ],
)
def test_the_answers_are_those_of_a_plain_loop(
    tmp_path: Path,
    figures: Callable[[str], None],
    model: str,
    options: tuple[str, ...],
    normalization: tuple[float, float] | None,
    *,
    long: bool,
) -> None:
    if normalization and not long:
        pytest.skip("a large model, which takes a minute: --long")
    pictures = sorted((FOLDER / "images").glob("*.JPEG"))
    file = FOLDER / "models" / f"{model}.tflite"
    file = file if file.exists() else BUNDLED_FOLDER / f"{model}.tflite"
    # A file of the bundled model has its labels from the package.
    named = file if file.parent != BUNDLED_FOLDER else model
    runtime = load_model(file).runtime.module.partition(".")[0]
    done = run_cli(
        "classify", "--json", *pictures, "--model", named, *options,
        env=isolated(tmp_path), timeout_s=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = [each["predictions"][0]["class_id"] for each in json.loads(done.stdout)]
    plain = plain_scores(file, pictures, normalization=normalization, runtime=runtime)
    same = sum(best(scores, 1) == [one] for scores, one in zip(plain, ours, strict=True))
    figures(f"{model}: {same} of {len(pictures)} as in the plain loop")
    assert same >= 0.99 * len(pictures)


@needs_shared_data
def test_wrong_normalization_shows(tmp_path: Path) -> None:
    """Raw pixels into a model that wants them normalized: no error, only worse answers."""
    file = FOLDER / "models" / "efficientnet_edgetpu_m_quant.tflite"
    raw = ("--set", "model.mean=[129]", "--set", "model.std=[82.7193]")
    top1, _top3 = accuracy(tmp_path, str(file), "--set", LABELS, *raw)
    assert top1 < 0.80


@needs_shared_data
def test_a_model_that_is_silent_shows_its_normalization_by_the_span_of_its_input(
    tmp_path: Path,
) -> None:
    file = FOLDER / "models" / "efficientnet_edgetpu_m_quant.tflite"
    top1, _top3 = accuracy(tmp_path, str(file), "--set", LABELS)
    assert top1 >= 0.92


@needs_shared_data
def test_a_large_frame_costs_the_bundled_model_no_accuracy(tmp_path: Path) -> None:
    small = accuracy(tmp_path, "efficientnet_lite2_260_int8")
    large = accuracy(tmp_path, "efficientnet_lite2_260_int8", "--short-side", "1080")
    assert large == pytest.approx(small, abs=0.0051)
