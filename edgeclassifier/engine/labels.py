"""Label files in the encodings they are found in, and their fit to a model's output."""

import codecs
import logging
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from edgeclassifier.engine.labelforms import labels_in
from edgeclassifier.errors import ModelError
from edgeclassifier.host.files import open_regular

log = logging.getLogger(__name__)

_LARGEST_FILE_BYTES = 10_000_000
_MOST_LINES = 250_000
"""No public model has half of that; to read millions takes a Pi a minute."""
_BYTE_ORDER_MARKS = (
    # That of UTF-16 is the beginning of that of UTF-32.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)

# Python's str.splitlines() would also split at a form feed or a line separator inside a label.
_LINE_END = re.compile(r"\r\n|\n|\r")
_SPACES = re.compile(r"[\v\f\x1c-\x1f\x85\u2028\u2029]+")
_INVISIBLE = "\ufeff\u200b"
"""Byte-order marks of files that were put together, and spaces of no width."""

_BACKGROUND = "background"
_IMAGENET_CLASSES = 1000
_IMAGENET_SIGNS = {
    0: ("tench", "n01440764"),
    1: ("goldfish", "n01443537"),
    999: ("toilet tissue", "toilet paper", "n15075141"),
}
"""Parts of some labels of ImageNet, by class id, as they are spelled or by their WordNet id."""


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a label file in any form that parse_labels() knows.

    Raises ModelError naming the file and what is wrong in it.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: not a label file, but a folder or a device")
        with open_regular(path) as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such label file") from None
    except OSError as error:
        raise ModelError(f"{path}: label file cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_FILE_BYTES:
        raise ModelError(f"{path}: too large for a label file: is it one?")
    return parse_labels(data, source=str(path))


def parse_labels(data: bytes, *, source: str) -> tuple[str, ...]:
    """Parse the content of a label file; `source` names it in the errors, and `.csv` as CSV.

    It is UTF-8, UTF-16 or Windows-1252, and one of: plain lines, `0 label`, `0: label`, CSV with
    or without a header, JSON, a Python dict, YAML or a label map with class names. Raises
    ModelError.
    """
    text = _decoded(data, source)
    if max(text.count("\n"), text.count("\r")) > _MOST_LINES:
        raise ModelError(f"{source}: more than {_MOST_LINES} lines: not a label file")
    lines = [
        _SPACES.sub(" ", line).strip().strip(_INVISIBLE).strip() for line in _LINE_END.split(text)
    ]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ModelError(f"{source}: label file is empty")
    for number, line in enumerate(lines, 1):
        odd = next(
            (each for each in line if unicodedata.category(each) == "Cc" and each != "\t"), None
        )
        if odd is not None:
            raise ModelError(
                f"{source}: line {number} holds the control character U+{ord(odd):04X}: "
                "not a label file, or a damaged one"
            )
    labels = tuple(re.sub("\t+", " ", each) for each in labels_in(lines, source=source))
    if "" in labels:
        raise ModelError(f"{source}: class {labels.index('')} has no label")
    return labels


def fit_labels(labels: Sequence[str], outputs: int, *, source: str) -> tuple[str, ...]:
    """Return one label for each of `outputs` classes.

    Some models of ImageNet's 1000 classes have one more before them, the background, that some
    label files leave out: that difference is made up for. Any other raises ModelError, because a
    line that is missing somewhere would shift all labels behind it.
    """
    if len(labels) == outputs:
        return tuple(labels)
    both = (len(labels), outputs)
    if both == (_IMAGENET_CLASSES, _IMAGENET_CLASSES + 1) and _is_imagenet(labels):
        log.info("%s: ImageNet's labels without a background, which the model has first", source)
        return (_BACKGROUND, *labels)
    if both == (_IMAGENET_CLASSES + 1, _IMAGENET_CLASSES) and labels[0].lower() == _BACKGROUND:
        log.info("%s: ImageNet's labels with a background, which the model does not have", source)
        return tuple(labels[1:])
    classes = "1 class" if outputs == 1 else f"{outputs} classes"
    raise ModelError(
        f"{source}: {counted(len(labels))}, but the model has {classes}: use the label file that "
        "belongs to it, with one label for each class in the order of the training"
    )


def counted(labels: int) -> str:
    """Return "1 label", "2 labels" and so on."""
    return "1 label" if labels == 1 else f"{labels} labels"


def _is_imagenet(labels: Sequence[str]) -> bool:
    return all(
        any(sign in labels[class_id].lower().replace("_", " ") for sign in signs)
        for class_id, signs in _IMAGENET_SIGNS.items()
    )


def _decoded(data: bytes, source: str) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    encoding = encoding or _utf16_without_mark(data) or "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise ModelError(f"{source}: damaged {encoding.upper()}: {error.reason}") from None
        line = data[: error.start].count(b"\n") + 1
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise ModelError(
            f"{source}: line {line} is neither UTF-8 nor Windows-1252: save the file as UTF-8"
        ) from None
    said = _LINE_END.split(text)[line - 1 : line]
    log.warning(
        "%s: not UTF-8, read as Windows-1252 (line %d: %s): if that is wrong, save it as UTF-8",
        source,
        line,
        "".join(said).strip(),
    )
    return text


def _utf16_without_mark(data: bytes) -> str | None:
    """Tell by the zeros, of which no other text has any: every ASCII character has one of them.

    They stand in every second byte. If they are few, those of the ends of lines have to be there.
    """
    even, odd = data[::2].count(0), data[1::2].count(0)
    if len(data) % 2 or bool(even) == bool(odd):
        return None
    little = bool(odd)
    units = {data[place : place + 2] for place in range(0, len(data), 2)}
    many = max(even, odd) > len(data) // 4
    if not many and (b"\n\0" if little else b"\0\n") not in units:
        return None
    return "utf-16-le" if little else "utf-16-be"
