"""An image classifier: a model whose input, output and labels have been checked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.results import Prediction
from edgeclassifier.engine.features import check_no_features
from edgeclassifier.engine.graph import Graph
from edgeclassifier.engine.labels import counted, fit_labels
from edgeclassifier.engine.names import Names
from edgeclassifier.engine.outputs import OutputKind, puts_out_logits, trial_tensors
from edgeclassifier.engine.preprocess import InputSpec
from edgeclassifier.engine.runtime import Interpreter, LoadedModel, has_unset_sides
from edgeclassifier.engine.tensors import TensorLayout
from edgeclassifier.errors import InferenceError, ModelError

_DTYPES = (np.uint8, np.int8, np.float32)


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
        self.graph = Graph(model.interpreter)
        outputs = int(output_details["shape"][-1])
        self._is_sigmoid = outputs == 1
        if self._is_sigmoid:
            _check_two_labels(path, labels, source=labels_source)
        self.labels = fit_labels(labels, max(2, outputs), source=labels_source)
        self.names = Names(self.labels)
        self._top_k = top_k
        self._threshold = threshold
        self.applies_softmax = not self._is_sigmoid and puts_out_logits(
            self.graph,
            output,
            path=path,
            possible=self._stored_scores,
            answers=self._trial_answers,
        )

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Run the interpreter on a tensor 1 x H x W x channels; return what its output stores.

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
        real = self._real(stored)
        if self.applies_softmax:
            return _softmax(real)
        scores: NDArray[np.float32] = real.clip(0, 1)
        return np.append(1 - scores, scores) if self._is_sigmoid else scores

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

    def _real(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        if self._stored_scores is not None:
            return self._stored_scores.take(stored.view(np.uint8))
        # JSON has no word for what a broken float model may answer.
        return np.nan_to_num(stored.astype(np.float32))

    def _trial_answers(self) -> Iterator[NDArray[np.float32]]:
        return (self._real(self.run(tensor)) for tensor in trial_tensors(self.input))


def check_image_classifier(path: Path, interpreter: Interpreter, *, output: str = "auto") -> None:
    """Raise ModelError, with the reason, if the model in `path` does not classify pictures.

    If `output` says what it gives, that is believed.
    """
    _check_input(path, interpreter)
    _check_output(path, interpreter)
    if output == "auto":
        check_no_features(path, interpreter)


def _check_input(path: Path, interpreter: Interpreter) -> tuple[InputSpec, int]:
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise ModelError(f"{path}: {len(inputs)} inputs; an image classifier has one")
    details = inputs[0]
    shape, dtype = [int(n) for n in details["shape"]], np.dtype(details["dtype"])
    signature = [int(n) for n in details.get("shape_signature", shape)]
    if len(signature) == len(shape) and has_unset_sides(signature, shape):
        raise ModelError(
            f"{path}: input shape {signature}: the model leaves height and width open: "
            "set model.input_size to what it was trained with, such as 224"
        )
    rank, channels = 4, {1, 3}
    if len(shape) != rank or shape[0] != 1 or shape[3] not in channels or min(shape) < 1:
        raise ModelError(
            f"{path}: input shape {shape}; expected [1, height, width, 3], or 1 for brightness"
        )
    if dtype not in _DTYPES:
        raise ModelError(f"{path}: input type {dtype}; expected uint8, int8 or float32")
    scale, zero_point = details["quantization"]
    spec = InputSpec(
        height=shape[1],
        width=shape[2],
        dtype=dtype,
        scale=float(scale),
        zero_point=int(zero_point),
        channels=shape[3],
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
    if not shape or int(np.prod(shape)) != shape[-1]:
        raise ModelError(f"{path}: output shape {shape}; expected [1, classes]")
    if shape[-1] == 1 and Graph(interpreter).last_operation() != "LOGISTIC":
        raise ModelError(
            f"{path}: one output without a sigmoid: it estimates a number, or tells nothing apart; "
            "an image classifier has one output for each class, or a sigmoid for two"
        )
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


def _check_two_labels(path: Path, labels: tuple[str, ...], *, source: str) -> None:
    classes = 2
    if len(labels) != classes:
        raise ModelError(
            f"{path}: one output with a sigmoid tells two classes apart, but {source} has "
            f"{counted(len(labels))}: name two, that of the low score first, one a line"
        )


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials: NDArray[np.float32] = np.exp(logits - logits.max())
    exponentials /= exponentials.sum()
    return exponentials
