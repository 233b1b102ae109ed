"""Tries a model in a process of its own before the daemon takes it: it may crash or hang."""

import dataclasses
import json
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

from edgeclassifier.compose.model import ModelFile
from edgeclassifier.config import Config
from edgeclassifier.errors import ModelError

_TIMEOUT_S = 120.0
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


def try_model(config: Config, model: ModelFile) -> Answers:
    """Load a model as configured, in a child process and let it classify the sample pictures.

    Raises ModelError where it does not load, crashes or hangs.
    """
    # Few runs of the daemon need it, and all of them want to start soon.
    from edgeclassifier.child import SAMPLES, own_command

    options = dataclasses.asdict(config.model) | {
        "name": str(model.path),
        "labels": str(model.labels or ""),
        "top_k": GOLDEN_TOP_K,
        "threshold": 0.0,
    }
    settings = {f"model.{key}": value for key, value in options.items()}
    command = own_command("classify", settings)
    command += ["--json", *(str(SAMPLES / name) for name in GOLDEN_PICTURES)]
    name = model.name
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{name}: has not answered within {_TIMEOUT_S:.0f} s") from None
    if done.returncode < 0:
        raise ModelError(f"{name}: crashes the TFLite runtime: it is damaged, copy it again")
    if done.returncode > 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise ModelError(said[-1].removeprefix("edgeclassifier: "))
    answers: Answers = json.loads(done.stdout)
    return answers


def judge(name: str, answers: Answers, *, labels: Collection[str]) -> None:
    """Raise ModelError where the answers to the sample pictures make no sense for a model."""
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
