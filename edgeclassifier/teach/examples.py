"""The examples that people give: a folder of pictures for each class, or a list of files."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import UNKNOWN
from edgeclassifier.engine.evaluation import read_rows
from edgeclassifier.engine.labels import parse_labels
from edgeclassifier.engine.pictures import SUFFIXES
from edgeclassifier.errors import ModelError, TeachingError, UsageError
from edgeclassifier.host.terminal import one_line

OTHER = "_other"
"""The class of what is none of the others. Its folder may be empty."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_COLUMNS = 2


@plain_data
class Example(Plain):
    """One picture and what it shows."""

    path: Path
    class_id: int


@plain_data
class Examples(Plain):
    """What there is to learn from."""

    labels: tuple[str, ...]
    """By class id; OTHER's is UNKNOWN."""
    pictures: tuple[Example, ...]
    other: int | None
    """The class of OTHER."""
    notes: tuple[str, ...] = ()


def read_folder(folder: Path) -> Examples:
    """Read `folder`, which has one folder of pictures for each class; hidden files are left out.

    Raises UsageError if it cannot be read, and TeachingError if it is no base to learn from.
    """
    try:
        entries = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
        found = [(each.name, _pictures(each)) for each in entries if each.is_dir()]
    except FileNotFoundError:
        raise UsageError(f"{folder}: no such folder") from None
    except OSError as error:
        raise UsageError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    if not found:
        raise TeachingError(f"{folder}: no class in it: make one folder of pictures for each class")
    for name, pictures in found:
        if not pictures and name != OTHER:
            kinds = " ".join(sorted(SUFFIXES))
            raise TeachingError(
                f"{folder / name}: no picture in it (looked for {kinds}): add some, or remove it"
            )
    loose = sum(each.suffix.lower() in SUFFIXES and each.is_file() for each in entries)
    notes = (f"{loose} pictures lie directly in {folder}, in no class",) if loose else ()
    listed: list[tuple[str, Path | None]] = [
        (name, each) for name, paths in found for each in (*paths, *([] if paths else [None]))
    ]
    return _examples(listed, notes)


def read_list(folder: Path, list_file: Path) -> Examples:
    """Read a CSV file with lines of FILE,CLASS; files are looked for in `folder`.

    Raises UsageError if it cannot be read, and TeachingError as read_folder() does.
    """
    rows = read_rows(list_file)
    for number, row in rows:
        if len(row) < _COLUMNS or not row[0].strip() or not row[1].strip():
            raise UsageError(f"{list_file}: line {number}: expected FILE,CLASS")
    if not rows:
        raise TeachingError(f"{list_file}: no pictures in it; expected lines of FILE,CLASS")
    listed = dict.fromkeys((row[1].strip(), folder / row[0].strip()) for _, row in rows)
    return _examples(sorted(listed, key=lambda each: each[0]), ())


def label_file(labels: Sequence[str]) -> bytes:
    """Write labels so that they are read back as they are. Raises TeachingError if none can be."""
    plain = "\n".join(labels) + "\n"
    numbered = "".join(f"{number} {label}\n" for number, label in enumerate(labels))
    for text in (plain, numbered, json.dumps(labels, ensure_ascii=False)):
        try:
            if parse_labels(text.encode(), source="labels.txt") == tuple(labels):
                return text.encode()
        except ModelError:
            continue
    names = ", ".join(map(one_line, labels))
    raise TeachingError(f"these names of classes cannot be told apart in a label file: {names}")


def _examples(listed: Sequence[tuple[str, Path | None]], notes: tuple[str, ...]) -> Examples:
    """Give the classes their numbers, in the order of `listed`; None stands for no picture."""
    names = list(dict.fromkeys(name for name, _ in listed))
    labels = [UNKNOWN if name == OTHER else _label(name) for name in names]
    for index, label in enumerate(labels):
        if label in labels[:index]:
            first = names[labels.index(label)]
            raise TeachingError(
                f"the classes {one_line(repr(first))} and {one_line(repr(names[index]))} would "
                f"both be called {label!r}: rename one"
            )
    if len(labels) == 1:
        raise TeachingError(
            f"{labels[0]!r} is the only class: two are needed to tell them apart; a folder "
            f"{OTHER} may hold whatever it is not"
        )
    return Examples(
        labels=tuple(labels),
        pictures=tuple(
            Example(path=path, class_id=names.index(name))
            for name, path in listed
            if path is not None
        ),
        other=names.index(OTHER) if OTHER in names else None,
        notes=notes,
    )


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in SUFFIXES and not each.name.startswith(".") and each.is_file()
    )


def _label(name: str) -> str:
    """Make one line of the name of a class, in letters that UTF-8 has."""
    text = _CONTROL.sub(" ", name.encode(errors="replace").decode()).strip()
    if not text:
        raise TeachingError(f"the class {one_line(repr(name))} has no name that can be shown")
    return text
