"""Real TFLite files of about a kilobyte, written table by table.

`flatbuffers` alone is needed, so that the models are the same with every TFLite runtime. Numbers
of fields, types and operations are those of TFLite's schema.fbs and metadata_schema.fbs.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

LABELS = tuple(f"label {letter}" for letter in "abcdefghijkl")
"""As many as classifier() has classes."""

Fields = dict[int, tuple[str, float]]
"""Field number to type and value; a reference has the type UOffsetTRelative."""

_TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int8": 9}
_BUILTINS = {
    "QUANTIZE": 114,
    "DEQUANTIZE": 6,
    "RESHAPE": 22,
    "SOFTMAX": 25,
    "LOGISTIC": 14,
    "LOG_SOFTMAX": 50,
    "CAST": 53,
    "ADD": 0,
    "CONV_2D": 3,
    "FULLY_CONNECTED": 9,
    "MUL": 18,
    "MEAN": 40,
    "SUB": 41,
    "DIV": 42,
    "RELU": 19,
    "TANH": 28,
    "L2_NORMALIZATION": 11,
    "RSQRT": 76,
    "FROM_THE_FUTURE": 4000,
}
_CUSTOM = 32
_OLD_CODE_LIMIT = 127
"""Codes were one byte once; readers still look there for those that fit."""
_OPTIONS: dict[str, tuple[int, Fields]] = {
    "ADD": (11, {}),
    "CONV_2D": (1, {1: ("Int32", 1), 2: ("Int32", 1), 4: ("Int32", 1), 5: ("Int32", 1)}),
    "DIV": (29, {}),
    "FULLY_CONNECTED": (8, {}),
    "MEAN": (27, {}),
    "MUL": (21, {}),
    "SOFTMAX": (9, {0: ("Float32", 1.0)}),
    "SUB": (28, {}),
}
"""Number and fields of the options that an operation cannot do without."""
_RESHAPE_OPTIONS = 17
_NORMALIZATION_OPTIONS, _SCORE_THRESHOLDING_OPTIONS = 1, 3
_AXIS_LABELS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A scale of 0 means not quantized; one with values is a constant."""

    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
    signature: tuple[int, ...] | None = None
    """The shape with -1 for the sides that are open."""
    values: tuple[float, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A name that is none of TFLite's is that of a custom operation."""

    name: str
    input: int
    output: int
    version: int = 1
    constants: tuple[int, ...] = ()
    """The tensors behind the input."""


def model(
    tensors: Sequence[Tensor],
    operations: Sequence[Operation],
    *,
    inputs: Sequence[int] = (0,),
    outputs: Sequence[int] = (-1,),
    metadata: bytes | None = None,
) -> bytes:
    """Write a model; `inputs` and `outputs` are indices into `tensors`, -1 is the last one."""
    builder = flatbuffers.Builder(1024)
    # Buffer 0 is empty by definition: that of all tensors that are computed.
    buffers = [_table(builder, {})]
    entries = []
    if metadata is not None:
        buffers.append(_table(builder, {0: _ref(builder.CreateByteVector(metadata))}))
        name = builder.CreateString("TFLITE_METADATA")
        entries.append(_table(builder, {0: _ref(name), 1: ("Uint32", 1)}))
    places = [0] * len(tensors)
    for index, each in enumerate(tensors):
        if each.values:
            places[index] = len(buffers)
            data = np.array(each.values, each.dtype).tobytes()
            buffers.append(_table(builder, {0: _ref(builder.CreateByteVector(data))}))
    last = len(tensors) - 1
    subgraph = _table(
        builder,
        {
            0: _tables(
                builder,
                [_tensor(builder, each, at) for each, at in zip(tensors, places, strict=True)],
            ),
            1: _ints(builder, [last if each == -1 else each for each in inputs]),
            2: _ints(builder, [last if each == -1 else each for each in outputs]),
            3: _tables(
                builder,
                [
                    _operation(builder, each, code, tensors[each.output].shape)
                    for code, each in enumerate(operations)
                ],
            ),
        },
    )
    root = _table(
        builder,
        {
            0: ("Uint32", 3),  # the version of the schema
            1: _tables(builder, [_operator_code(builder, each) for each in operations]),
            2: _tables(builder, [subgraph]),
            4: _tables(builder, buffers),
            6: _tables(builder, entries),
        },
    )
    builder.Finish(root, file_identifier=b"TFL3")
    return bytes(builder.Output())


def classifier(
    dtype: str = "float32",
    *,
    shape: tuple[int, ...] = (1, 2, 2, 3),
    scale: float = 0.0,
    zero_point: int = 0,
    last: str | None = None,
    output_shape: tuple[int, ...] | None = None,
    metadata: bytes | None = None,
) -> bytes:
    """Write a model whose logits are its input, in one row: every score can be asked for.

    `last` names an operation behind that: SOFTMAX and LOGISTIC make probabilities, quantized as
    TFLite wants them, everything else leaves type and quantization as they are.
    """
    picture = Tensor(shape=shape, dtype=dtype, scale=scale, zero_point=zero_point)
    row = replace(picture, shape=output_shape or (1, int(np.prod(shape))))
    tensors, operations = [picture, row], [Operation(name="RESHAPE", input=0, output=1)]
    if last is not None:
        if last in {"SOFTMAX", "LOGISTIC"} and scale:
            row = replace(row, scale=1 / 256, zero_point=-128 if dtype == "int8" else 0)
        tensors.append(row)
        operations.append(Operation(name=last, input=1, output=2))
    return model(tensors, operations, metadata=metadata)


def colours(
    weights: NDArray[np.float64],
    bias: Sequence[float],
    *,
    size: int = 8,
    channels: int = 3,
    dtype: str = "float32",
    scale: float = 0.0,
    zero_point: int = 0,
    before: Sequence[tuple[str, float]] = (),
    last: str | None = "SOFTMAX",
    is_open: bool = False,
    metadata: bytes | None = None,
    name: str = "",
) -> bytes:
    """Write a model that knows classes by their mean colour, and calculates in float32.

    Its logits are weights [classes, channels] x mean colour + bias. It begins with the arithmetic
    `before`, operation and constant, and ends with the operation `last`. `is_open`: height and
    width are not set in it.
    """
    side = 1 if is_open else size
    signature = (1, -1, -1, channels) if is_open else None
    picture = Tensor(
        shape=(1, side, side, channels),
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        signature=signature,
        name=name,
    )
    tensors = [picture]
    operations: list[Operation] = []

    def then(operation: str, shape: tuple[int, ...], *constants: Tensor) -> None:
        given = 0 if not operations else operations[-1].output
        first = len(tensors)
        tensors.extend([*constants, Tensor(shape=shape, dtype="float32")])
        places = tuple(range(first, first + len(constants)))
        operations.append(
            Operation(name=operation, input=given, output=len(tensors) - 1, constants=places)
        )

    if dtype != "float32":
        then("DEQUANTIZE" if scale else "CAST", picture.shape)
    for operation, number in before:
        then(operation, picture.shape, Tensor(shape=(1,), dtype="float32", values=(number,)))
    then("MEAN", (1, channels), Tensor(shape=(2,), dtype="int32", values=(1, 2)))
    row = (1, len(weights))
    then(
        "FULLY_CONNECTED",
        row,
        Tensor(shape=weights.shape, dtype="float32", values=tuple(weights.reshape(-1))),
        Tensor(shape=(len(weights),), dtype="float32", values=tuple(bias)),
    )
    if last is not None:
        then(last, row)
    return model(tensors, operations, metadata=metadata)


def with_files(
    content: bytes, files: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED
) -> bytes:
    """Append `files` as a zip archive, the way TFLite's metadata writer does."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def normalization_metadata(
    mean: Sequence[float], std: Sequence[float], *, threshold: float = 0.0
) -> bytes:
    """Write the metadata of a model whose input is normalized with `mean` and `std`."""
    builder = flatbuffers.Builder(256)
    options = _table(builder, {0: _floats(builder, mean), 1: _floats(builder, std)})
    unit = _table(builder, {0: ("Uint8", _NORMALIZATION_OPTIONS), 1: _ref(options)})
    tensor = _table(builder, {4: _tables(builder, [unit])})
    fields = {2: _tables(builder, [tensor])}
    if threshold:
        least = _table(builder, {0: ("Float32", threshold)})
        unit = _table(builder, {0: ("Uint8", _SCORE_THRESHOLDING_OPTIONS), 1: _ref(least)})
        fields[3] = _tables(builder, [_table(builder, {4: _tables(builder, [unit])})])
    subgraph = _table(builder, fields)
    builder.Finish(_table(builder, {3: _tables(builder, [subgraph])}), file_identifier=b"M001")
    return bytes(builder.Output())


def metadata_that_repeats(times: int) -> bytes:
    """Write metadata of vectors that name one table `times` times each, one inside the other."""
    builder = flatbuffers.Builder(1024)

    def repeated(table: int) -> tuple[str, float]:
        return _tables(builder, [table] * times)

    units = repeated(_table(builder, {0: ("Uint8", 0)}))
    tensors = repeated(_table(builder, {4: units, 6: units}))
    subgraphs = repeated(_table(builder, {2: tensors, 3: tensors}))
    builder.Finish(_table(builder, {3: subgraphs}), file_identifier=b"M001")
    return bytes(builder.Output())


def label_metadata(files: Mapping[str, str]) -> bytes:
    """Write the metadata of a model whose output has label files: their names and locales."""
    builder = flatbuffers.Builder(256)
    described = [
        _table(
            builder,
            {
                0: _ref(builder.CreateString(name)),
                2: ("Int8", _AXIS_LABELS),
                3: _ref(builder.CreateString(locale)),
            },
        )
        for name, locale in files.items()
    ]
    tensor = _table(builder, {6: _tables(builder, described)})
    subgraph = _table(builder, {3: _tables(builder, [tensor])})
    builder.Finish(_table(builder, {3: _tables(builder, [subgraph])}), file_identifier=b"M001")
    return bytes(builder.Output())


def _tensor(builder: Any, tensor: Tensor, buffer: int) -> int:
    fields: Fields = {
        0: _ints(builder, tensor.shape),
        1: ("Int8", _TYPES[tensor.dtype]),
        2: ("Uint32", buffer),
        3: _ref(builder.CreateString(tensor.name)),
    }
    if tensor.signature is not None:
        fields[7] = _ints(builder, tensor.signature)
    if tensor.scale:
        zero_points = builder.CreateNumpyVector(np.array([tensor.zero_point], np.int64))
        fields[4] = _ref(
            _table(builder, {2: _floats(builder, [tensor.scale]), 3: _ref(zero_points)})
        )
    return _table(builder, fields)


def _operator_code(builder: Any, operation: Operation) -> int:
    code = _BUILTINS.get(operation.name, _CUSTOM)
    fields: Fields = {
        0: ("Int8", min(code, _OLD_CODE_LIMIT)),
        2: ("Int32", operation.version),
        3: ("Int32", code),
    }
    if code == _CUSTOM:
        fields[1] = _ref(builder.CreateString(operation.name))
    return _table(builder, fields)


def _operation(builder: Any, operation: Operation, code: int, shape: Sequence[int]) -> int:
    fields: Fields = {
        0: ("Uint32", code),
        1: _ints(builder, [operation.input, *operation.constants]),
        2: _ints(builder, [operation.output]),
    }
    if operation.name in _OPTIONS:
        number, options = _OPTIONS[operation.name]
        fields |= {3: ("Uint8", number), 4: _ref(_table(builder, options))}
    if operation.name == "RESHAPE":
        target = _table(builder, {0: _ints(builder, shape)})
        fields |= {3: ("Uint8", _RESHAPE_OPTIONS), 4: _ref(target)}
    return _table(builder, fields)


def _table(builder: Any, fields: Fields) -> int:
    builder.StartObject(max(fields, default=-1) + 1)
    for number, (kind, value) in fields.items():
        getattr(builder, f"Prepend{kind}Slot")(number, value, 0)
    offset: int = builder.EndObject()
    return offset


def _ref(offset: int) -> tuple[str, float]:
    return ("UOffsetTRelative", offset)


def _tables(builder: Any, offsets: Sequence[int]) -> tuple[str, float]:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return _ref(builder.EndVector())


def _ints(builder: Any, values: Sequence[int]) -> tuple[str, float]:
    return _ref(builder.CreateNumpyVector(np.array(values, np.int32)))


def _floats(builder: Any, values: Sequence[float]) -> tuple[str, float]:
    return _ref(builder.CreateNumpyVector(np.array(values, np.float32)))


def nested_metadata(times: int) -> bytes:
    """Write metadata whose vectors name one table `times` each, three of them inside another."""
    builder = flatbuffers.Builder(1024)
    unit = _table(builder, {0: ("Uint8", _SCORE_THRESHOLDING_OPTIONS + 1)})
    tensor = _table(builder, {4: _tables(builder, [unit] * times)})
    fields = {side: _tables(builder, [tensor] * times) for side in (2, 3)}
    subgraph = _table(builder, fields)
    root = _table(builder, {3: _tables(builder, [subgraph] * times)})
    builder.Finish(root, file_identifier=b"M001")
    return bytes(builder.Output())


def repeated_metadata(times: int) -> bytes:
    """Write a model that names its metadata `times`, among as many buffers; it has no graph."""
    builder = flatbuffers.Builder(1024)
    metadata = builder.CreateByteVector(nested_metadata(2))
    buffer = _table(builder, {0: _ref(metadata)})
    entry = {0: _ref(builder.CreateString("TFLITE_METADATA")), 1: ("Uint32", 1)}
    entries = [_table(builder, entry)] * times
    fields = {4: _tables(builder, [buffer] * times), 6: _tables(builder, entries)}
    builder.Finish(_table(builder, {0: ("Uint32", 3), **fields}), file_identifier=b"TFL3")
    return bytes(builder.Output())
