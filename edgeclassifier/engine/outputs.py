"""Whether a model puts out probabilities or logits: its graph first, its answers second."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.engine.graph import Graph
from edgeclassifier.engine.preprocess import InputSpec
from edgeclassifier.errors import ModelError

log = logging.getLogger(__name__)

OutputKind = Literal["auto", "probabilities", "logits"]

_PROBABILITIES = {"SOFTMAX", "LOGISTIC"}
_LOGITS = {"FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL", "ADD", "LOG_SOFTMAX"}
_TOLERANCE = 0.02
"""By which probabilities may leave 0 to 1, and their sum 1: more than an 8-bit output rounds."""


def puts_out_logits(
    graph: Graph,
    configured: OutputKind,
    *,
    path: Path,
    possible: NDArray[np.float32] | None,
    answers: Callable[[], Iterator[NDArray[np.float32]]],
) -> bool:
    """Tell whether softmax is to be applied.

    `possible` lists what a quantized output can hold, `answers` are real outputs for several
    pictures. Raises ModelError if `configured` says "probabilities" and the answers are none.
    """
    last = graph.last_operation()
    if configured == "logits":
        if last in _PROBABILITIES:
            log.warning(
                '%s: model.output = "logits", but its last operation, %s, puts out probabilities: '
                'all scores come closer to each other; "auto" leaves them as they are',
                path,
                last,
            )
        return True
    if last in _PROBABILITIES:
        return False
    if configured == "probabilities":
        if last in _LOGITS:
            _check_probabilities(path, last, answers())
        return False
    if last in _LOGITS:
        return True
    if possible is not None:
        step = float(abs(possible[1] - possible[0]))
        return bool(possible.min() < -step or possible.max() > 1 + step)
    return any(_fault(each) for each in answers())


def trial_tensors(spec: InputSpec) -> Iterator[NDArray[Any]]:
    """Make inputs to try a model with: blank, and noise as strong as each usual normalization."""
    shape = (1, spec.height, spec.width, spec.channels)
    yield np.zeros(shape, spec.dtype)
    noise = np.random.default_rng(0)
    if spec.dtype.kind == "f":
        for low, high in ((0, 1), (-1, 1), (0, 255)):
            yield noise.uniform(low, high, shape).astype(spec.dtype)
    else:
        limits = np.iinfo(spec.dtype)
        yield noise.integers(limits.min, limits.max, shape, spec.dtype, endpoint=True)


def _fault(answer: NDArray[np.float32]) -> str | None:
    """Say why outputs are no probabilities of classes that exclude each other."""
    low, high, total = float(answer.min()), float(answer.max()), float(answer.sum())
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        return f"it puts out {low:.3g} to {high:.3g}"
    return None if abs(total - 1) <= _TOLERANCE else f"its outputs sum to {total:.3g}"


def _check_probabilities(path: Path, last: str, answers: Iterator[NDArray[np.float32]]) -> None:
    fault = next((fault for each in answers if (fault := _fault(each))), None)
    if fault is not None:
        raise ModelError(
            f'{path}: model.output = "probabilities", but {fault}, and its last operation is '
            f'{last}: set model.output to "auto" or "logits"'
        )
