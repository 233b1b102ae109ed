"""Tries a model in a child process before the daemon takes it: it may crash or hang."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from edgeclassifier.compose.model import ModelFile, find_model, model_store
from edgeclassifier.compose.ranbefore import note_that_it_ran, ran_before
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.errors import EXIT_CONFIG, ModelError, TrialError
from edgeclassifier.host import children
from edgeclassifier.host.children import Outcome
from edgeclassifier.models.golden import GoldenPicture, has_golden, read_golden

TRIAL_TIMEOUT_S = 120.0
"""How long a model may take to answer before it is used."""
SAMPLES = Path(__file__).parents[1] / "samples"
"""The folder of the sample pictures."""
SAMPLE_PICTURES = str(SAMPLES / "*.*g")
"""What `camera.replay.path` is for them."""
GOLDEN_TOP_K = 5
"""As many answers as it takes to judge a model."""
_GOLDEN = {
    "coffee.png": {"espresso", "coffee mug", "cup"},
    "chelsea.png": {"egyptian cat", "tabby", "tabby cat", "tiger cat"},
}
"""What every classifier that knows one of these labels finds in the sample pictures."""
_SHOWN = {"coffee.png": "the coffee", "chelsea.png": "the cat"}
GOLDEN_PICTURES = tuple(_GOLDEN)
"""Those that a model is judged by, among the samples."""


_MANY_CLASSES = 20
_LEAST_TIMES_EVEN = 3
"""How many times as high as with even scores the best one is, if the model knows anything."""
_FEWEST_SYNONYMS = 2
_CLEARLY = 0.1

Answers = list[dict[str, Any]]
"""What `edgeclassifier classify --json` prints."""


def try_model(
    config: Config,
    model: ModelFile,
    *,
    stopped: Callable[[], bool] = lambda: False,
    timeout_s: float = TRIAL_TIMEOUT_S,
) -> Answers:
    """Load a model as configured, in a child process, and let it classify the golden pictures.

    Those are the model's own if it was taught here, else some of the samples.

    Raises ModelError if it does not load or crashes, and TrialError if that did not become clear:
    the child was killed or took too long, or `stopped`, which is asked all the time, became true.
    """
    options = dataclasses.asdict(config.model) | {
        "name": str(model.path.absolute()),
        "labels": str(model.labels.absolute() if model.labels else ""),
        "top_k": GOLDEN_TOP_K,
        "threshold": 0.0,
    }
    settings = {f"model.{key}": value for key, value in options.items()}
    command = children.own_command("classify", settings)
    own = own_pictures(config.model, model)
    pictures = [each.path for each in own] or [SAMPLES / name for name in GOLDEN_PICTURES]
    command += ["--json", "--untried", *map(str, pictures)]
    outcome = children.run(command, timeout_s=timeout_s, stopped=stopped)
    if outcome.end == "answered" and outcome.code == 0:
        answers: Answers = json.loads(outcome.output)
        return answers
    if outcome.end == "answered" and outcome.code == EXIT_CONFIG:
        raise ModelError(_last_words(outcome))
    raise failed_trial(model.name, outcome, late=f"it has not answered within {timeout_s:g} s")


def try_new(config: Config) -> None:
    """Try the configured model in a child process if it has not run here before.

    Raises ModelError if it is not usable, and TrialError if that did not become clear.
    """
    model = find_model(config.model)
    if not ran_before(config.model, model):
        try_model(config, model)
        note_that_it_ran(config.model, model)


def failed_trial(name: str, outcome: Outcome, *, late: str) -> ModelError | TrialError:
    """Return what the end of a trial without an answer says of the model; `late`: if it was."""
    match outcome.end:
        case "crashed":
            return ModelError(f"{name}: crashes the TFLite runtime: it is damaged, copy it again")
        case "killed":
            reason = "its process was killed, for lack of memory or by another program"
        case "late":
            reason = late
        case "stopped":
            reason = "the daemon ends"
        case _:
            reason = _last_words(outcome)
    return TrialError(f"{name}: could not be tried: {reason}")


def _last_words(outcome: Outcome) -> str:
    return outcome.last_words.removeprefix("edgeclassifier: ") or "no reason given"


def own_pictures(config: ModelConfig, model: ModelFile) -> tuple[GoldenPicture, ...]:
    """Return the pictures that a model was taught with and is judged by; none of most models."""
    # Without a store, or without leave to read it, the sample pictures will do.
    with contextlib.suppress(ModelError, OSError):
        root = model_store(config.store).root
        if has_golden(root):
            return read_golden(root, model.sha256())
    return ()


def judge(
    name: str, answers: Answers, *, labels: Sequence[str], own: Sequence[GoldenPicture] = ()
) -> None:
    """Raise ModelError if the answers to the golden pictures make no sense for a model.

    `labels` are those of all classes, in their order. `own` are the model's own pictures, if it
    has some and the answers are for them, else they are for the sample pictures.
    """
    found = {
        Path(answer["file"]).name: {p["class_id"]: p["score"] for p in answer["predictions"]}
        for answer in answers
    }
    best = max((score for scores in found.values() for score in scores.values()), default=0)
    if best <= 0:
        raise ModelError(f"{name}: gives every label a score of 0, whatever the picture")
    if len(labels) >= _MANY_CLASSES and best * len(labels) < _LEAST_TIMES_EVEN:
        raise ModelError(
            f"{name}: gives every label nearly the same score, whatever the picture: does it "
            "classify pictures, and are model.output, model.mean and model.std right?"
        )
    if own:
        _judge_own(name, found, labels, own)
        return
    golden = _golden_classes(labels)
    missed = [
        picture
        for picture, classes in golden.items()
        if classes and not any(found.get(picture, {}).get(each, 0) > 0 for each in classes)
    ]
    shift = _better_shift(golden, found)
    if shift:
        count = "too many" if shift > 0 else "missing"
        raise ModelError(
            f"{name}: the sample pictures fit if every label is shifted by one: is a label, such "
            f"as the background, {count} at the beginning of the label file?"
        )
    if missed:
        what = " and ".join(_SHOWN[each] for each in missed)
        raise ModelError(
            f"{name}: does not find {what} in the sample pictures: are its labels and its "
            "normalization right?"
        )


def _judge_own(
    name: str,
    found: Mapping[str, Mapping[int, float]],
    labels: Sequence[str],
    own: Sequence[GoldenPicture],
) -> None:
    right = 0
    for each in own:
        scores = found.get(each.path.name, {})
        right += bool(scores) and labels[max(scores, key=lambda best: scores[best])] == each.label
    if 2 * right < len(own):
        raise ModelError(
            f"{name}: takes {len(own) - right} of {len(own)} pictures that it was taught with for "
            "something else: are model.mean, model.std, model.channels and model.labels right?"
        )


def _golden_classes(labels: Sequence[str]) -> dict[str, set[int]]:
    """Return the classes that every sample picture may belong to, by its name."""
    names = [{each.strip() for each in _plain(label).split(",")} for label in labels]
    return {
        picture: {class_id for class_id, synonyms in enumerate(names) if synonyms & expected}
        for picture, expected in _GOLDEN.items()
    }


def _plain(label: str) -> str:
    return label.lower().replace("_", " ")


def _better_shift(
    golden: Mapping[str, set[int]], found: Mapping[str, Mapping[int, float]]
) -> Literal[-1, 0, 1]:
    """Tell by how much the labels are off: 1 if each stands one class behind its own."""
    if any(len(classes) < _FEWEST_SYNONYMS for classes in golden.values()):
        return 0  # two kinds that look alike may stand side by side

    def fits(shift: int) -> list[float]:
        return [
            sum(found.get(picture, {}).get(class_id - shift, 0.0) for class_id in classes)
            for picture, classes in golden.items()
        ]

    own = fits(0)
    for shift, other in ((1, -1), (-1, 1)):
        shifted = fits(shift)
        # A label that is written in another way makes one picture fit its neighbour, not both.
        if all(there >= here for there, here in zip(shifted, own, strict=True)):
            total = sum(shifted)
            if total > sum(own) + _CLEARLY and total >= sum(fits(other)):
                return 1 if shift > 0 else -1
    return 0
