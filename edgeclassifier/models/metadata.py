"""What a TFLite file says of itself: labels, normalization of its input, a score threshold.

A TFLite file may carry a flatbuffer with metadata, and the files this names as a zip archive
behind the model.
"""

import math
import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flatbuffers import number_types
from flatbuffers.table import Table

from edgeclassifier.engine.preprocess import Normalization
from edgeclassifier.errors import ModelError
from edgeclassifier.host.files import open_regular
from edgeclassifier.models.flat import described, described_subgraphs, floats, slot
from edgeclassifier.models.labelsinside import labels_inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the file states; None if it is silent."""

    labels: tuple[str, ...] | None
    normalization: Normalization | None
    score_threshold: float | None = None
    """Scores below it count for nothing, by the makers of the model."""


def read_metadata(path: Path, *, labels: bool = True) -> Metadata:
    """Read what a TFLite file states, its `labels` unless others are used.

    Raises ModelError if the file cannot be read or has labels that are damaged.
    """
    try:
        normalization, threshold = _process_units(path)
        return Metadata(
            labels=labels_inside(path) if labels else None,
            normalization=normalization,
            score_threshold=threshold,
        )
    except OSError as error:
        raise ModelError(f"{path}: model file cannot be read: {error.strerror}") from None


def _process_units(path: Path) -> tuple[Normalization | None, float | None]:
    with open_regular(path) as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                subgraphs = list(described_subgraphs(content))
                return _find_normalization(subgraphs), _find_threshold(subgraphs)
        except (struct.error, IndexError, TypeError, ValueError):
            # Not for this reader to judge: the interpreter refuses damaged files with the reason.
            return None, None


# Field numbers from the schema of TFLite's metadata (metadata_schema.fbs).
_SUBGRAPH_INPUTS, _SUBGRAPH_OUTPUTS = 2, 3
_TENSOR_PROCESS_UNITS = 4
_UNIT_OPTIONS_TYPE, _UNIT_OPTIONS = 0, 1
_NORMALIZATION_OPTIONS, _SCORE_THRESHOLDING_OPTIONS = 1, 3
_MEAN, _STD = 0, 1
_THRESHOLD = 0


def _find_normalization(subgraphs: Sequence[Table]) -> Normalization | None:
    for options in _options(subgraphs, _SUBGRAPH_INPUTS, _NORMALIZATION_OPTIONS):
        return _checked(floats(options, _MEAN), floats(options, _STD))
    return None


def _find_threshold(subgraphs: Sequence[Table]) -> float | None:
    for options in _options(subgraphs, _SUBGRAPH_OUTPUTS, _SCORE_THRESHOLDING_OPTIONS):
        threshold = float(options.GetSlot(slot(_THRESHOLD), 0.0, number_types.Float32Flags))
        return threshold if 0 < threshold <= 1 else None
    return None


def _options(subgraphs: Sequence[Table], tensors: int, kind: int) -> Iterator[Table]:
    """List the options of one kind among what is to be done with the inputs or the outputs."""
    for subgraph in subgraphs:
        for tensor in described(subgraph, tensors):
            for unit in described(tensor, _TENSOR_PROCESS_UNITS):
                if unit.GetSlot(slot(_UNIT_OPTIONS_TYPE), 0, number_types.Uint8Flags) == kind:
                    start = unit.Indirect(unit.Pos + unit.Offset(slot(_UNIT_OPTIONS)))
                    yield Table(unit.Bytes, start)


def _checked(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalization | None:
    channels = {1, 3}
    complete = len(mean) in channels and len(std) in channels
    usable = all(map(math.isfinite, mean + std)) and all(x > 0 for x in std)
    return Normalization(mean=mean, std=std) if complete and usable else None
