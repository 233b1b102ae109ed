"""Tries a model in a child process before the daemon takes it: it may crash or hang."""

import dataclasses
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from edgeclassifier.compose.model import ModelFile
from edgeclassifier.config import Config
from edgeclassifier.errors import EXIT_CONFIG, ModelError, TrialError
from edgeclassifier.host import children
from edgeclassifier.host.children import Outcome

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
    "chelsea.png": {"Egyptian cat", "tabby", "tabby, tabby cat", "tiger cat"},
}
"""What every classifier that knows these labels finds in the sample pictures."""
GOLDEN_PICTURES = tuple(_GOLDEN)
"""Those that a model is judged by, among the samples."""


Answers = list[dict[str, Any]]
"""What `edgeclassifier classify --json` prints."""


def try_model(
    config: Config,
    model: ModelFile,
    *,
    stopped: Callable[[], bool] = lambda: False,
    timeout_s: float = TRIAL_TIMEOUT_S,
) -> Answers:
    """Load a model as configured, in a child process, and let it classify the sample pictures.

    Raises ModelError if it does not load or crashes, and TrialError if that did not become clear:
    the child was killed or took too long, or `stopped`, which is asked all the time, became true.
    """
    options = dataclasses.asdict(config.model) | {
        "name": str(model.path),
        "labels": str(model.labels or ""),
        "top_k": GOLDEN_TOP_K,
        "threshold": 0.0,
    }
    settings = {f"model.{key}": value for key, value in options.items()}
    command = children.own_command("classify", settings)
    command += ["--json", *(str(SAMPLES / name) for name in GOLDEN_PICTURES)]
    outcome = children.run(command, timeout_s=timeout_s, stopped=stopped)
    return _answers(model.name, outcome, timeout_s=timeout_s)


def _answers(name: str, outcome: Outcome, *, timeout_s: float) -> Answers:
    reason = outcome.last_words.removeprefix("edgeclassifier: ") or "no reason given"
    match outcome.end:
        case "answered" if outcome.code == 0:
            answers: Answers = json.loads(outcome.output)
            return answers
        case "answered" if outcome.code == EXIT_CONFIG:
            raise ModelError(reason)
        case "crashed":
            raise ModelError(f"{name}: crashes the TFLite runtime: it is damaged, copy it again")
        case "killed":
            reason = "its process was killed, for lack of memory or by another program"
        case "late":
            reason = f"it has not answered within {timeout_s:g} s"
        case "stopped":
            reason = "the daemon ends"
    raise TrialError(f"{name}: could not be tried: {reason}")


def judge(name: str, answers: Answers, *, labels: Collection[str]) -> None:
    """Raise ModelError if the answers to the sample pictures make no sense for a model."""
    found = {
        Path(answer["file"]).name: {p["label"] for p in answer["predictions"] if p["score"] > 0}
        for answer in answers
    }
    if not any(found.values()):
        raise ModelError(f"{name}: gives every label a score of 0, whatever the picture")
    golden = {picture: set(labels) & expected for picture, expected in _GOLDEN.items()}
    if any(golden.values()) and not any(found[each] & golden[each] for each in golden):
        raise ModelError(
            f"{name}: finds neither the cat nor the coffee in the sample pictures: are its labels "
            "and its normalization right?"
        )
