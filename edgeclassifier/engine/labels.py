"""Label files in the forms they are found in, and their fit to a model's output."""

import csv
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from edgeclassifier.errors import ModelError

_INDEX = re.compile(r"\d{1,9}")
_NUMBERED = re.compile(rf"({_INDEX.pattern})(?:\s*[:,]\s*|\s+)(\S.*)")
_BACKGROUND = "background"
_LARGEST_FILE_BYTES = 10_000_000


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a label file: plain lines, `0 label`, `0: label`, or CSV with or without a header.

    Raises ModelError naming the file and what is wrong in it.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: not a label file, but a folder or a device")
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such label file") from None
    except OSError as error:
        raise ModelError(f"{path}: label file cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_FILE_BYTES:
        raise ModelError(f"{path}: too large for a label file: is it one?")
    return parse_labels(data, source=str(path))


def parse_labels(data: bytes, *, source: str) -> tuple[str, ...]:
    """Parse the content of a label file; `source` names it in the errors, and `.csv` as CSV."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ModelError(
            f"{source}: line {line} is not UTF-8 (Latin-1?): iconv -f latin1 -t utf-8"
        ) from None
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ModelError(f"{source}: label file is empty")
    if "" in lines:
        raise ModelError(
            f"{source}: line {lines.index('') + 1} is empty, but a class needs a label"
        )
    labels = _from_csv(lines, source) if source.lower().endswith(".csv") else _from_lines(lines)
    if "" in labels:
        raise ModelError(f"{source}: class {labels.index('')} has no label")
    return labels


def _from_lines(lines: Sequence[str]) -> tuple[str, ...]:
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    numbered = [(int(match[1]), match[2]) for match in matches if match]
    # A label may begin with a number ("3 toed sloth"): only a file that counts its lines has them.
    if len(numbered) == len(lines) and _counts([index for index, _ in numbered]):
        return tuple(label.strip().strip('"') for _, label in sorted(numbered))
    return tuple(lines)


def _counts(indices: Sequence[int]) -> bool:
    first = min(indices)
    return first in {0, 1} and sorted(indices) == list(range(first, first + len(indices)))


def _from_csv(lines: Sequence[str], source: str) -> tuple[str, ...]:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, strict=True)]
    except csv.Error as error:
        raise ModelError(f"{source}: not valid CSV: {error}") from None
    width = len(rows[0])
    odd = next((number for number, row in enumerate(rows, 1) if len(row) != width), None)
    if odd:
        raise ModelError(
            f"{source}: line {odd} has {len(rows[odd - 1])} columns, line 1 has {width}"
        )
    if width == 1:
        return tuple(row[0] for row in rows)
    for header, column in itertools.product((False, True), range(width)):
        if header and _INDEX.fullmatch(rows[0][column]):
            continue
        body = rows[header:]
        cells = [row[column] for row in body]
        if body and all(map(_INDEX.fullmatch, cells)) and _counts([*map(int, cells)]):
            label = 1 if column == 0 else 0
            return tuple(row[label] for row in sorted(body, key=lambda row: int(row[column])))
    raise ModelError(f"{source}: no column counts the classes from 0 or 1 without a gap")


def fit_labels(labels: Sequence[str], outputs: int, *, source: str) -> tuple[str, ...]:
    """Return one label for each of `outputs` classes.

    Some models put a background class before the others, some label files leave it out: that
    difference of one is made up for. Any other raises ModelError.
    """
    has_background = labels[0].lower() == _BACKGROUND
    if len(labels) == outputs:
        return tuple(labels)
    if len(labels) == outputs - 1 and not has_background:
        return (_BACKGROUND, *labels)
    if len(labels) == outputs + 1 and has_background:
        return tuple(labels[1:])
    raise ModelError(
        f"{source}: {len(labels)} labels, but the model has {outputs} classes: "
        "use the label file that belongs to it"
    )
