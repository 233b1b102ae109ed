"""The forms that label files have: plain or numbered lines, CSV, and structured text."""

import ast
import csv
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgeclassifier.errors import ModelError

_INDEX = re.compile(r"\d{1,9}")
_NUMBERED = re.compile(rf"({_INDEX.pattern})(?:\s*[:,;]\s*|[.)]\s+|\s+)(\S.*)")
_FEWEST_NUMBERED = 2

_STRUCTURED_BYTES = 4 << 20
_OF_PYTHON = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)
_NAME_KEYS = ("names", "id2label", "labels", "class_names", "classes")
"""Where exporters keep the names of the classes."""
_PAGE = re.compile(r"<(!doctype|html|head|\?xml)", re.IGNORECASE)
_MAP_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_MAP_FIELD = re.compile(r"""(\w+)\s*:\s*(?:"([^"]*)"|'([^']*)'|(\d{1,9}))""")
_YAML_NAMES = re.compile(r"names\s*:\s*(.*)")
_YAML_FLOW = re.compile(r"\[([^\[\]]*)\]|\{([^{}]*)\}")
_YAML_FLOW_ENTRY = re.compile(
    r"""\s*(?:["']?(\d{1,9})["']?\s*:\s+)?(?:["']([^"']*)["']|([^,"']+?))\s*(?:,|$)"""
)
_YAML_ENTRY = re.compile(r"""(?:-|["']?(\d{1,9})["']?\s*:)\s+(.+)""")


def labels_in(lines: Sequence[str], *, source: str) -> tuple[str, ...]:
    """Return the labels of a file, in the order of the classes. Raises ModelError.

    `lines` are stripped, there is at least one, and the last one is not empty. `source` names the
    file.
    """
    if _PAGE.match(next(filter(None, lines))):
        raise ModelError(f"{source}: a web page, not a label file: download the file itself")
    structured = _structured(lines, source)
    if structured is not None:
        return structured
    if "" in lines:
        raise ModelError(
            f"{source}: line {lines.index('') + 1} is empty, but a class needs a label"
        )
    if source.lower().endswith(".csv"):
        return _from_csv(lines, source)
    return _from_lines(lines, source)


# Lines


def _from_lines(lines: Sequence[str], source: str) -> tuple[str, ...]:
    numbered: list[tuple[int, str]] = []
    others = []
    # Those whose number is the one of their line, counted from 0 or from 1.
    in_place = [0, 0]
    for position, line in enumerate(lines):
        match = _NUMBERED.fullmatch(line)
        if match is None:
            others.append(position)
            continue
        index = int(match[1])
        numbered.append((index, match[2].strip().strip('"')))
        if position <= index <= position + 1:
            in_place[index - position] += 1
    indices = sorted(index for index, _ in numbered)
    if not others and _counts(indices):
        return tuple(label for _, label in sorted(numbered))
    # A label may begin with a number ("3 toed sloth"): only a file that counts its lines has them.
    if others and max(in_place) >= _FEWEST_NUMBERED and len(numbered) > len(others):
        raise ModelError(f"{source}: line {others[0] + 1} has no number, but the others do")
    if not others and _has_gap(indices, [name for _, name in numbered]):
        raise ModelError(f"{source}: {_gap(indices)}: every class needs a label")
    return tuple(lines)


def _has_gap(indices: Sequence[int], names: Sequence[str]) -> bool:
    """Tell whether sorted numbers count classes and leave some out, from "1 cent", "5 cent"."""
    distinct = len(set(indices)) == len(indices) == len(set(names))
    return distinct and len(indices) >= _FEWEST_NUMBERED and indices[0] in {0, 1}


def _gap(indices: Sequence[int]) -> str:
    twice = next((a for a, b in itertools.pairwise(indices) if a == b), None)
    if twice is not None:
        return f"class {twice} stands there twice"
    expected = 0 if indices[0] != 1 else 1
    missing = next(
        (number for number, index in enumerate(indices, expected) if number != index), expected
    )
    return f"class {missing} is missing"


def _counts(indices: Sequence[int]) -> bool:
    first = min(indices)
    return first in {0, 1} and sorted(indices) == list(range(first, first + len(indices)))


def _from_csv(lines: Sequence[str], source: str) -> tuple[str, ...]:
    separator = ";" if "," not in lines[0] and all(";" in line for line in lines) else ","
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
    gap = ""
    for header, column in itertools.product((False, True), range(width)):
        if header and _INDEX.fullmatch(rows[0][column]):
            continue
        body = rows[header:]
        cells = [row[column] for row in body]
        if body and all(map(_INDEX.fullmatch, cells)):
            if _counts([*map(int, cells)]):
                label = 1 if column == 0 else 0
                return tuple(row[label] for row in sorted(body, key=lambda row: int(row[column])))
            gap = gap or f" ({_gap(sorted(map(int, cells)))})"
    raise ModelError(f"{source}: no column counts the classes from 0 or 1 without a gap{gap}")


# Structured text


def _structured(lines: Sequence[str], source: str) -> tuple[str, ...] | None:
    """Read JSON, a Python dict, YAML or a label map; None if the file is a list of lines."""
    name, first = source.lower(), next(filter(None, lines))
    text = "\n".join(lines)
    if re.match(r"item\s*\{", first) or (first == "item" and "{" in text):
        return _from_map(text, source)
    if name.endswith((".yaml", ".yml")) or "names:" in lines:
        return _from_yaml(lines, source)
    is_literal = first.startswith(("{", "[")) or name.endswith(".json")
    if not is_literal:
        return None
    data = _literal(text)
    if data is None:
        if first.startswith("[") and not name.endswith(".json") and first[1:2].isalnum():
            return None  # a label in brackets
        raise ModelError(f"{source}: neither JSON nor a Python dict, or not the whole of it")
    return _from_data(data, source)


def _literal(text: str) -> Any:
    """Return what JSON, or a literal of Python, says; None if it is neither."""
    if len(text) > _STRUCTURED_BYTES:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except _OF_PYTHON:
        return None


def _from_data(data: Any, source: str) -> tuple[str, ...]:
    if isinstance(data, Mapping):
        named = next((data[key] for key in _NAME_KEYS if key in data), None)
        if isinstance(named, Mapping | list | tuple):
            data = named
    if isinstance(data, list | tuple):
        items = list(enumerate(data))
    elif isinstance(data, Mapping) and all(_is_index(key) for key in data):
        items = [(int(key), value) for key, value in data.items()]
    elif isinstance(data, Mapping) and all(_is_index(value) for value in data.values()):
        # Keras' class_indices: from the name to the number.
        items = [(int(value), key) for key, value in data.items()]
    else:
        raise ModelError(f"{source}: names no classes: it is the metadata of something else")
    named_classes = [(index, _name(value)) for index, value in items]
    if not named_classes or any(name is None for _, name in named_classes):
        raise ModelError(f"{source}: holds no list of class names")
    return _in_order([(index, name or "") for index, name in named_classes], source)


def _is_index(value: Any) -> bool:
    if isinstance(value, str):
        return _INDEX.fullmatch(value) is not None and value.isascii()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _name(value: Any) -> str | None:
    """Return a class's name: a string, or one in an entry such as ["n01440764", "tench"]."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("display_name", "name", "label") if key in value), "")
    elif isinstance(value, list | tuple) and value:
        value = value[-1]
    if not isinstance(value, str):
        return None
    name = " ".join(value.split())
    return name if name.isprintable() else None


def _in_order(items: Sequence[tuple[int, str]], source: str) -> tuple[str, ...]:
    if not _counts([index for index, _ in items]):
        raise ModelError(
            f"{source}: {_gap(sorted(index for index, _ in items))}: every class needs a label"
        )
    return tuple(name for _, name in sorted(items))


def _from_map(text: str, source: str) -> tuple[str, ...]:
    """Read a label map in the text format of protocol buffers."""
    items = []
    for body in _MAP_ITEM.findall(text):
        fields = {key: double or single or number for key, double, single, number
                  in _MAP_FIELD.findall(body)}  # fmt: skip
        name = fields.get("display_name") or fields.get("name")
        if not name or not _INDEX.fullmatch(fields.get("id", "")):
            raise ModelError(f"{source}: an item of the label map lacks its id or its name")
        items.append((int(fields["id"]), name))
    if not items:
        raise ModelError(f"{source}: a label map without an item that is whole")
    return _in_order(items, source)


def _from_yaml(lines: Sequence[str], source: str) -> tuple[str, ...]:
    """Read the names in the metadata of an exporter; any other YAML is refused."""
    start, match = next(
        ((n, found) for n, line in enumerate(lines) if (found := _YAML_NAMES.fullmatch(line))),
        (0, None),
    )
    if match is None:
        raise ModelError(f"{source}: YAML without `names`: it names no classes")
    if match[1]:
        # In brackets, perhaps over several lines.
        listed = _YAML_FLOW.match(" ".join([match[1], *lines[start + 1 :]]))
        content = (listed[1] or listed[2]) if listed else ""
        entries: list[tuple[str, str, str]] = _YAML_FLOW_ENTRY.findall(content)
        return _from_data(
            {
                number or str(n): quoted or plain
                for n, (number, quoted, plain) in enumerate(entries)
            },
            source,
        )
    items: list[tuple[int, str]] = []
    for line in lines[start + 1 :]:
        entry = _YAML_ENTRY.fullmatch(line)
        if entry is None:
            break
        name = entry[2].strip().strip("\"'")
        items.append((int(entry[1]) if entry[1] else len(items), name))
    if not items:
        raise ModelError(f"{source}: `names` lists no classes")
    return _in_order(items, source)
