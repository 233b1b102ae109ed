"""Label files of structured text: JSON, a Python dict, YAML, or a label map."""

import ast
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgeclassifier.errors import ModelError

INDEX = re.compile(r"\d{1,9}")
"""The number of a class."""

_STRUCTURED_BYTES = 4 << 20
_OF_PYTHON = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)
_LISTS = ("names", "id2label", "labels", "class_names", "classes", "categories", "label2id",
          "class_indices", "class_to_idx")  # fmt: skip
"""Where exporters keep the names of the classes."""
_NUMBERS = ("id", "index", "class_id", "label_id")
_NAMES = ("display_name", "name", "label", "class_name")
"""What an entry with a name and a number calls them."""
_STRING = r"""\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"""
_MAP_ITEM = re.compile(rf"""item\s*:?\s*\{{((?:[^{{}}"']|{_STRING})*)\}}""")
_MAP_FIELD = re.compile(rf"(\w+)\s*:\s*(?:({_STRING})|(\d{{1,9}}))")
_YAML_NAMES = re.compile(r"names\s*:\s*(.*)")
_YAML_FLOW = re.compile(r"\[([^\[\]]*)\]|\{([^{}]*)\}")
_YAML_FLOW_ENTRY = re.compile(
    r"""\s*(?:["']?(\d{1,9})["']?\s*:\s+)?(?:["']([^"']*)["']|([^,"']+?))\s*(?:,|$)"""
)
_YAML_ENTRY = re.compile(r"""(?:-|["']?(\d{1,9})["']?\s*:)\s+(.+)""")
_YAML_COMMENT = re.compile(r"\s+#.*")


def structured_labels(lines: Sequence[str], source: str) -> tuple[str, ...] | None:
    """Read JSON, a Python dict, YAML or a label map; None if the file is a list of lines."""
    name, first = source.lower(), next(filter(None, lines))
    text = "\n".join(lines)
    if re.match(r"item\s*:?\s*\{", first) or (first == "item" and "{" in text):
        return _from_map(text, source)
    if name.endswith((".yaml", ".yml")) or "names:" in lines:
        return _from_yaml(lines, source)
    is_literal = first.startswith(("{", "[")) or name.endswith(".json")
    if not is_literal:
        return None
    try:
        data = _literal(text)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
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
        return json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except _OF_PYTHON:
        return None


def _pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    twice = next((a for a, b in itertools.pairwise(sorted(key for key, _ in pairs)) if a == b), "")
    if twice:
        raise ModelError(f"the key {twice[:50]!r} stands there twice")
    return dict(pairs)


def _from_data(data: Any, source: str) -> tuple[str, ...]:
    if isinstance(data, Mapping):
        named = next((data[key] for key in _LISTS if key in data), None)
        if isinstance(named, Mapping | list | tuple):
            data = named
    if isinstance(data, list | tuple):
        items = _own_numbers(data) or list(enumerate(data))
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


def _own_numbers(entries: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return the entries with the numbers that they give themselves; none if they do not."""
    for key in _NUMBERS:
        if entries and all(
            isinstance(each, Mapping) and _is_index(each.get(key)) for each in entries
        ):
            return [(int(each[key]), each) for each in entries]
    return []


def _is_index(value: Any) -> bool:
    if isinstance(value, str):
        return INDEX.fullmatch(value) is not None and value.isascii()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _name(value: Any) -> str | None:
    """Return a class's name: a string, or one in an entry such as ["n01440764", "tench"]."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in _NAMES if key in value), "")
    elif isinstance(value, list | tuple) and value:
        value = value[-1]
    if not isinstance(value, str):
        return None
    name = " ".join(value.split())
    return name if name.isprintable() else None


def gap(indices: Sequence[int]) -> str:
    """Say why sorted numbers do not count classes."""
    twice = next((a for a, b in itertools.pairwise(indices) if a == b), None)
    if twice is not None:
        return f"class {twice} stands there twice"
    expected = 0 if indices[0] != 1 else 1
    missing = next(
        (number for number, index in enumerate(indices, expected) if number != index), expected
    )
    return f"class {missing} is missing"


def counts(indices: Sequence[int]) -> bool:
    """Tell whether numbers in any order are those of classes, from 0 or from 1 on."""
    first = min(indices)
    return first in {0, 1} and sorted(indices) == list(range(first, first + len(indices)))


def _in_order(items: Sequence[tuple[int, str]], source: str) -> tuple[str, ...]:
    if not counts([index for index, _ in items]):
        raise ModelError(
            f"{source}: {gap(sorted(index for index, _ in items))}: every class needs a label"
        )
    return tuple(name for _, name in sorted(items))


def _from_map(text: str, source: str) -> tuple[str, ...]:
    """Read a label map in the text format of protocol buffers."""
    items = []
    for body in _MAP_ITEM.findall(text):
        fields = {
            key: _unescaped(quoted) if quoted else number
            for key, quoted, number in _MAP_FIELD.findall(body)
        }
        name = fields.get("display_name") or fields.get("name")
        if not name or not INDEX.fullmatch(fields.get("id", "")):
            raise ModelError(f"{source}: an item of the label map lacks its id or its name")
        items.append((int(fields["id"]), name))
    if not items:
        raise ModelError(f"{source}: a label map without an item that is whole")
    return _in_order(items, source)


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


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
        name = entry[2].strip()
        name = (name if name[0] in "\"'" else _YAML_COMMENT.sub("", name)).strip("\"'")
        items.append((int(entry[1]) if entry[1] else len(items), name))
    if not items:
        raise ModelError(f"{source}: `names` lists no classes")
    return _in_order(items, source)
