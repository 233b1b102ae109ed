"""Carries out a case with the real command, as a user would."""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from support.daemon import SAMPLES, isolated

from zoo.expectations import Case

_TIMEOUT_S = 300
_REFUSED = 78


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the command printed."""

    code: int
    said: str
    answers: dict[str, tuple[str, float]]
    """The best label and its score by the picture's file."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A case, what came of it, and what is wrong with that."""

    case: Case
    outcome: str
    faults: tuple[str, ...]


def run_case(case: Case, folder: Path, *, python: str = sys.executable) -> Row:
    """Run one case on the models and pictures of `folder`."""
    with tempfile.TemporaryDirectory() as home:
        pictures = list(_pictures(case, folder, Path(home)))
        found = _classify(case, folder, pictures, home=Path(home), python=python)
        faults = list(_faults(case, found, pictures))
        if case.same_as and found.code == 0:
            other = dataclasses.replace(case, model=case.same_as)
            twin = _classify(other, folder, pictures, home=Path(home), python=python)
            if twin.answers != found.answers:
                faults.append(f"other answers than {case.same_as}")
    return Row(case=case, outcome=_in_words(case, found, pictures), faults=tuple(faults))


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A file, and the label and least score that are expected of it."""

    file: Path
    label: str
    score: float = 0.0
    is_counted: bool = False
    """One of many, most of which have to be right."""


def _pictures(case: Case, folder: Path, home: Path) -> Iterator[Picture]:
    for number, each in enumerate(case.answers):
        if "colour" in each:
            file = home / f"{number}.png"
            Image.new("RGB", (64, 48), tuple(each["colour"])).save(file)
        elif "sample" in each:
            file = SAMPLES / each["sample"]
        else:
            file = folder / each["picture"]
        yield Picture(file=file, label=each["label"], score=each.get("score", 0.0))
    for name, label in case.classes.items():
        for file in sorted((folder / case.folder / name).iterdir()):
            yield Picture(file=file, label=label, is_counted=True)
    if case.refused:
        yield Picture(file=SAMPLES / "coffee.png", label="")


def _classify(
    case: Case, folder: Path, pictures: Sequence[Picture], *, home: Path, python: str
) -> Outcome:
    options = dict(case.set)
    if case.labels:
        options["model.labels"] = str(folder / case.labels)
    command = [
        python,
        "-m",
        "edgeclassifier",
        "classify",
        "--json",
        "--model",
        str(folder / case.model),
    ]
    for key, value in options.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    done = subprocess.run(
        [*command, "--", *(str(each.file) for each in pictures)],
        env=isolated(home),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    answers = json.loads(done.stdout) if done.stdout else []
    best = {each["file"]: each["predictions"][0] for each in answers if each["predictions"]}
    return Outcome(
        code=done.returncode,
        said=done.stderr.strip(),
        answers={file: (first["label"], first["score"]) for file, first in best.items()},
    )


def _faults(case: Case, found: Outcome, pictures: Sequence[Picture]) -> Iterator[str]:
    missing = [words for words in (*case.says, *case.refused) if words not in found.said]
    for words in missing:
        yield f"does not say {words!r}"
    for words in case.never:
        if words in found.said:
            yield f"says {words!r}"
    if case.refused:
        if found.code != _REFUSED:
            yield f"not refused (exit code {found.code})"
        return
    if found.code != 0:
        yield f"exit code {found.code}: {found.said}"
        return
    for each in pictures:
        label, score = found.answers[str(each.file)]
        if not each.is_counted and (label != each.label or score < each.score):
            yield f"{each.file.name}: {label} {score:.3f}, not {each.label} {each.score:.3f}"
    if case.classes and _accuracy(found, pictures) < case.accuracy:
        yield f"right on {_accuracy(found, pictures):.3f}, not {case.accuracy:.3f}"


def _accuracy(found: Outcome, pictures: Sequence[Picture]) -> float:
    counted = [each for each in pictures if each.is_counted]
    right = [each for each in counted if found.answers[str(each.file)][0] == each.label]
    return len(right) / len(counted)


def _in_words(case: Case, found: Outcome, pictures: Sequence[Picture]) -> str:
    if found.code != 0:
        return f"refused: {found.said}"
    words = [
        f"{label} {score:.2f}"
        for each in pictures
        if not each.is_counted
        for label, score in [found.answers[str(each.file)]]
    ]
    if case.classes:
        words.append(f"right on {_accuracy(found, pictures):.3f}")
    return ", ".join(words) + (f" ({found.said})" if found.said else "")
