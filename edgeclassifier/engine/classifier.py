"""An image classifier: a model whose input, output and labels have been checked."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.results import Prediction
from edgeclassifier.engine.labels import fit_labels
from edgeclassifier.engine.names import Names
from edgeclassifier.engine.preprocess import InputSpec
from edgeclassifier.engine.runtime import Interpreter, LoadedModel
from edgeclassifier.engine.tensors import TensorLayout
from edgeclassifier.errors import InferenceError, ModelError

OutputKind = Literal["auto", "probabilities", "logits"]

_DTYPES = (np.uint8, np.int8, np.float32)
_PROBABILITY_OPS = {"SOFTMAX", "LOGISTIC"}
_PASSING_OPS = {"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE"}


class Classifier:
    """Runs one loaded model. Belongs to one thread."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        path: Path,
        labels: tuple[str, ...],
        labels_source: str,
        output: OutputKind = "auto",
        top_k: int = 3,
        threshold: float = 0.0,
    ) -> None:
        """Check that `model`, loaded from `path`, classifies pictures.

        Raises ModelError with the reason if it does not, or if `labels` do not fit.
        """
        self._interpreter = model.interpreter
        self.runtime = model.runtime
        self.threads = model.threads
        self.path = path
        self.input, self._input_index = _check_input(path, model.interpreter)
        output_details = _check_output(path, model.interpreter)
        self.layout = TensorLayout.of(model.interpreter)
        """What another build of the same network must take and give."""
        self._output_index: int = output_details["index"]
        self._stored_scores = _dequantization_table(output_details)
        self.labels = fit_labels(labels, int(output_details["shape"][-1]), source=labels_source)
        self.names = Names(self.labels)
        self._top_k = top_k
        self._threshold = threshold
        self.applies_softmax = self._is_logits(output)

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Run the interpreter on a tensor of 1 x H x W x 3; return what its output stores.

        Raises InferenceError if the interpreter fails.
        """
        try:
            self._interpreter.set_tensor(self._input_index, tensor)
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output_index).reshape(-1)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InferenceError(f"{self.path}: the model does not run: {reason}") from None

    def scores(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return one score from 0 to 1 for each label, for what run() returned."""
        if self._stored_scores is None:
            # JSON has no word for what a broken float model may answer.
            real = np.nan_to_num(stored.astype(np.float32))
        else:
            real = self._stored_scores.take(stored.view(np.uint8))
        return _softmax(real) if self.applies_softmax else real.clip(0, 1)

    def invoke(self, tensor: NDArray[Any]) -> NDArray[np.float32]:
        """Return the scores for a tensor: run() and scores() in one."""
        return self.scores(self.run(tensor))

    def invoke_again(self) -> None:
        """Run the interpreter on the tensor it holds, and nothing else: the bare cost."""
        self._interpreter.invoke()

    def top(self, scores: NDArray[np.float32]) -> tuple[Prediction, ...]:
        """Return the best classes whose score reaches the threshold, ties in order of class id."""
        order = np.argsort(-scores, kind="stable")[: self._top_k]
        return tuple(
            Prediction(
                rank=rank,
                class_id=int(class_id),
                name=self.names.all[class_id],
                label=self.labels[class_id],
                score=float(scores[class_id]),
            )
            for rank, class_id in enumerate(order, 1)
            if scores[class_id] >= self._threshold
        )

    def _is_logits(self, output: OutputKind) -> bool:
        if output != "auto":
            return output == "logits"
        last = _last_operation(self._interpreter, self._output_index)
        if last in _PROBABILITY_OPS:
            return False
        if self._stored_scores is not None:
            possible = self._stored_scores
            step = float(abs(possible[1] - possible[0]))
        else:
            # A float model's range is not written down: look at an answer.
            blank = np.zeros((1, self.input.height, self.input.width, 3), self.input.dtype)
            possible, step = self.run(blank), 0.0
        return bool(possible.min() < -step or possible.max() > 1 + step)


def check_image_classifier(path: Path, interpreter: Interpreter) -> None:
    """Raise ModelError, with the reason, where the model in `path` does not classify pictures."""
    _check_input(path, interpreter)
    _check_output(path, interpreter)


def _check_input(path: Path, interpreter: Interpreter) -> tuple[InputSpec, int]:
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise ModelError(f"{path}: {len(inputs)} inputs; an image classifier has one")
    details = inputs[0]
    shape, dtype = [int(n) for n in details["shape"]], np.dtype(details["dtype"])
    rank, rgb = 4, 3
    if len(shape) != rank or shape[0] != 1 or shape[3] != rgb or min(shape) < 1:
        raise ModelError(f"{path}: input shape {shape}; expected [1, height, width, 3]")
    if dtype not in _DTYPES:
        raise ModelError(f"{path}: input type {dtype}; expected uint8, int8 or float32")
    scale, zero_point = details["quantization"]
    spec = InputSpec(
        height=shape[1], width=shape[2], dtype=dtype, scale=float(scale), zero_point=int(zero_point)
    )
    return spec, int(details["index"])


def _check_output(path: Path, interpreter: Interpreter) -> dict[str, Any]:
    outputs = interpreter.get_output_details()
    shapes = [[int(n) for n in each["shape"]] for each in outputs]
    if len(outputs) != 1:
        kind = " (a detection model?)" if len(outputs) in {3, 4} else ""
        raise ModelError(
            f"{path}: {len(outputs)} outputs {shapes}{kind}; an image classifier has one"
        )
    shape, dtype = shapes[0], np.dtype(outputs[0]["dtype"])
    fewest = 2
    if not shape or shape[-1] < fewest or int(np.prod(shape)) != shape[-1]:
        raise ModelError(f"{path}: output shape {shape}; expected [1, classes]")
    if dtype not in _DTYPES:
        raise ModelError(f"{path}: output type {dtype}; expected uint8, int8 or float32")
    details: dict[str, Any] = outputs[0]
    return details


def _dequantization_table(output: dict[str, Any]) -> NDArray[np.float32] | None:
    """Return the real value of each byte that the output may store; None for a float output."""
    dtype = np.dtype(output["dtype"])
    if dtype.kind == "f":
        return None
    scale, zero_point = output["quantization"]
    # Wider than a byte, because uint8 minus a zero point wraps around below zero.
    stored = np.arange(256, dtype=np.uint8).view(dtype).astype(np.int64)
    table: NDArray[np.float32] = ((stored - zero_point) * (scale or 1.0)).astype(np.float32)
    return table


def _last_operation(interpreter: Any, tensor_index: int) -> str | None:
    """Name the operation that computes the output, behind those that only change its form."""
    # Both packages have it, neither documents it: where it goes, the output's range decides.
    list_operations = getattr(interpreter, "_get_ops_details", None)
    if list_operations is None:
        return None
    try:
        operations = [each for each in list_operations() if each["op_name"] != "DELEGATE"]
    except UnicodeDecodeError:
        return None  # a tensor's name is damaged, which harms nothing else
    for operation in reversed(operations):
        if tensor_index in operation["outputs"]:
            name: str = operation["op_name"]
            if name not in _PASSING_OPS:
                return name
            tensor_index = operation["inputs"][0]
    return None


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials: NDArray[np.float32] = np.exp(logits - logits.max())
    exponentials /= exponentials.sum()
    return exponentials
