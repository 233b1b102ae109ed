"""What a TFLite file says of itself: its labels and the normalization of its input.

A TFLite file may carry a flatbuffer with metadata, and the files this names as a zip archive
behind the model.
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from flatbuffers import number_types
from flatbuffers.table import Table

from edgeclassifier.engine.preprocess import Normalization
from edgeclassifier.errors import ModelError
from edgeclassifier.models.flat import described_subgraphs, floats, slot, tables
from edgeclassifier.models.labelsinside import labels_inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the file states; None if it is silent."""

    labels: tuple[str, ...] | None
    normalization: Normalization | None


def read_metadata(path: Path, *, labels: bool = True) -> Metadata:
    """Read normalization and, unless others are used, `labels` from a TFLite file.

    Raises ModelError if the file cannot be read or has labels that are damaged.
    """
    try:
        return Metadata(
            labels=labels_inside(path) if labels else None, normalization=_normalization(path)
        )
    except OSError as error:
        raise ModelError(f"{path}: model file cannot be read: {error.strerror}") from None


def _normalization(path: Path) -> Normalization | None:
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _find_normalization(content)
        except (struct.error, IndexError, TypeError, ValueError):
            # Not for this reader to judge: the interpreter refuses damaged files with the reason.
            return None


# Field numbers from the schema of TFLite's metadata (metadata_schema.fbs).
_SUBGRAPH_INPUTS = 2
_TENSOR_PROCESS_UNITS = 4
_UNIT_OPTIONS_TYPE, _UNIT_OPTIONS = 0, 1
_NORMALIZATION_OPTIONS = 1
_MEAN, _STD = 0, 1


def _find_normalization(content: mmap.mmap) -> Normalization | None:
    for subgraph in described_subgraphs(content):
        for tensor in tables(subgraph, _SUBGRAPH_INPUTS):
            for unit in tables(tensor, _TENSOR_PROCESS_UNITS):
                kind = unit.GetSlot(slot(_UNIT_OPTIONS_TYPE), 0, number_types.Uint8Flags)
                if kind == _NORMALIZATION_OPTIONS:
                    options = Table(
                        content, unit.Indirect(unit.Pos + unit.Offset(slot(_UNIT_OPTIONS)))
                    )
                    return _checked(floats(options, _MEAN), floats(options, _STD))
    return None


def _checked(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization | None:
    channels = {1, 3}
    complete = len(mean) in channels and len(std) in channels
    usable = all(map(math.isfinite, mean + std)) and all(x > 0 for x in std)
    return Normalization(mean=mean, std=std) if complete and usable else None
