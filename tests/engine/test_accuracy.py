"""Right answers on real pictures: that is what all the preprocessing is for."""

import json
from pathlib import Path

import pytest
from support.daemon import isolated, run_cli
from support.shared_data import FOLDER, needs_shared_data

LABELS = f"model.labels={FOLDER / 'models' / 'imagenet_labels.txt'}"


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
            ("--set", LABELS, "--set", "model.mean=[127]", "--set", "model.std=[128]"),
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
def test_wrong_normalization_shows(tmp_path: Path) -> None:
    """Raw pixels into a model that wants them normalized: no error, only worse answers."""
    file = FOLDER / "models" / "efficientnet_edgetpu_m_quant.tflite"
    raw = ("--set", "model.mean=[129]", "--set", "model.std=[82.7193]")
    top1, _top3 = accuracy(tmp_path, str(file), "--set", LABELS, *raw)
    assert top1 < 0.80


@needs_shared_data
def test_a_model_that_is_silent_about_normalization_gets_the_usual_one(tmp_path: Path) -> None:
    file = FOLDER / "models" / "efficientnet_edgetpu_m_quant.tflite"
    top1, _top3 = accuracy(tmp_path, str(file), "--set", LABELS)
    assert top1 >= 0.92


@needs_shared_data
def test_a_large_frame_costs_the_bundled_model_no_accuracy(tmp_path: Path) -> None:
    small = accuracy(tmp_path, "efficientnet_lite2_260_int8")
    large = accuracy(tmp_path, "efficientnet_lite2_260_int8", "--short-side", "1080")
    assert large == pytest.approx(small, abs=0.0051)
