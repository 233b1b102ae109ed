"""The labels inside a TFLite file, among the files that stand as a zip archive behind the model."""

import mmap
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from flatbuffers import number_types

from edgeclassifier.engine.labels import parse_labels
from edgeclassifier.errors import ModelError
from edgeclassifier.host.files import open_regular
from edgeclassifier.host.terminal import one_line
from edgeclassifier.models.flat import described, described_subgraphs, output_width, slot, string

_LARGEST_LABEL_FILE_BYTES = 10_000_000
_MOST_GUESSED_BYTES = 1_000_000
"""Of files that might be the labels by their number of lines alone."""
_ARCHIVE_END = b"PK\5\6"
_LARGEST_ARCHIVE_END_BYTES = 22 + 0xFFFF
"""The record at the end of an archive, with the longest comment."""
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Those of TFLite's metadata; others only come from damage."""
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, EOFError, ValueError)
_DAMAGED_MODEL = (struct.error, IndexError, TypeError, ValueError)

# Field numbers from the schema of TFLite's metadata (metadata_schema.fbs).
_SUBGRAPH_OUTPUTS = 3
_TENSOR_FILES = 6
_FILE_NAME, _FILE_TYPE, _FILE_LOCALE = 0, 2, 3
_AXIS_LABELS = 2

_TEXTS = (".txt", ".csv", ".json", ".yaml", ".yml", ".pbtxt")
_OF_EXPORTERS = (".json", ".yaml", ".yml")
"""What an exporter notes beside a model: it has the labels if it has names of classes."""
_OF_PEOPLE = re.compile(
    r"readme|licen[cs]e|notice|copying|authors?\b|change|version|info|description", re.IGNORECASE
)
"""Files that are written for people, whatever number of lines they have."""
_FIELD = re.compile(r"[a-z_]+: ")
"""What lines of metadata begin with."""
_MOST_TEXTS = 8


def labels_inside(path: Path) -> tuple[str, ...] | None:
    """Read the labels from a TFLite file, None if there are none in it.

    They are in the file that the metadata names as the labels of the output; else in one with
    "label" in its name; else in the only one that names as many classes as there are, and is not
    written for people.

    Raises ModelError if they are damaged or not clear, OSError if the file cannot be read.
    """
    try:
        if not _has_archive(path):
            return None
        with zipfile.ZipFile(path) as archive:
            entries = {each.filename: each for each in archive.infolist()}
            stated, classes = _stated(path)
            if named := [name for name in stated if name in entries]:
                return _read(path, archive, entries[named[0]])
            texts = sorted(name for name in entries if _is_text(name))
            called = [name for name in texts if "label" in Path(name).name.lower()]
            others = [name for name in texts if not _OF_PEOPLE.match(Path(name).name)]
            candidates = [entries[name] for name in (called or others)[:_MOST_TEXTS]]
            if len(called) == 1:
                return _read(path, archive, candidates[0])
            return _fitting(path, archive, candidates, classes)
    except _DAMAGED_ZIP as error:
        said = one_line(str(error))
        raise ModelError(f"{path}: the files inside the model are damaged: {said}") from None


def _is_text(name: str) -> bool:
    """Tell what may hold labels from all else, such as the shadow files of a Mac."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in Path(name).parts if part != "..")
    return name.lower().endswith(_TEXTS) and not hidden


def _fitting(
    path: Path, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], classes: int | None
) -> tuple[str, ...] | None:
    """Read the labels from the one of several files that fits the `classes`.

    None if there is no such file. Raises ModelError if there are several that differ.
    """
    texts = [each for each in entries if each.filename.lower().endswith(".txt")]
    of_exporters = [each for each in entries if each.filename.lower().endswith(_OF_EXPORTERS)]
    found: dict[str, tuple[str, ...]] = {}
    refusals: list[ModelError] = []
    left_bytes = _MOST_GUESSED_BYTES
    for entry in texts + of_exporters:
        # A small archive may hold thousands of large files.
        left_bytes -= entry.file_size
        if left_bytes < 0 and (found or refusals):
            break
        try:
            labels = _read(path, archive, entry)
        except ModelError as error:
            if entry in texts:
                refusals.append(error)
            continue
        if "label" in entry.filename.lower() or not all(map(_FIELD.match, labels)):
            found[one_line(entry.filename)] = labels
    fitting = {name: labels for name, labels in found.items() if len(labels) == classes}
    if len(set(fitting.values())) > 1:
        raise ModelError(
            f"{path}: the labels may be in {' or '.join(fitting)} inside the model: unzip it, and "
            "set model.labels to the right one"
        )
    if fitting:
        return next(iter(fitting.values()))
    if len(texts) == 1 and refusals:
        raise refusals[0]
    # Of another number, they are refused with both numbers.
    return next(iter(found.values())) if len(found) == 1 else None


def _read(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[str, ...]:
    name = one_line(entry.filename)
    if entry.file_size > _LARGEST_LABEL_FILE_BYTES:
        raise ModelError(f"{path}: the label file {name} inside has {entry.file_size} bytes")
    if entry.compress_type not in _COMPRESSIONS:
        raise zipfile.BadZipFile(f"unknown compression {entry.compress_type}")
    return parse_labels(archive.read(entry), source=f"{path}:{name}")


def _has_archive(path: Path) -> bool:
    """Tell whether an archive stands at the end of a file, even one that cannot be read.

    zipfile.is_zipfile() judges an archive in several parts differently from Python to Python.
    """
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LARGEST_ARCHIVE_END_BYTES))
        return _ARCHIVE_END in file.read()


def _stated(path: Path) -> tuple[list[str], int | None]:
    """Return the label files that the metadata names for the output, and the number of classes."""
    names: list[tuple[bool, str]] = []
    classes = None
    with open_regular(path) as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                classes = output_width(content)
                names.extend(_label_files(content))
        except _DAMAGED_MODEL:
            pass  # not for this reader to judge: the interpreter refuses damaged files
    # Those for every language first.
    return [name for _, name in sorted(names, key=lambda each: each[0])], classes


def _label_files(content: mmap.mmap) -> Iterator[tuple[bool, str]]:
    for subgraph in described_subgraphs(content):
        for tensor in described(subgraph, _SUBGRAPH_OUTPUTS):
            for file in described(tensor, _TENSOR_FILES):
                if file.GetSlot(slot(_FILE_TYPE), 0, number_types.Int8Flags) == _AXIS_LABELS:
                    name = string(file, _FILE_NAME).decode(errors="replace")
                    yield bool(string(file, _FILE_LOCALE)), name
