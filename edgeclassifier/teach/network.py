"""The network of a base model: cut before its last layer, and with a new layer in its place.

Works on the objects of TFLite's schema, which ai-edge-litert brings; tflite-runtime does not.
"""

from pathlib import Path
from typing import Any, NoReturn

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import ModelError, TeachingError

_SAME_VALUES = ("SOFTMAX", "QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE")
"""What may stand behind the last layer."""
_HEADS = ("FULLY_CONNECTED", "CONV_2D")
_IDENTIFIER = b"TFL3"
_METADATA = "TFLITE_METADATA"
_ROOM_BYTES = 1 << 16
_EXTERNAL_DATA = 1
"""A buffer with a larger offset has its data outside of the flatbuffer: models above 2 GB."""


@plain_data
class Head(Plain):
    """The last layer: softmax(weights x features + bias), one score for each class."""

    weights: NDArray[np.float32]
    """Classes x features."""
    bias: NDArray[np.float32]
    of_roots: bool = False
    """Whether it takes the square roots of the features, which are not negative then."""
    of_directions: bool = False
    """Whether it takes what it takes at the length 1."""


class Network:
    """A base model without its last layer."""

    def __init__(self, content: bytes, *, path: Path) -> None:
        """Cut the model `content`, read from `path`.

        Raises ModelError if it does not end in a layer that can be replaced, and TeachingError
        without ai-edge-litert.
        """
        self._schema = _import_schema()
        self._path = path
        try:
            root = self._schema.Model.GetRootAs(content, 0)
            self._model = self._schema.ModelT.InitFromObj(root)
            self._cut()
        except (ValueError, IndexError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: cannot be cut: it is damaged ({error})") from None
        except Exception as error:
            # What flatbuffers and struct raise on damaged offsets.
            if type(error).__module__.partition(".")[0] not in {"struct", "flatbuffers"}:
                raise
            raise ModelError(f"{path}: cannot be cut: it is damaged ({error})") from None

    def features(self) -> bytes:
        """Return the model that gives the features of a picture, as they are stored."""
        return self._packed(self._model)

    def with_head(self, head: Head, *, metadata: bytes) -> bytes:
        """Return the model that gives one probability for each class, as float32.

        `metadata` is what the file says of itself, as TFLite's metadata schema has it.
        """
        layers = _Layers(self._schema, self._model)
        tensor, graph = self._feature_index, layers.graph
        shape = [int(each) for each in graph.tensors[tensor].shape]
        if graph.tensors[tensor].type != self._schema.TensorType.FLOAT32:
            tensor = layers.then("DEQUANTIZE", [tensor], shape)
        if head.of_roots:
            tensor = layers.then("RELU", [tensor], shape)
            tensor = layers.then("SQRT", [tensor], shape)
        if head.of_directions:
            length = self._schema.L2NormOptionsT()
            tensor = layers.then("L2_NORMALIZATION", [tensor], shape, length)
        row = [1, len(head.bias)]
        given = [tensor, layers.constant(head.weights), layers.constant(head.bias)]
        options = self._schema.FullyConnectedOptionsT()
        tensor = layers.then("FULLY_CONNECTED", given, row, options)
        softmax = self._schema.SoftmaxOptionsT()
        softmax.beta = 1.0
        graph.outputs = [layers.then("SOFTMAX", [tensor], row, softmax)]
        layers.describe(metadata)
        return self._packed(layers.model)

    def _cut(self) -> None:
        model, schema = self._model, self._schema
        if len(model.subgraphs) != 1:
            self._refuse(f"it has {len(model.subgraphs)} graphs")
        if any((each.offset or 0) > _EXTERNAL_DATA for each in model.buffers):
            self._refuse("its weights lie outside of its graph")
        graph = self._graph = model.subgraphs[0]
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            self._refuse("it has more than one input or output")
        made_by = {int(out): each for each in graph.operators for out in each.outputs}
        tensor = int(graph.outputs[0])
        while True:
            operation = made_by.get(tensor)
            if operation is None:
                self._refuse("no layer with weights was found before its output")
            name = _name(schema, model, operation)
            if name in _HEADS:
                break
            if name not in _SAME_VALUES:
                self._refuse(_ends_in(name))
            tensor = int(operation.inputs[0])
        features = self._feature_index = int(operation.inputs[0])
        if features not in made_by:
            self._refuse("its only layer takes the picture itself")
        self._check_head(name, operation)
        needed = _behind(features, made_by)
        graph.operators = [each for each in graph.operators if id(each) in needed]
        graph.outputs = [features]
        kept = {
            int(each) for operator in graph.operators for each in operator.inputs if each >= 0
        } | {int(graph.inputs[0])}
        used = {graph.tensors[each].buffer for each in kept}
        # The weights that were cut off, and what the old file says of itself.
        for index, each in enumerate(graph.tensors):
            if index not in kept and each.buffer not in used:
                each.buffer = 0
        model.metadata = [
            each
            for each in model.metadata or []
            if each.name not in (_METADATA, _METADATA.encode())
        ]
        # A list of older files: NumPy's, or None.
        model.metadataBuffer = None
        used |= {each.buffer for each in model.metadata} | {0}
        for index, each in enumerate(model.buffers):
            if index not in used:
                each.data = None
        model.signatureDefs = None

    def _check_head(self, name: str, operation: Any) -> None:
        tensors = self._graph.tensors
        self.classes = int(tensors[int(operation.inputs[1])].shape[0])
        """How many the base has."""
        shape = [int(each) for each in tensors[self._feature_index].shape]
        weights = [int(each) for each in tensors[int(operation.inputs[1])].shape]
        rank_of_maps = 4
        if name == "CONV_2D":
            if len(weights) != rank_of_maps or weights[1:3] != [1, 1]:
                self._refuse(f"its last layer is a convolution of {weights[1]}x{weights[2]}")
            if len(shape) != rank_of_maps or shape[1:3] != [1, 1]:
                self._refuse("its last layer is a convolution of a map, not of one row of features")
        types = self._schema.TensorType
        if tensors[self._feature_index].type not in {types.FLOAT32, types.INT8, types.UINT8}:
            self._refuse("its features are neither float32, int8 nor uint8")

    def _refuse(self, reason: str) -> NoReturn:
        raise ModelError(
            f"{self._path}: cannot be taught: {reason}; a base ends in FULLY_CONNECTED or a 1x1 "
            "CONV_2D before its softmax, as Inception, MobileNet v1/v2 and EfficientNet-Lite do"
        )

    def _packed(self, model: Any) -> bytes:
        size = sum(len(each.data) for each in model.buffers if each.data is not None)
        builder = flatbuffers.Builder(size + _ROOM_BYTES)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())


class _Layers:
    """Appends operations to a model; what it does not append to is shared with the original."""

    def __init__(self, schema: Any, model: Any) -> None:
        self._schema = schema
        self.model = _shallow(model)
        self.graph = _shallow(model.subgraphs[0])
        self.model.subgraphs = [self.graph]
        self.model.operatorCodes = list(model.operatorCodes)
        self.model.buffers = list(model.buffers)
        self.model.metadata = list(model.metadata or [])
        self.graph.tensors = list(self.graph.tensors)
        self.graph.operators = list(self.graph.operators)

    def constant(self, values: NDArray[np.float32]) -> int:
        """Add a tensor with values; return its index."""
        data = np.ascontiguousarray(values, np.dtype("<f4"))
        return self._tensor(list(values.shape), self._buffer(data.view(np.uint8).reshape(-1)))

    def then(self, kind: str, inputs: list[int], shape: list[int], options: Any = None) -> int:
        """Add an operation; return the index of its output, float32 of `shape`."""
        added = self._schema.OperatorT()
        added.opcodeIndex = self._code(kind)
        added.inputs, added.outputs = inputs, [self._tensor(shape, 0)]
        if options is not None:
            named = type(options).__name__.removesuffix("T")
            added.builtinOptionsType = getattr(self._schema.BuiltinOptions, named)
            added.builtinOptions = options
        self.graph.operators.append(added)
        return int(added.outputs[0])

    def describe(self, metadata: bytes) -> None:
        """Add what the file says of itself."""
        entry = self._schema.MetadataT()
        entry.name = _METADATA
        entry.buffer = self._buffer(np.frombuffer(metadata, np.uint8))
        self.model.metadata.append(entry)

    def _tensor(self, shape: list[int], buffer: int) -> int:
        added = self._schema.TensorT()
        number = len(self.graph.tensors)
        added.name, added.shape, added.buffer = f"taught/{number}", shape, buffer
        added.type = self._schema.TensorType.FLOAT32
        self.graph.tensors.append(added)
        return number

    def _buffer(self, data: NDArray[np.uint8]) -> int:
        added = self._schema.BufferT()
        added.data = data
        self.model.buffers.append(added)
        return len(self.model.buffers) - 1

    def _code(self, kind: str) -> int:
        """Return the index of an operation's code, which is appended if it is not there."""
        number = getattr(self._schema.BuiltinOperator, kind)
        # Version 1 of all takes float32; DEQUANTIZE takes int8 since version 2.
        version = 2 if kind == "DEQUANTIZE" else 1
        codes = self.model.operatorCodes
        for index, each in enumerate(codes):
            if _number(each) == number and each.version == version:
                return index
        added = self._schema.OperatorCodeT()
        added.builtinCode = added.deprecatedBuiltinCode = number
        added.version = version
        codes.append(added)
        return len(codes) - 1


def _import_schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise TeachingError(
            "teaching needs the package ai-edge-litert: pip install ai-edge-litert; the model that "
            "it makes runs with tflite-runtime, too"
        ) from None
    return schema_py_generated


def _ends_in(name: str) -> str:
    if "edgetpu" in name:
        return "it is compiled for the Edge TPU: name the model that it was compiled from"
    return f"it ends in {name}"


def _name(schema: Any, model: Any, operation: Any) -> str:
    code = model.operatorCodes[operation.opcodeIndex]
    number = _number(code)
    if number == schema.BuiltinOperator.CUSTOM:
        return bytes(code.customCode or b"").decode(errors="replace") or "CUSTOM"
    names = vars(schema.BuiltinOperator).items()
    return next((name for name, value in names if value == number), f"operation {number}")


def _number(code: Any) -> int:
    """Return which operation a code means: it was one byte once."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _behind(tensor: int, made_by: dict[int, Any]) -> set[int]:
    """Return the ids of the operations that a tensor depends on."""
    needed: set[int] = set()
    waiting = [tensor]
    while waiting:
        operation = made_by.get(waiting.pop())
        if operation is not None and id(operation) not in needed:
            needed.add(id(operation))
            waiting.extend(int(each) for each in operation.inputs)
    return needed


def _shallow(each: Any) -> Any:
    copy = object.__new__(type(each))
    copy.__dict__.update(each.__dict__)
    return copy
