"""Where a TFLite file says what the model is, as opposed to the weights, which are most of it."""

import struct
from collections.abc import Iterator

from flatbuffers.table import Table

_BUFFERS, _DATA = 12, 4
"""Places in the tables of TFLite's schema.fbs: Model.buffers and Buffer.data."""
_SMALLEST_WEIGHTS = 32
"""Shorter buffers are shapes, axes and the like."""


def structure(content: bytes) -> list[range]:
    """Return the ranges of a TFLite file that are no weights."""
    places, end = [], 0
    for start, stop in sorted(_weights(content)):
        if start > end:
            places.append(range(end, start))
        end = max(end, stop)
    if len(content) > end:
        places.append(range(end, len(content)))
    return places


def _weights(content: bytes) -> Iterator[tuple[int, int]]:
    (root,) = struct.unpack_from("<I", content)
    model = Table(content, root)
    offset = model.Offset(_BUFFERS)
    first = model.Vector(offset)
    for index in range(model.VectorLen(offset)):
        buffer = Table(content, model.Indirect(first + 4 * index))
        if data := buffer.Offset(_DATA):
            start, length = buffer.Vector(data), buffer.VectorLen(data)
            if length >= _SMALLEST_WEIGHTS:
                yield start, start + length
