"""A model on trial: in a process of its own, on the sample pictures."""

import dataclasses
from pathlib import Path

import pytest
from tiny_models import LABELS, classifier

from edgeclassifier import compose
from edgeclassifier.compose.trial import Answers
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.errors import ModelError


def answers(coffee: dict[str, float], cat: dict[str, float]) -> Answers:
    return [
        {"file": f"/a/{name}", "predictions": [{"label": k, "score": v} for k, v in found.items()]}
        for name, found in (("coffee.png", coffee), ("chelsea.png", cat))
    ]


IMAGENET = ("tabby", "espresso", "cup", "doormat")


def test_a_model_that_finds_one_of_both_makes_sense() -> None:
    compose.judge("m", answers({"cup": 0.4}, {"doormat": 0.9}), labels=IMAGENET)


def test_a_model_of_other_things_may_say_what_it_likes() -> None:
    """Nobody knows what a classifier of birds finds in a cup of coffee."""
    compose.judge("m", answers({"robin": 0.1}, {"robin": 0.1}), labels=("robin", "crow"))


def test_a_model_that_knows_the_things_and_finds_neither_is_refused() -> None:
    with pytest.raises(ModelError, match="m: finds neither the cat nor the coffee"):
        compose.judge("m", answers({"doormat": 0.9}, {"espresso": 0.9}), labels=IMAGENET)


def test_a_model_that_answers_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="m: gives every label a score of 0"):
        compose.judge("m", answers({"robin": 0.0}, {}), labels=("robin",))


@pytest.fixture
def config(tmp_path: Path) -> ModelConfig:
    (tmp_path / "tiny.tflite").write_bytes(classifier("uint8", scale=1 / 256))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    return ModelConfig(name=str(tmp_path / "tiny.tflite"), labels=str(tmp_path / "labels.txt"))


def try_out(config: ModelConfig) -> Answers:
    return compose.try_model(Config(model=config), compose.find_model(config))


def test_a_sound_model_answers(config: ModelConfig) -> None:
    found = try_out(dataclasses.replace(config, threshold=1.0, top_k=1))
    assert [Path(each["file"]).name for each in found] == ["coffee.png", "chelsea.png"]
    assert all(len(each["predictions"]) == 5 for each in found)


def test_the_bundled_model_passes_its_own_trial() -> None:
    config = ModelConfig(name=compose.BUNDLED_MODEL)
    labels = compose.build_engine(Config(model=config)).classifier.labels
    compose.judge(config.name, try_out(config), labels=labels)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda _: b"", "empty"),
        (lambda data: data[:4] + b"NONE" + data[8:], "TFL3"),
    ],
)
def test_a_damaged_model_is_refused_with_the_reason(
    config: ModelConfig, damage: object, words: str
) -> None:
    path = Path(config.name)
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=words) as caught:
        try_out(config)
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_fit_are_refused(config: ModelConfig) -> None:
    Path(config.labels).write_text("only one\n")
    with pytest.raises(ModelError, match=r"labels\.txt"):
        try_out(config)


def test_a_model_that_hangs_is_refused(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeclassifier.compose.trial._TIMEOUT_S", 0.01)
    with pytest.raises(ModelError, match="has not answered within"):
        try_out(config)
