"""What the tensors of a model look like."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.engine.runtime import Interpreter


@plain_data
class TensorForm(Plain):
    """Shape, type and quantization of one tensor; a scale of 0 means not quantized."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def __str__(self) -> str:
        """Return the form as people write it."""
        sides = "x".join(map(str, self.shape))
        return f"{self.dtype} {sides} (scale {self.scale:g}, zero point {self.zero_point})"

    @property
    def size_bytes(self) -> int:
        """The size of the tensor in memory."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Self:
        """Read the form from an interpreter's details of a tensor."""
        scale, zero_point = details["quantization"]
        return cls(
            shape=tuple(int(side) for side in details["shape"]),
            dtype=np.dtype(details["dtype"]).name,
            scale=float(scale),
            zero_point=int(zero_point),
        )


@plain_data
class TensorLayout(Plain):
    """The input and the output of a model that has one of each."""

    input: TensorForm
    output: TensorForm

    @classmethod
    def of(cls, interpreter: Interpreter) -> Self:
        """Read the layout of a loaded image classifier."""
        (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        return cls(input=TensorForm.of(source), output=TensorForm.of(result))

    @classmethod
    def from_fields(cls, fields: Mapping[str, Mapping[str, Any]]) -> Self:
        """Rebuild a layout from its fields, after they went through JSON."""
        return cls(
            **{
                name: TensorForm(**{**form, "shape": tuple(form["shape"])})
                for name, form in fields.items()
            }
        )

    def difference(self, interpreter: Interpreter) -> str | None:
        """Say how the tensors of a loaded model differ from this layout; None if they do not."""
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            return f"{len(inputs)} inputs and {len(outputs)} outputs instead of one each"
        for name, details, expected in (
            ("input", inputs[0], self.input),
            ("output", outputs[0], self.output),
        ):
            form = TensorForm.of(details)
            if form != expected:
                return f"{name} {form} instead of {expected}"
        return None
