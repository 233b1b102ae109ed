"""Tries a model in a process of its own before the daemon takes it: it may crash or hang."""

import contextlib
import dataclasses
import json
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from edgeclassifier.compose.model import ModelFile
from edgeclassifier.config import Config
from edgeclassifier.errors import EXIT_CONFIG, ModelError, TrialError

_TIMEOUT_S = 120.0
_POLL_S = 0.1
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
"""What ends a process because of what it does; other signals are sent to it."""
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
    config: Config, model: ModelFile, *, stopped: Callable[[], bool] = lambda: False
) -> Answers:
    """Load a model as configured, in a child process and let it classify the sample pictures.

    Raises ModelError where it does not load or crashes, and TrialError where that did not become
    clear: the child was killed or took too long, or `stopped`, which is asked all the time.
    """
    # Few runs of the daemon need it, and all of them want to start soon.
    from edgeclassifier.host.children import SAMPLES, own_command

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
        code, output, errors = _run(command, stopped)
    except OSError as error:
        raise TrialError(f"{name}: could not be tried: {error.strerror or error}") from None
    if -code in _CRASHES:
        raise ModelError(f"{name}: crashes the TFLite runtime: it is damaged, copy it again")
    if code < 0:
        raise TrialError(
            f"{name}: could not be tried: its process was killed, for lack of memory or by somebody"
        )
    said = (errors.strip().splitlines() or ["no reason given"])[-1]
    said = said.removeprefix("edgeclassifier: ")
    if code == EXIT_CONFIG:
        raise ModelError(said)
    if code > 0:
        raise TrialError(f"{name}: could not be tried: {said}")
    answers: Answers = json.loads(output)
    return answers


def _run(command: Sequence[str], stopped: Callable[[], bool]) -> tuple[int, str, str]:
    """Return exit code, output and errors. Raises OSError, also where it is stopped or late."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    with subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while not stopped():
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"it has not answered within {_TIMEOUT_S:g} s")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    output, errors = process.communicate(timeout=_POLL_S)
                    return process.returncode, output, errors
            raise InterruptedError("the daemon ends")
        finally:
            process.kill()


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
