"""Reads single fields of a TFLite file and of its metadata, both of which are flatbuffers.

Damage may raise struct.error, IndexError, TypeError or ValueError.
"""

import itertools
import mmap
import struct
from collections.abc import Iterator
from typing import Any

from flatbuffers import number_types
from flatbuffers.table import Table

# Field numbers from the schemas of TFLite (schema.fbs) and its metadata (metadata_schema.fbs).
_MODEL_SUBGRAPHS, _MODEL_BUFFERS, _MODEL_METADATA = 2, 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
_GRAPH_TENSORS, _GRAPH_OUTPUTS = 0, 2
_TENSOR_SHAPE = 0
_DESCRIBED_SUBGRAPHS = 3
_MOST_DESCRIBED = 32
_LONGEST = 4096
"""Of a name in bytes and of a list of numbers: a file could say gigabytes, a thousand times."""


def described_subgraphs(content: mmap.mmap) -> Iterator[Table]:
    """List what the metadata says of each subgraph: tables of the type SubGraphMetadata."""
    model = root(content, 0)
    for entry in described(model, _MODEL_METADATA):
        if string(entry, _METADATA_NAME) == b"TFLITE_METADATA":
            index = entry.GetSlot(slot(_METADATA_BUFFER), 0, number_types.Uint32Flags)
            buffer = table(model, _MODEL_BUFFERS, index)
            data = buffer.Vector(buffer.Offset(slot(_BUFFER_DATA)))
            yield from described(root(content, data), _DESCRIBED_SUBGRAPHS)
            return


def output_width(content: mmap.mmap) -> int | None:
    """Return the last dimension of the first output: the number of classes of a classifier."""
    for graph in tables(root(content, 0), _MODEL_SUBGRAPHS):
        outputs = ints(graph, _GRAPH_OUTPUTS)
        shape = ints(table(graph, _GRAPH_TENSORS, outputs[0]), _TENSOR_SHAPE)
        return shape[-1] if shape else None
    return None


def slot(field: int) -> int:
    """Return where a table's list of fields has the one of this number."""
    return 4 + 2 * field


def root(content: mmap.mmap, start: int) -> Table:
    """Return the root table of the flatbuffer at `start`."""
    (offset,) = struct.unpack_from("<I", content, start)
    return Table(content, start + offset)


def table(parent: Table, field: int, index: int) -> Table:
    """Return one of the tables in a field. Raises IndexError if there are fewer."""
    offset = parent.Offset(slot(field))
    if not 0 <= index < (parent.VectorLen(offset) if offset else 0):
        raise IndexError(index)
    return Table(parent.Bytes, parent.Indirect(parent.Vector(offset) + 4 * index))


def tables(parent: Table, field: int) -> Iterator[Table]:
    """List the tables in a field."""
    offset = parent.Offset(slot(field))
    if offset:
        start = parent.Vector(offset)
        for index in range(parent.VectorLen(offset)):
            yield Table(parent.Bytes, parent.Indirect(start + 4 * index))


def described(parent: Table, field: int) -> Iterator[Table]:
    """List the first tables in a field of the metadata.

    Vectors that name one table a thousand times each, one inside the other, would take hours.
    """
    return itertools.islice(tables(parent, field), _MOST_DESCRIBED)


def string(parent: Table, field: int) -> bytes:
    """Return a string; it is empty if the field is absent. Raises ValueError if it is too long."""
    offset = parent.Offset(slot(field))
    if offset and parent.VectorLen(offset) > _LONGEST:
        raise ValueError("a string that is too long")
    return bytes(parent.String(offset + parent.Pos)) if offset else b""


def floats(parent: Table, field: int) -> tuple[float, ...]:
    """Return a list of numbers; it is empty if the field is absent."""
    values: tuple[float, ...] = _numbers(parent, field, "f")
    return values


def ints(parent: Table, field: int) -> tuple[int, ...]:
    """Return a list of whole numbers; it is empty if the field is absent."""
    values: tuple[int, ...] = _numbers(parent, field, "i")
    return values


def _numbers(parent: Table, field: int, kind: str) -> tuple[Any, ...]:
    offset = parent.Offset(slot(field))
    if not offset:
        return ()
    count = parent.VectorLen(offset)
    if count > _LONGEST:
        raise ValueError("a list that is too long")
    return struct.unpack_from(f"<{count}{kind}", parent.Bytes, parent.Vector(offset))
