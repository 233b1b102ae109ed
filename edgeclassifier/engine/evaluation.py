"""How often a model is right: accuracy on pictures whose class is known."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeclassifier.contract.results import Prediction
from edgeclassifier.errors import PictureError, UsageError
from edgeclassifier.host.files import open_regular

_FILE_COLUMNS = {"file", "filename", "image", "path"}


@dataclass(slots=True)
class Evaluation:
    """Counts over many pictures."""

    pictures: int = 0
    top1: int = 0
    top3: int = 0
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(the right label, the label in its place) of the wrong answers."""
    unreadable: list[str] = field(default_factory=list)

    @property
    def top1_accuracy(self) -> float:
        """Fraction of the pictures whose most likely label is right."""
        return self.top1 / self.pictures if self.pictures else 0.0

    @property
    def top3_accuracy(self) -> float:
        """Fraction of the pictures with the right label among the three most likely."""
        return self.top3 / self.pictures if self.pictures else 0.0


def read_truth(path: Path) -> dict[str, int | str]:
    """Read a CSV file of picture names and classes: an index, or the label's text.

    A header is recognized by its first column (file, filename, image or path). Raises UsageError.
    """
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8-sig", newline="") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: not a CSV file in UTF-8: {error}") from None
    if rows and rows[0][1][0].strip().lower() in _FILE_COLUMNS:
        rows = rows[1:]
    if not rows:
        raise UsageError(f"{path}: no pictures in it; expected lines of FILE,CLASS")
    truth: dict[str, int | str] = {}
    for number, row in rows:
        if len(row) < 2 or not row[1].strip():  # noqa: PLR2004 - FILE,CLASS
            raise UsageError(f"{path}: line {number}: expected FILE,CLASS")
        name, value = row[0].strip(), row[1].strip()
        truth[name] = int(value) if value.isdecimal() else value
    return truth


def class_ids(
    truth: Mapping[str, int | str], labels: Sequence[str], *, source: str
) -> dict[str, int]:
    """Translate the classes of `truth` to the model's outputs.

    An index counts the classes without a background class, as data sets do. Raises UsageError
    where a class is unknown.
    """
    offset = 1 if labels[0].lower() == "background" else 0
    ids = {label: index for index, label in reversed([*enumerate(labels)])}
    found = {}
    for name, value in truth.items():
        class_id = value + offset if isinstance(value, int) else ids.get(value)
        if class_id is None or class_id >= len(labels):
            raise UsageError(f"{source}: {name}: class {value} is not one of the model's")
        found[name] = class_id
    return found


def evaluate(
    folder: Path,
    truth: Mapping[str, int],
    *,
    labels: Sequence[str],
    classify: Callable[[Path], tuple[Prediction, ...]],
    advance: Callable[[int], object],
) -> Evaluation:
    """Classify every picture of `truth` with the best three, and compare."""
    evaluation = Evaluation()
    for name, class_id in truth.items():
        try:
            predictions = classify(folder / name)
        except PictureError as error:
            evaluation.unreadable.append(str(error))
        else:
            evaluation.pictures += 1
            best = [each.class_id for each in predictions[:3]]
            evaluation.top3 += class_id in best
            if best[:1] == [class_id]:
                evaluation.top1 += 1
            else:
                instead = predictions[0].label if predictions else "nothing"
                evaluation.confusions[labels[class_id], instead] += 1
        advance(1)
    return evaluation
