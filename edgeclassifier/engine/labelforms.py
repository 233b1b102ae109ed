"""The forms that label files have as lines: plain, numbered, or CSV."""

import csv
import itertools
import re
from collections.abc import Sequence

from edgeclassifier.engine.labeldata import INDEX, counts, gap, structured_labels
from edgeclassifier.errors import ModelError

_NUMBERED = re.compile(rf"({INDEX.pattern})(?:\s*[:,;=)\t]\s*|[.)]\s+|\s+(?:-\s+)?)(\S.*)")
_IN_BRACKETS = re.compile(rf"\[({INDEX.pattern})\]\s*(\S.*)")
_NUMBER_LAST = re.compile(rf"(.*\S)\s*[,;\t]\s*({INDEX.pattern})")
_QUOTED = re.compile(r"""(["'])(.*\S.*)\1[,;]?""")
_FEWEST_NUMBERED = 2

_PAGE = re.compile(r"<(!doctype|!--|html|head|body|div|\?xml)", re.IGNORECASE)
_POINTER = "version https://git-lfs"
_WORDNET_ID = re.compile(r"n\d{8}")
_WORDNET_LINE = re.compile(rf"{_WORDNET_ID.pattern}[\s,:]+(\S.*)")
_NAME_COLUMNS = ("name", "label", "display_name", "class_name", "class")


def labels_in(lines: Sequence[str], *, source: str) -> tuple[str, ...]:
    """Return the labels of a file, in the order of the classes. Raises ModelError.

    `lines` are stripped, there is at least one, and the last one is not empty. `source` names the
    file.
    """
    first = next(filter(None, lines))
    if _PAGE.match(first):
        raise ModelError(f"{source}: a web page, not a label file: download the file itself")
    if first.startswith(_POINTER):
        raise ModelError(
            f"{source}: a pointer of Git LFS, not the file itself: get that with `git lfs pull`"
        )
    structured = structured_labels(lines, source)
    if structured is not None:
        return structured
    if "" in lines:
        raise ModelError(
            f"{source}: line {lines.index('') + 1} is empty, but a class needs a label"
        )
    if source.lower().endswith((".csv", ".tsv")):
        return _from_csv(lines, source)
    return _from_lines(_unquoted(lines), source)


def _unquoted(lines: Sequence[str]) -> Sequence[str]:
    """Take the quotes off lines that all have them, as a list in a program has."""
    quoted = [found[2].strip() for line in lines if (found := _QUOTED.fullmatch(line))]
    return quoted if len(quoted) == len(lines) else lines


def _numbered(line: str) -> tuple[int, str] | None:
    match = _NUMBERED.fullmatch(line) or _IN_BRACKETS.fullmatch(line)
    return (int(match[1]), match[2].strip().strip('"')) if match else None


def _from_lines(lines: Sequence[str], source: str) -> tuple[str, ...]:
    numbered: list[tuple[int, str]] = []
    others = []
    # Those whose number is the one of their line, counted from 0 or from 1.
    in_place = [0, 0]
    for position, line in enumerate(lines):
        found = _numbered(line)
        if found is None:
            others.append(position)
            continue
        index = found[0]
        numbered.append(found)
        if position <= index <= position + 1:
            in_place[index - position] += 1
    indices = sorted(index for index, _ in numbered)
    if not others and counts(indices) and _differ([name for _, name in numbered]):
        return tuple(label for _, label in sorted(numbered))
    behind = [match for line in lines if (match := _NUMBER_LAST.fullmatch(line))]
    if len(behind) == len(lines) and counts([int(match[2]) for match in behind]):
        by_number = sorted(behind, key=lambda match: int(match[2]))
        return tuple(match[1].strip().strip('"') for match in by_number)
    synsets = [match[1] for line in lines if (match := _WORDNET_LINE.fullmatch(line))]
    if len(synsets) == len(lines):
        return tuple(synsets)
    # A label may begin with a number ("3 toed sloth"): only a file that counts its lines has them.
    if others and max(in_place) >= _FEWEST_NUMBERED and len(numbered) > len(others):
        raise ModelError(f"{source}: line {others[0] + 1} has no number, but the others do")
    if not others and _has_gap(indices, [name for _, name in numbered]):
        raise ModelError(f"{source}: {gap(indices)}: every class needs a label")
    return tuple(lines)


def _differ(names: Sequence[str]) -> bool:
    """Tell apart numbered names, few of which are equal, from "1 cent", "2 cent"."""
    return len(names) == 1 or 2 * len(set(names)) > len(names)


def _has_gap(indices: Sequence[int], names: Sequence[str]) -> bool:
    """Tell whether sorted numbers count classes and leave some out, from "1 cent", "5 cent"."""
    distinct = len(set(indices)) == len(indices) == len(set(names))
    return distinct and len(indices) >= _FEWEST_NUMBERED and indices[0] in {0, 1}


def _from_csv(lines: Sequence[str], source: str) -> tuple[str, ...]:
    separator = next(
        (each for each in ("\t", ";") if "," not in lines[0] and all(each in x for x in lines)), ","
    )
    try:
        read = csv.reader(lines, strict=True, delimiter=separator)
        rows = [[cell.strip() for cell in row] for row in read]
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
    missing = ""
    for header, column in itertools.product((False, True), range(width)):
        if header and INDEX.fullmatch(rows[0][column]):
            continue
        body = rows[header:]
        cells = [row[column] for row in body]
        if body and all(map(INDEX.fullmatch, cells)):
            if counts([*map(int, cells)]):
                label = _name_column(rows[0] if header else [], body, column)
                return tuple(row[label] for row in sorted(body, key=lambda row: int(row[column])))
            missing = missing or f" ({gap(sorted(map(int, cells)))})"
    raise ModelError(f"{source}: no column counts the classes from 0 or 1 without a gap{missing}")


def _name_column(header: Sequence[str], body: Sequence[Sequence[str]], numbers: int) -> int:
    """Return the column of the names: by its title, else the first without WordNet's ids."""
    columns = [each for each in range(len(body[0])) if each != numbers]
    for title in _NAME_COLUMNS:
        for each in columns:
            if header and header[each].lower() == title:
                return each
    return next(
        (each for each in columns if not all(_WORDNET_ID.fullmatch(row[each]) for row in body)),
        columns[0],
    )
