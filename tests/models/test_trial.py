"""A model on trial: in a process of its own, on the sample pictures."""

import dataclasses
import errno
import json
import signal
import sys
from pathlib import Path

import pytest
import support
from support.daemon import SAMPLES, isolated, run_cli
from support.tiny_models import LABELS, classifier

from edgeclassifier.compose.engine import build_engine
from edgeclassifier.compose.golden import TRIAL_TIMEOUT_S, Answers, judge, try_model
from edgeclassifier.compose.model import BUNDLED_MODEL, find_model
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.errors import ModelError, TrialError


def answers(coffee: dict[int, float], cat: dict[int, float]) -> Answers:
    return [
        {
            "file": f"/a/{name}",
            "predictions": [{"class_id": k, "score": v} for k, v in found.items()],
        }
        for name, found in (("coffee.png", coffee), ("chelsea.png", cat))
    ]


CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
IMAGENET = ("lynx", "tabby, tabby cat", "tiger_cat", "fox", "doormat", "fan", "espresso", "cup")
TABBY, DOORMAT, ESPRESSO, CUP = 1, 4, 6, 7


def test_a_model_that_finds_both_makes_sense() -> None:
    judge("m", answers({CUP: 0.4, ESPRESSO: 0.2}, {DOORMAT: 0.5, TABBY: 0.1}), labels=IMAGENET)


def test_a_model_of_other_things_may_say_what_it_likes() -> None:
    """Nobody knows what a classifier of birds finds in a cup of coffee."""
    judge("m", answers({0: 0.1}, {0: 0.1}), labels=("robin", "crow"))


@pytest.mark.parametrize(
    ("coffee", "cat", "said"),
    [
        ({CUP: 0.4}, {DOORMAT: 0.9}, "does not find the cat in the sample pictures: are its"),
        ({DOORMAT: 0.4}, {TABBY: 0.9}, "does not find the coffee in the sample pictures: are its"),
        ({DOORMAT: 0.9}, {CUP: 0.9}, "does not find the coffee and the cat in the sample"),
        ({CUP: 0.0, DOORMAT: 0.9}, {TABBY: 0.9}, "does not find the coffee"),
    ],
)
def test_a_model_that_knows_the_things_and_misses_one_is_refused(
    coffee: dict[int, float], cat: dict[int, float], said: str
) -> None:
    with pytest.raises(ModelError, match=f"m: {said}"):
        judge("m", answers(coffee, cat), labels=IMAGENET)


def test_a_kind_that_looks_alike_and_stands_beside_it_is_no_shift() -> None:
    judge("m", answers({0: 0.3, 1: 0.7}, {0: 0.5}), labels=("cup", "bowl", "fork"))


@pytest.mark.parametrize(
    ("best", "said"), [(0.02, "nearly the same score, whatever the picture"), (0.2, None)]
)
def test_a_model_that_prefers_no_label_is_refused(best: float, said: str | None) -> None:
    labels = [f"bird {number}" for number in range(100)]
    given = answers({0: best}, {1: best})
    if said is None:
        judge("m", given, labels=labels)
        return
    with pytest.raises(ModelError, match=said):
        judge("m", given, labels=labels)


def test_a_model_that_answers_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="m: gives every label a score of 0"):
        judge("m", answers({0: 0.0}, {}), labels=("robin",))


@pytest.fixture
def config(tmp_path: Path) -> ModelConfig:
    (tmp_path / "tiny.tflite").write_bytes(classifier("uint8", scale=1 / 256))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    return ModelConfig(name=str(tmp_path / "tiny.tflite"), labels=str(tmp_path / "labels.txt"))


def try_out(config: ModelConfig, *, timeout_s: float = TRIAL_TIMEOUT_S) -> Answers:
    return try_model(Config(model=config), find_model(config), timeout_s=timeout_s)


def test_a_sound_model_answers(config: ModelConfig) -> None:
    found = try_out(dataclasses.replace(config, threshold=1.0, top_k=1))
    assert [Path(each["file"]).name for each in found] == ["coffee.png", "chelsea.png"]
    assert all(len(each["predictions"]) == 5 for each in found)


def test_the_bundled_model_passes_its_own_trial() -> None:
    config = ModelConfig(name=BUNDLED_MODEL)
    labels = build_engine(Config(model=config)).classifier.labels
    found = try_out(config)
    judge(config.name, found, labels=labels)
    # With every label shifted by one, coffee is a cup or red wine, and a tabby is a tiger cat.
    with pytest.raises(ModelError, match=r"shifted by one: is a label, .* too many"):
        judge(config.name, found, labels=("background", *labels[:-1]))
    with pytest.raises(ModelError, match=r"shifted by one: is a label, .* missing"):
        judge(config.name, found, labels=(*labels[1:], "background"))
    # One label in another language is no shift, though the cup stands beside the coffee.
    assert "espresso" in labels
    renamed = tuple("un café" if each == "espresso" else each for each in labels)
    judge(config.name, found, labels=renamed)


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


def test_a_trial_that_takes_too_long_says_nothing_of_the_model(config: ModelConfig) -> None:
    said = r"tiny: could not be tried: it has not answered within 0\.01 s"
    with pytest.raises(TrialError, match=said):
        try_out(config, timeout_s=0.01)


@pytest.mark.parametrize("command", [["classify"], ["evaluate", "--labels"]])
def test_no_command_goes_down_with_a_model(
    config: ModelConfig, tmp_path: Path, command: list[str]
) -> None:
    injected = Path(support.__file__).parent / "injected"
    fault = tmp_path / "fault"
    env = isolated(tmp_path, PYTHONPATH=str(injected), EDGECLASSIFIER_FAULT=str(fault))
    truth = tmp_path / "truth.csv"
    truth.write_text("coffee.png,0\n")
    files = {"classify": [], "evaluate": [str(truth)]}[command[0]]
    model = ["--model", config.name, "--set", f"model.labels={json.dumps(config.labels)}"]
    arguments = [*command, *files, str(SAMPLES), *model]
    fault.write_text(f"loading crashes {Path(config.name).name}")
    refused = run_cli(*arguments, env=env)
    assert (refused.returncode, refused.stdout) == (78, "")
    assert refused.stderr.startswith("edgeclassifier: tiny: crashes the TFLite runtime")
    fault.unlink()
    assert run_cli(*arguments, env=env).returncode in {0, 1}
    assert [*json.loads((tmp_path / "models/checked/ran.json").read_text())] == [config.name]


def test_a_trial_ends_when_the_daemon_is_to_end(config: ModelConfig) -> None:
    asked: list[None] = []

    def stopped() -> bool:
        asked.append(None)
        return len(asked) > 1

    with pytest.raises(TrialError, match="the daemon ends"):
        try_model(Config(model=config), find_model(config), stopped=stopped)


@pytest.mark.parametrize(
    ("end", "kind", "words"),
    [
        *((f"os.kill(os.getpid(), {each:d})", ModelError, "crashes") for each in CRASHES),
        ("bad(78)", ModelError, "^x: damaged$"),
        ("bad(1)", TrialError, "^tiny: could not be tried: x: damaged$"),
        ("bad(137)", TrialError, "could not be tried"),
        ("os._exit(1)", TrialError, "could not be tried: no reason given"),
        ("os.kill(os.getpid(), 9)", TrialError, "killed, for lack of memory or by another"),
        (
            "os.kill(os.getpid(), 15)",
            TrialError,
            "killed, for lack of memory or by another",
        ),
    ],
)
def test_only_a_crash_and_its_own_verdict_speak_of_the_model(
    config: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    kind: type[Exception],
    words: str,
) -> None:
    program = (
        "import os, sys\n"
        "def bad(code):\n  sys.stderr.write('edgeclassifier: x: damaged\\n')\n  sys.exit(code)\n"
    )
    command = [sys.executable, "-c", program + end]
    monkeypatch.setattr("edgeclassifier.host.children.own_command", lambda *_: command)
    with pytest.raises(kind, match=words):
        try_out(config)


def test_a_system_without_room_for_a_process_says_nothing_of_the_model(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", fail)
    with pytest.raises(TrialError, match="could not be tried: Resource temporarily unavailable"):
        try_out(config)
