"""What shows that a model with the form of an image classifier is none: it gives features."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.engine.graph import Graph
from edgeclassifier.engine.runtime import Interpreter
from edgeclassifier.errors import ModelError

_PROBABILITIES = {"SOFTMAX", "LOGISTIC", "LOG_SOFTMAX"}
_OF_FEATURES = {
    "L2_NORMALIZATION",
    "MEAN",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "REDUCE_MAX",
    "RELU",
    "RELU6",
    "HARD_SWISH",
    "TANH",
}
"""What ends a network whose head was cut off, or that compares pictures."""
_RANK_OF_MAPS = 4

_TRIES = 3
_FEWEST_FEATURES = 8
"""A vector shorter than that may have the length 1 by chance."""
_TOLERANCE = 0.03


def check_no_features(path: Path, interpreter: Interpreter) -> None:
    """Raise ModelError if the model in `path`, with one input and one output, gives features.

    Those are an embedding, a style vector, or the input of a classifier that was cut off. The
    interpreter may be run a few times.
    """
    output = interpreter.get_output_details()[0]
    last = Graph(interpreter).last_operation()
    if last in _PROBABILITIES:
        return
    reason = None
    if last in _OF_FEATURES:
        reason = f"its last operation is {last}"
    elif last == "CONV_2D" and len(output["shape"]) == _RANK_OF_MAPS:
        reason = "its last operation is a convolution, without a softmax or a reshape behind it"
    elif last is not None and _has_length_1(interpreter, output):
        reason = "its output has the length 1 whatever the picture"
    if reason is not None:
        raise ModelError(
            f"{path}: gives features of a picture (an embedding or a style vector?), not scores of "
            f"classes: {reason}; if they are scores, set model.output to probabilities or logits"
        )


def _has_length_1(interpreter: Interpreter, output: dict[str, Any]) -> bool:
    """Tell whether the answers to random pictures are unit vectors with negative parts."""
    if int(np.prod(output["shape"])) < _FEWEST_FEATURES:
        return False
    given = interpreter.get_input_details()[0]
    random = np.random.default_rng(0)
    answers = []
    with contextlib.suppress(RuntimeError, ValueError):  # what does not run is refused elsewhere
        for _ in range(_TRIES):
            interpreter.set_tensor(given["index"], _picture(random, given))
            interpreter.invoke()
            answers.append(_real(interpreter.get_tensor(output["index"]), output))
    return len(answers) == _TRIES and all(
        each.min() < 0 and abs(float(np.linalg.norm(each)) - 1) < _TOLERANCE for each in answers
    )


def _picture(random: "np.random.Generator", given: dict[str, Any]) -> NDArray[Any]:
    shape, dtype = given["shape"], np.dtype(given["dtype"])
    lowest, highest = (-1, 1) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    picture: NDArray[Any] = random.uniform(lowest, highest, shape).astype(dtype)
    return picture


def _real(stored: NDArray[Any], output: dict[str, Any]) -> NDArray[np.float64]:
    scale, zero_point = output["quantization"]
    values: NDArray[np.float64] = stored.astype(np.float64)
    return values if stored.dtype.kind == "f" else (values - zero_point) * (scale or 1.0)
