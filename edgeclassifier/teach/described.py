"""What a taught model says of itself: the labels of its classes, and what its pixels mean."""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from edgeclassifier.engine.preprocess import Normalization

_LABELS = "labels.txt"
# Fields, types and kinds of TFLite's metadata_schema.fbs.
_MODEL_NAME, _MODEL_SUBGRAPHS = 0, 3
_SUBGRAPH_INPUTS, _SUBGRAPH_OUTPUTS = 2, 3
_TENSOR_UNITS, _TENSOR_FILES = 4, 6
_UNIT_KIND, _UNIT_OPTIONS = 0, 1
_MEAN, _STD = 0, 1
_FILE_NAME, _FILE_KIND = 0, 2
_NORMALIZATION, _AXIS_LABELS = 1, 2


def metadata(name: str, normalization: Normalization) -> bytes:
    """Write the metadata of a model called `name` whose labels are in the archive behind it."""
    builder = flatbuffers.Builder(512)
    mean, std = (_floats(builder, each) for each in (normalization.mean, normalization.std))
    options = _table(builder, [(_MEAN, "UOffsetTRelative", mean), (_STD, "UOffsetTRelative", std)])
    unit = _table(
        builder,
        [
            (_UNIT_KIND, "Uint8", _NORMALIZATION),
            (_UNIT_OPTIONS, "UOffsetTRelative", options),
        ],
    )
    given = _table(builder, [(_TENSOR_UNITS, "UOffsetTRelative", _tables(builder, unit))])
    label_name = builder.CreateString(_LABELS)
    file = _table(
        builder,
        [(_FILE_NAME, "UOffsetTRelative", label_name), (_FILE_KIND, "Int8", _AXIS_LABELS)],
    )
    result = _table(builder, [(_TENSOR_FILES, "UOffsetTRelative", _tables(builder, file))])
    subgraph = _table(
        builder,
        [
            (_SUBGRAPH_INPUTS, "UOffsetTRelative", _tables(builder, given)),
            (_SUBGRAPH_OUTPUTS, "UOffsetTRelative", _tables(builder, result)),
        ],
    )
    title = builder.CreateString(name)
    subgraphs = _tables(builder, subgraph)
    model = _table(
        builder,
        [
            (_MODEL_NAME, "UOffsetTRelative", title),
            (_MODEL_SUBGRAPHS, "UOffsetTRelative", subgraphs),
        ],
    )
    builder.Finish(model, file_identifier=b"M001")
    return bytes(builder.Output())


def with_labels(model: bytes, labels: bytes) -> bytes:
    """Append a label file as TFLite's metadata has it: in an archive behind the model."""
    whole = io.BytesIO(model)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        # The same examples give the same file.
        archive.writestr(zipfile.ZipInfo(_LABELS), labels)
    return whole.getvalue()


def _table(builder: Any, fields: Sequence[tuple[int, str, int]]) -> int:
    builder.StartObject(max(number for number, _, _ in fields) + 1)
    for number, kind, value in fields:
        getattr(builder, f"Prepend{kind}Slot")(number, value, 0)
    offset: int = builder.EndObject()
    return offset


def _tables(builder: Any, table: int) -> int:
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(table)
    offset: int = builder.EndVector()
    return offset


def _floats(builder: Any, values: Sequence[float]) -> int:
    offset: int = builder.CreateNumpyVector(np.array(values, np.float32))
    return offset
