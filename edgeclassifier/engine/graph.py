"""What the operations of a loaded model say of its input and its output."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.engine.runtime import Interpreter

_SAME_VALUES = {"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST", "EXPAND_DIMS"}
"""Operations that change the form of a tensor, not what it means."""
_SAME_PIXELS = _SAME_VALUES | {
    "PAD",
    "PADV2",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
}
_ARITHMETIC = {"ADD", "SUB", "MUL", "DIV"}


class Graph:
    """The operations of a model with their constants; empty if the runtime does not list them."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._operations = _list_operations(interpreter)
        self.input: int = interpreter.get_input_details()[0]["index"]
        self.input_name = str(interpreter.get_input_details()[0].get("name", ""))
        self.output: int = interpreter.get_output_details()[0]["index"]

    def last_operation(self) -> str | None:
        """Name the operation that computes the output, behind those that only change its form."""
        return next((each["op_name"] for each in self._backwards()), None)

    def last_weights(self) -> NDArray[Any] | None:
        """Return the weights [outputs, inputs] of the last FULLY_CONNECTED, behind the softmax."""
        for each in self._backwards():
            if each["op_name"] == "FULLY_CONNECTED":
                return self._constant(each["inputs"][1])
            if each["op_name"] not in {"SOFTMAX", "LOGISTIC"}:
                return None
        return None

    def input_arithmetic(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return factor and offset that the model applies to its input itself, for each channel.

        None if it begins with something else.
        """
        factor, offset, found = np.ones(1), np.zeros(1), False
        for operation, tensor in self._forwards():
            name = operation["op_name"]
            if name not in _ARITHMETIC:
                break
            first, second = (int(each) for each in operation["inputs"][:2])
            value = self._constant(second if first == tensor else first)
            if value is None or value.size not in {1, 3}:
                break
            value = value.reshape(-1).astype(np.float64)
            if name in {"ADD", "SUB"}:
                if name == "SUB" and first != tensor:
                    factor, offset = -factor, -offset
                    name = "ADD"
                offset = offset + value if name == "ADD" else offset - value
            elif name == "MUL":
                factor, offset = factor * value, offset * value
            elif first == tensor and value.all():
                factor, offset = factor / value, offset / value
            else:
                break
            found = True
        return (factor, offset) if found else None

    def first_filters(self) -> NDArray[Any] | None:
        """Return the weights [filters, height, width, channels] of a convolution of the input."""
        for operation, _tensor in self._forwards():
            if operation["op_name"] == "CONV_2D":
                return self._constant(operation["inputs"][1])
            if operation["op_name"] not in _ARITHMETIC:
                break
        return None

    def _forwards(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Follow the input through the operations that alone use it, with the tensor they use."""
        tensor = self.input
        for _ in self._operations:
            users = [each for each in self._operations if tensor in each["inputs"]]
            if len(users) != 1:
                return
            if users[0]["op_name"] not in _SAME_PIXELS:
                yield users[0], tensor
            tensor = int(users[0]["outputs"][0])

    def _backwards(self) -> Iterator[dict[str, Any]]:
        """Follow the first input of each operation, from the output on."""
        tensor = self.output
        for operation in reversed(self._operations):
            if tensor in operation["outputs"]:
                if operation["op_name"] not in _SAME_VALUES:
                    yield operation
                tensor = int(operation["inputs"][0])

    def _constant(self, tensor: int) -> NDArray[Any] | None:
        for operation in self._operations:
            if tensor in operation["outputs"]:
                # Weights of half the size are unpacked at run time.
                if operation["op_name"] != "DEQUANTIZE":
                    return None
                tensor = int(operation["inputs"][0])
        if tensor == self.input:
            return None
        try:
            value: NDArray[Any] = self._interpreter.get_tensor(tensor)
        except ValueError:
            return None
        return value if value.dtype.kind == "f" else None


def _list_operations(interpreter: Any) -> list[dict[str, Any]]:
    # Both packages have it, neither documents it: where it goes, the model's answers decide.
    list_operations = getattr(interpreter, "_get_ops_details", None)
    if list_operations is None:
        return []
    try:
        return [each for each in list_operations() if each["op_name"] != "DELEGATE"]
    except UnicodeDecodeError:
        return []  # a tensor's name is damaged, which harms nothing else
