"""Damaged models, each in processes of its own, as native code may die of them.

`PYTHONPATH=.:tests python -m support.fuzz.interpreters MODEL` prints counts as JSON: what the
check of
`models add` says to each case, and what becomes of those that are then used the daemon's way.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from edgeclassifier.compose.engine import build_engine
from edgeclassifier.compose.model import BUNDLED_MODEL, ModelFile
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.engine.runtime import runtime_module
from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.models.catalogue import CATALOGUE
from edgeclassifier.models.soundness import limit_resources, run_once
from support.fuzz.mutations import mutate, truncate
from support.fuzz.structure import structure
from support.fuzz.target import assert_one_line

ACCEPTED, REFUSED, FAULT = "accepted", "refused", "fault"
_CODES = {0: ACCEPTED, 1: REFUSED, 2: FAULT}
_TRIAL_S = 5.0
_USE_S = 20.0
_TRUNCATED, _ANYWHERE = 0.1, 0.3
"""Shares of the cases; the rest is damaged where it says what the model is."""
_IDENTIFIER = slice(4, 8)
_PICTURES = 3


def outcome(action: Callable[[], bool], *, seconds: float) -> str:
    """Fork, act, and say what became of it: one of the words above, or the signal's name."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        # Its default action ends native code as well; it stands for "hangs".
        signal.setitimer(signal.ITIMER_REAL, seconds)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = 2
        try:
            code = 0 if action() else 1
        finally:
            # Also after an exception, whose traceback was not for this process to print.
            os._exit(code)
    _pid, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return _CODES[os.WEXITSTATUS(status)]


def passes_check(path: Path) -> bool:
    """Do what check_model() does in its child."""
    interpreter_class = sys.modules[runtime_module("auto")].Interpreter
    limit_resources(path)
    try:
        run_once(path, interpreter_class)
    except (ValueError, RuntimeError, MemoryError, TypeError):
        return False
    return True


def classifies(path: Path, labels: Path | None, complaints: IO[bytes]) -> bool:
    """Do what the daemon does with a model: load it, and classify a few pictures."""
    chance = np.random.default_rng(0)
    try:
        model = ModelFile(name="x", path=path, labels=labels, known=None, reason="configured")
        engine = build_engine(Config(model=ModelConfig(threads=2)), model)
        for _ in range(_PICTURES):
            predictions = engine.classify(chance.integers(0, 256, (48, 64, 3), np.uint8))
            assert all(0 <= each.score <= 1 for each in predictions)
    except EdgeclassifierError as error:
        assert_one_line(str(error))
        return False
    except Exception as error:
        complaints.write(f"{type(error).__name__}: {error}\n".encode())
        complaints.flush()
        raise
    return True


def damaged(content: bytes, chance: random.Random, places: list[range]) -> bytes:
    """Damage a model; its identifier stays, as without it the runtime is not even asked."""
    share = chance.random()
    if share < _TRUNCATED:
        return truncate(content, chance)
    data = mutate(content, chance, [range(len(content))] if share < _ANYWHERE else places)
    return data[: _IDENTIFIER.start] + content[_IDENTIFIER] + data[_IDENTIFIER.stop :]


def run(
    model: Path,
    *,
    labels: Path | None,
    seed: int,
    cases: int,
    seconds: float,
    saved: Path,
    unchecked: bool,
) -> dict[str, object]:
    """Try `cases` damaged copies of `model`, or as many as `seconds` allow.

    `unchecked`: use those the daemon's way as well that the check refuses.
    """
    content = model.read_bytes()
    places = structure(content)
    chance = random.Random(seed)
    checked, after_check, after_refusal = Counter[str](), Counter[str](), Counter[str]()
    complaints: list[str] = []
    ends_s = time.monotonic() + seconds
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-models-") as folder,
        tempfile.TemporaryFile() as said,
    ):
        path = Path(folder) / "damaged.tflite"
        for number in range(cases):
            if time.monotonic() > ends_s:
                break
            path.write_bytes(damaged(content, chance, places))
            check = outcome(lambda: passes_check(path), seconds=_TRIAL_S)
            checked[check] += 1
            if check != ACCEPTED and not unchecked:
                continue
            said.truncate(0)
            use = outcome(lambda: classifies(path, labels, said), seconds=_USE_S)
            said.seek(0)
            complaints += said.read().decode(errors="replace").splitlines()
            (after_check if check == ACCEPTED else after_refusal)[use] += 1
            if use not in {ACCEPTED, REFUSED}:
                name = f"{model.stem}-{seed}-{number}-check-{check}-use-{use}.tflite"
                (saved / name).write_bytes(path.read_bytes())
    return {
        "cases": checked.total(),
        "check": checked,
        "passed": after_check,
        "refused": after_refusal,
        "faults": Counter(complaints),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    bundled = CATALOGUE[BUNDLED_MODEL].bundled_path
    parser.add_argument("model", nargs="?", type=Path, default=bundled)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--saved", type=Path, default=Path())
    parser.add_argument("--unchecked", action="store_true")
    args = parser.parse_args()
    runtime_module("auto")
    # What native code says of damage is of no interest here.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    counts = run(**vars(args))
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
