"""What a TFLite file says of itself: its labels and the normalization of its input.

A TFLite file may carry a flatbuffer with metadata, and the files this names as a zip archive
behind the model.
"""

import math
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flatbuffers import number_types
from flatbuffers.table import Table

from edgeclassifier.engine.labels import parse_labels
from edgeclassifier.engine.quantizer import Normalization
from edgeclassifier.errors import ModelError

_LARGEST_LABEL_FILE_BYTES = 10_000_000
_ARCHIVE_END = b"PK\5\6"
_LARGEST_ARCHIVE_END_BYTES = 22 + 0xFFFF
"""The record at the end of an archive, with the longest comment."""
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Those of TFLite's metadata; others only come from damage."""
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, EOFError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the file states; None if it is silent."""

    labels: tuple[str, ...] | None
    normalization: Normalization | None
    score_threshold: float | None = None
    """Scores below it count for nothing, by the makers of the model."""


def read_metadata(path: Path) -> Metadata:
    """Read labels and normalization from a TFLite file.

    Raises ModelError if the file cannot be read or has labels that are damaged.
    """
    try:
        normalization, threshold = _process_units(path)
        return Metadata(
            labels=_labels(path), normalization=normalization, score_threshold=threshold
        )
    except OSError as error:
        raise ModelError(f"{path}: model file cannot be read: {error.strerror}") from None


def _labels(path: Path) -> tuple[str, ...] | None:
    try:
        if not _has_archive(path):
            return None
        with zipfile.ZipFile(path) as archive:
            texts = [entry for entry in archive.infolist() if entry.filename.endswith(".txt")]
            texts.sort(key=lambda entry: ("label" not in entry.filename.lower(), entry.filename))
            if not texts:
                return None
            size, name = texts[0].file_size, texts[0].filename
            name = name if name.isprintable() else repr(name)
            if size > _LARGEST_LABEL_FILE_BYTES:
                raise ModelError(f"{path}: the label file {name} inside has {size} bytes")
            if texts[0].compress_type not in _COMPRESSIONS:
                raise zipfile.BadZipFile(f"unknown compression {texts[0].compress_type}")
            data = archive.read(texts[0])
    except _DAMAGED_ZIP as error:
        raise ModelError(f"{path}: the files inside the model are damaged: {error}") from None
    return parse_labels(data, source=f"{path}:{name}")


def _has_archive(path: Path) -> bool:
    """Tell whether an archive stands at the end of a file, even one that cannot be read.

    zipfile.is_zipfile() judges an archive in several parts differently from Python to Python.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LARGEST_ARCHIVE_END_BYTES))
        return _ARCHIVE_END in file.read()


def _process_units(path: Path) -> tuple[Normalization | None, float | None]:
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                described = _described(content)
                if described is None:
                    return None, None
                return _find_normalization(described), _find_threshold(described)
        except (struct.error, IndexError, TypeError, ValueError):
            # Not for this reader to judge: the interpreter refuses damaged files with the reason.
            return None, None


# Field numbers from the schemas of TFLite (schema.fbs) and its metadata (metadata_schema.fbs).
_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
_MODEL_METADATA_SUBGRAPHS = 3
_SUBGRAPH_INPUTS, _SUBGRAPH_OUTPUTS = 2, 3
_TENSOR_PROCESS_UNITS = 4
_UNIT_OPTIONS_TYPE, _UNIT_OPTIONS = 0, 1
_NORMALIZATION_OPTIONS, _SCORE_THRESHOLDING_OPTIONS = 1, 3
_MEAN, _STD = 0, 1
_THRESHOLD = 0


def _described(content: mmap.mmap) -> Table | None:
    """Return the root of the metadata."""
    model = _root(content, 0)
    for entry in _tables(model, _MODEL_METADATA):
        if _string(entry, _METADATA_NAME) != b"TFLITE_METADATA":
            continue
        buffers = list(_tables(model, _MODEL_BUFFERS))
        index = entry.GetSlot(_slot(_METADATA_BUFFER), 0, number_types.Uint32Flags)
        buffer = buffers[index]
        return _root(content, buffer.Vector(buffer.Offset(_slot(_BUFFER_DATA))))
    return None


def _find_normalization(described: Table) -> Normalization | None:
    for options in _options(described, _SUBGRAPH_INPUTS, _NORMALIZATION_OPTIONS):
        return _checked(_floats(options, _MEAN), _floats(options, _STD))
    return None


def _find_threshold(described: Table) -> float | None:
    for options in _options(described, _SUBGRAPH_OUTPUTS, _SCORE_THRESHOLDING_OPTIONS):
        threshold = float(options.GetSlot(_slot(_THRESHOLD), 0.0, number_types.Float32Flags))
        return threshold if 0 < threshold <= 1 else None
    return None


def _options(described: Table, tensors: int, kind: int) -> Iterator[Table]:
    """List the options of one kind among what is to be done with the inputs or the outputs."""
    for subgraph in _tables(described, _MODEL_METADATA_SUBGRAPHS):
        for tensor in _tables(subgraph, tensors):
            for unit in _tables(tensor, _TENSOR_PROCESS_UNITS):
                if unit.GetSlot(_slot(_UNIT_OPTIONS_TYPE), 0, number_types.Uint8Flags) == kind:
                    start = unit.Indirect(unit.Pos + unit.Offset(_slot(_UNIT_OPTIONS)))
                    yield Table(described.Bytes, start)


def _checked(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization | None:
    channels = {1, 3}
    complete = len(mean) in channels and len(std) in channels
    usable = all(map(math.isfinite, mean + std)) and all(x > 0 for x in std)
    return Normalization(mean=mean, std=std) if complete and usable else None


def _slot(field: int) -> int:
    return 4 + 2 * field


def _root(content: mmap.mmap, start: int) -> Table:
    (offset,) = struct.unpack_from("<I", content, start)
    return Table(content, start + offset)


def _tables(parent: Table, field: int) -> Iterator[Table]:
    offset = parent.Offset(_slot(field))
    if offset:
        start = parent.Vector(offset)
        for index in range(parent.VectorLen(offset)):
            yield Table(parent.Bytes, parent.Indirect(start + 4 * index))


def _string(parent: Table, field: int) -> bytes:
    offset = parent.Offset(_slot(field))
    return bytes(parent.String(offset + parent.Pos)) if offset else b""


def _floats(parent: Table, field: int) -> tuple[float, ...]:
    offset = parent.Offset(_slot(field))
    if not offset:
        return ()
    count = parent.VectorLen(offset)
    return struct.unpack_from(f"<{count}f", parent.Bytes, parent.Vector(offset))
