"""How often a model is right: accuracy on pictures whose class is known."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeclassifier.contract.results import Prediction
from edgeclassifier.engine.names import Names
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
    """(name of the right class, name of the one in its place) of the wrong answers."""
    unreadable: list[str] = field(default_factory=list)

    @property
    def top1_accuracy(self) -> float:
        """Fraction of the pictures whose most likely label is right."""
        return self.top1 / self.pictures if self.pictures else 0.0

    @property
    def top3_accuracy(self) -> float:
        """Fraction of the pictures with the right label among the three most likely."""
        return self.top3 / self.pictures if self.pictures else 0.0


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Read the rows of a CSV file that begin with the name of a picture, with their line numbers.

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
        del rows[0]
    return rows


def read_truth(path: Path) -> dict[str, int | str]:
    """Read a CSV file of picture names and classes: an index, or a word for the class.

    Raises UsageError.
    """
    rows = read_rows(path)
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
    truth: Mapping[str, int | str], names: Names, *, source: str
) -> dict[str, tuple[int, ...]]:
    """Translate the classes of `truth` to the model's outputs: several for an ambiguous word.

    An index counts the classes without a background class, as data sets do; a number that a class
    is called is that class. Raises UsageError if a class is unknown.
    """
    count = len(names.labels)
    offset = 1 if names.labels[0].lower() == "background" else 0
    found = {}
    for name, value in truth.items():
        ids = names.find(str(value))
        if not ids and isinstance(value, int):
            if value + offset >= count:
                raise UsageError(
                    f"{source}: {name}: class {value}: the model has {count - offset} classes, "
                    "counted from 0"
                )
            ids = (value + offset,)
        if not ids:
            raise UsageError(f"{source}: {name}: {names.unknown(str(value))}")
        found[name] = ids
    return found


def evaluate(
    folder: Path,
    truth: Mapping[str, Sequence[int]],
    *,
    names: Names,
    classify: Callable[[Path], tuple[Prediction, ...]],
    advance: Callable[[int], object],
) -> Evaluation:
    """Classify every picture of `truth` with the best three, and compare.

    An answer is right if it is one of the picture's classes.
    """
    evaluation = Evaluation()
    for name, right in truth.items():
        try:
            predictions = classify(folder / name)
        except PictureError as error:
            evaluation.unreadable.append(str(error))
        else:
            evaluation.pictures += 1
            best = [each.class_id for each in predictions[:3]]
            evaluation.top3 += any(each in right for each in best)
            if best and best[0] in right:
                evaluation.top1 += 1
            else:
                instead = predictions[0].name if predictions else "nothing"
                evaluation.confusions[names.all[right[0]], instead] += 1
        advance(1)
    return evaluation
