"""Every model of a folder gives what is expected of it: models made here, and public ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.shared_data import FOLDER
from support.tiny_models import colours, normalization_metadata, with_files

from zoo.expectations import Case, read_cases
from zoo.runs import Row, run_case

PUBLIC = FOLDER / "cases" / "models"
CASES = read_cases(Path(__file__).parent / "public")

LIKENESS, NONE = 6 * np.eye(3), (0, 0, 0)
LABELS = {"labels.txt": b"red\ngreen\nblue\n"}
COLOURS = [
    {"colour": [230, 20, 20], "label": "red", "score": 0.7},
    {"colour": [20, 230, 20], "label": "green", "score": 0.7},
    {"colour": [20, 20, 230], "label": "blue", "score": 0.7},
]

Make = Callable[..., Row]


@pytest.fixture
def zoo(tmp_path: Path) -> Make:
    """Return what writes a model, runs one case on it, and gives the row of the table."""

    def make(content: bytes, **expected: Any) -> Row:
        (tmp_path / "m.tflite").write_bytes(with_files(content, LABELS))
        return run_case(Case(model="m.tflite", **expected), tmp_path)

    return make


def quantized(
    dtype: str,
    scale: float = 0.0,
    zero_point: int = 0,
    *,
    weights: NDArray[np.float64] = LIKENESS,
    metadata: bytes | None = None,
) -> bytes:
    return colours(
        weights, NONE, dtype=dtype, scale=scale, zero_point=zero_point, metadata=metadata
    )


@pytest.mark.parametrize(
    "content",
    [
        colours(LIKENESS, NONE),
        colours(LIKENESS, NONE, last=None),
        colours(LIKENESS / 255, NONE),
        colours(LIKENESS, NONE, before=[("MUL", 1 / 127.5), ("SUB", 1)]),
        colours(LIKENESS, NONE, metadata=normalization_metadata([0], [255])),
        colours(LIKENESS, NONE, metadata=normalization_metadata([0.5], [0.5])),
        quantized("uint8", 1 / 127.5, 128),
        quantized("uint8", 1 / 127.5, 128, metadata=normalization_metadata([0], [1])),
        quantized("uint8", 1 / 255),
        quantized("uint8", weights=LIKENESS / 255),
        quantized("int8", 1 / 127.5),
        quantized("int8", 1 / 255, -128),
        quantized("int8", 3 / 255),
    ],
    ids=[
        "float",
        "float logits",
        "float 0 to 255",
        "float rescaling",
        "float metadata",
        "float metadata in units of 1",
        "uint8",
        "uint8 wrong metadata",
        "uint8 0 to 1",
        "uint8 without quantization",
        "int8",
        "int8 0 to 1",
        "int8 of an unusual range",
    ],
)
def test_colours_are_named_right_whatever_the_input(zoo: Make, content: bytes) -> None:
    assert zoo(content, answers=COLOURS).faults == ()


def test_a_wrong_answer_a_missing_word_and_a_refusal_that_does_not_come_are_faults(
    zoo: Make,
) -> None:
    content = quantized("uint8", 1 / 127.5, 128)
    row = zoo(content, answers=[{"colour": [230, 20, 20], "label": "blue"}], says=["good day"])
    assert row.faults[0] == "does not say 'good day'"
    assert row.faults[1] == "0.png: red 1.000, not blue 0.000"
    assert "not refused (exit code 0)" in zoo(content, refused=["so"]).faults
    assert zoo(content, answers=COLOURS, never=["nothing"]).faults == ()
    assert "exit code 78" in zoo(colours(LIKENESS / 1e6, NONE), answers=COLOURS).faults[0]
    assert zoo(colours(LIKENESS / 1e6, NONE), refused=["set model.mean"]).faults == ()


def test_cases_are_read_from_files_beside_the_models(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        """[[case]]
        model = "m.tflite"
        labels = "l.txt"
        set = { "model.input_size" = 64 }
        answers = [{ colour = [1, 2, 3], label = "red", score = 0.5 }]
        """
    )
    (case,) = read_cases(tmp_path)
    assert str(case) == "m l.txt model.input_size=64"
    assert case.answers == [{"colour": [1, 2, 3], "label": "red", "score": 0.5}]
    (tmp_path / "n.toml").write_text("[[case]]\nmodel = 'n.tflite'\nlables = 'l.txt'\n")
    with pytest.raises(TypeError, match="lables"):
        read_cases(tmp_path)


@pytest.mark.skipif(not PUBLIC.is_dir(), reason=f"no public models in {PUBLIC}")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_public_model_gives_what_is_expected(case: Case, figures: Callable[[str], None]) -> None:
    row = run_case(case, PUBLIC)
    figures(f"{case}: {row.outcome}")
    assert row.faults == ()
