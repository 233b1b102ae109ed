"""What a model does not say of its pixels is found out once, and kept beside the models."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.daemon import isolated, run_cli
from support.tiny_models import classifier, colours, normalization_metadata, with_files

from edgeclassifier.compose.engine import Engine, build_engine
from edgeclassifier.compose.golden import try_model
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.errors import ModelError

LABELS = {"labels.txt": b"red\ngreen\nblue\n"}
RAW = with_files(colours(np.eye(3) * 4 / 255, (0, 0, 0)), LABELS)
"""Sees nothing in pixels that are not up to 255."""
DOUBTFUL = with_files(colours(np.eye(3) * 4, (0, 0, 0)), LABELS)
UNCLEAR = with_files(colours(np.eye(3) / 1e6, (0, 0, 0)), LABELS)


def engine(tmp_path: Path, content: bytes, **options: Any) -> Engine:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    settings: dict[str, Any] = {
        "name": str(path),
        "store": str(tmp_path / "store"),
        "threads": 1,
        **options,
    }
    return build_engine(Config(model=dataclasses.replace(ModelConfig(), **settings)))


def kept(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "store" / "checked").iterdir()
    return file


def best(found: Engine, *rgb: int) -> tuple[str, float]:
    (first, *_) = found.classify(np.full((30, 40, 3), rgb, np.uint8))
    return first.label, first.score


def test_the_result_is_said_and_kept_under_the_hash_of_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = engine(tmp_path, RAW)
    (said,) = caplog.messages
    assert said == f"{tmp_path / 'm.tflite'}: {found.pixels.reason}"
    assert "takes pixels from 0 to 255" in said
    assert kept(tmp_path).stem == found.model.sha256()
    label, score = best(found, 230, 20, 20)
    assert label == "red"
    assert score > 0.9


def test_a_kept_result_is_used_instead_of_trying_again(tmp_path: Path) -> None:
    engine(tmp_path, RAW)
    result = json.loads(kept(tmp_path).read_text())
    assert (result["mean"], result["std"]) == ([0.0], [1.0])
    kept(tmp_path).write_text(json.dumps({**result, "mean": [1.0], "std": [2.0], "reason": "kept"}))
    assert engine(tmp_path, RAW).pixels.reason == "kept"


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[" * 100_000,
        '{"rules": 0, "mean": [1.0], "std": [2.0], "reason": "kept", "doubt": ""}',
        '{"rules": 1, "mean": [1.0], "std": [0.0], "reason": "kept", "doubt": ""}',
        '{"rules": 1, "mean": [NaN], "std": [1.0], "reason": "kept", "doubt": ""}',
        '{"rules": 1, "mean": [], "std": [1.0], "reason": "kept", "doubt": ""}',
    ],
    ids=["empty", "cut", "deep", "old", "no divisor", "no number", "too few"],
)
def test_a_damaged_result_is_found_out_again(tmp_path: Path, damage: str) -> None:
    first = engine(tmp_path, RAW)
    whole = kept(tmp_path).read_text()
    kept(tmp_path).write_text(damage)
    assert engine(tmp_path, RAW).pixels.reason == first.pixels.reason
    assert kept(tmp_path).read_text() == whole


def test_a_store_that_cannot_be_written_costs_nothing_but_the_time(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "checked").write_text("in the way")
    assert "0 to 255" in engine(tmp_path, RAW).pixels.reason


def test_a_doubtful_choice_is_warned_of_at_each_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        caplog.clear()
        assert engine(tmp_path, DOUBTFUL).pixels.reason == ""
        (said,) = caplog.records
        assert said.levelname == "WARNING"
        assert "set model.mean = [0] and model.std = [255] (0 to 1)" in said.getMessage()


def test_the_configuration_ends_the_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = engine(tmp_path, DOUBTFUL, mean=(0.0,), std=(255.0,))
    assert not caplog.records
    assert not (tmp_path / "store").exists()
    assert best(found, 255, 0, 0)[1] == pytest.approx(np.e**4 / (np.e**4 + 2), abs=1e-3)


def test_what_remains_unclear_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"set model\.mean = \[127\.5\] and model\.std = \[127\.5\]"
    ):
        engine(tmp_path, UNCLEAR)
    assert not (tmp_path / "store").exists()


def test_a_trial_in_a_child_process_finds_out_and_keeps(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(RAW)
    config = Config(model=ModelConfig(name=str(path), store=str(tmp_path / "store"), threads=1))
    assert try_model(config, find_model(config.model))
    assert kept(tmp_path).is_file()


def test_the_order_of_channels_is_configured(tmp_path: Path) -> None:
    options: dict[str, Any] = {"mean": (0.0,), "std": (255.0,)}
    assert best(engine(tmp_path, DOUBTFUL, **options), 255, 0, 0)[0] == "red"
    assert best(engine(tmp_path, DOUBTFUL, channels="bgr", **options), 255, 0, 0)[0] == "blue"


def test_the_size_of_an_open_model_is_configured(tmp_path: Path) -> None:
    content = with_files(colours(np.eye(3) * 4, (0, 0, 0), is_open=True), LABELS)
    found = engine(tmp_path, content, input_size=32, mean=(0.0,), std=(255.0,))
    assert found.classifier.input.height == 32
    assert best(found, 255, 0, 0)[0] == "red"
    with pytest.raises(ModelError, match=r"set model\.input_size"):
        engine(tmp_path, content)


def test_a_size_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.input_size = 32, but the model takes 8x8 pixels"):
        engine(tmp_path, RAW, input_size=32)
    assert engine(tmp_path, RAW, input_size=8).classifier.input.width == 8


def test_a_threshold_of_the_metadata_is_said_not_to_be_applied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = normalization_metadata([127.5], [127.5], threshold=0.25)
    content = with_files(colours(np.eye(3), (0, 0, 0), metadata=metadata), LABELS)
    with caplog.at_level(logging.INFO):
        engine(tmp_path, content)
    assert "asks for a score of at least 0.25, which is not applied" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        engine(tmp_path, content, threshold=0.5)
    assert not caplog.messages


def test_a_command_says_what_was_found_out(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(RAW)
    Image.new("RGB", (64, 48), (20, 20, 230)).save(tmp_path / "blue.png")
    done = run_cli(
        "classify", tmp_path / "blue.png", "--model", tmp_path / "m.tflite", env=isolated(tmp_path)
    )
    assert done.returncode == 0
    assert "m.tflite: takes pixels from 0 to 255: its answers to the sample" in done.stderr
    assert "blue" in done.stdout.splitlines()[1]


def test_a_quantized_model_is_not_tried(tmp_path: Path) -> None:
    labels = {"labels.txt": "\n".join(map(str, range(12))).encode()}
    content = with_files(classifier("uint8", scale=1 / 128, zero_point=128, last="SOFTMAX"), labels)
    assert engine(tmp_path, content).pixels.reason == ""
    assert [each.name for each in tmp_path.iterdir()] == ["m.tflite"]
