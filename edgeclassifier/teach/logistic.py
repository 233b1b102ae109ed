"""Multinomial logistic regression in NumPy, and the temperature that calibrates its scores."""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

_L2 = 3e-4
_STEPS = 100
_POWER_STEPS = 20
_LOGIT_CURVATURE = 0.5
"""The largest second derivative of the loss by a logit."""
_COLDEST, _HOTTEST = 0.02, 20.0
_TEMPERATURE_STEPS = 60
_GOLDEN = (5**0.5 - 1) / 2


class Regression:
    """Learns from parts of one set of examples, for which what they share is computed once."""

    def __init__(self, features: Matrix, classes: NDArray[np.intp], *, count: int) -> None:
        """Take examples x features, and the class of each, below `count`."""
        rows, columns = features.shape
        self._basis: Matrix | None = None
        if rows < columns:
            # The weights are sums of examples, so the space of the examples is enough.
            self._basis = np.linalg.qr(features.T)[0].astype(np.float32)
            features = features @ self._basis
        self._features = features
        self._classes = classes
        self._targets = np.eye(count, dtype=np.float32)[classes]

    def learn(self, part: NDArray[np.bool_]) -> tuple[Matrix, Matrix]:
        """Learn from the examples in `part`; return weights, classes x features, and bias.

        Every class counts the same, however many examples it has.
        """
        counts = np.bincount(self._classes[part], minlength=self._targets.shape[1])
        filled = max(1, int(np.count_nonzero(counts)))
        shares = 1 / (filled * np.maximum(counts, 1))[self._classes]
        importance = (shares * part).astype(np.float32)[:, np.newaxis]
        centre = (importance * self._features).sum(axis=0)
        centred = self._features - centre
        spread = float(np.sqrt((importance * centred**2).sum())) or 1.0
        centred /= np.float32(spread)
        weights, bias = _descend(centred, self._targets, importance)
        weights = weights / np.float32(spread)
        bias = bias - centre @ weights
        if self._basis is not None:
            weights = self._basis @ weights
        return np.ascontiguousarray(weights.T), bias


def _descend(features: Matrix, targets: Matrix, importance: Matrix) -> tuple[Matrix, Matrix]:
    """Minimize the loss by accelerated gradient descent that starts again where it overshoots."""
    steepest = _LOGIT_CURVATURE * (_largest_variance(features, importance) + 1) + _L2
    step = np.float32(1 / steepest)
    weights: Matrix = np.zeros((features.shape[1], targets.shape[1]), np.float32)
    bias: Matrix = np.zeros(targets.shape[1], np.float32)
    before, bias_before = weights, bias
    age = 1
    for _ in range(_STEPS):
        momentum = np.float32((age - 1) / (age + 2))
        ahead = weights + momentum * (weights - before)
        bias_ahead = bias + momentum * (bias - bias_before)
        error = (softmax(features @ ahead + bias_ahead) - targets) * importance
        slope = features.T @ error + np.float32(_L2) * ahead
        before, bias_before = weights, bias
        weights, bias = ahead - step * slope, bias_ahead - step * error.sum(axis=0)
        age = 1 if float((slope * (weights - before)).sum()) > 0 else age + 1
    return weights, bias


def _largest_variance(features: Matrix, importance: Matrix) -> float:
    random = np.random.default_rng(0).standard_normal((1, features.shape[1]), np.float32)
    direction: Matrix = random[0]
    length = float(np.linalg.norm(direction))
    for _ in range(_POWER_STEPS):
        direction = features.T @ (importance[:, 0] * (features @ (direction / np.float32(length))))
        length = float(np.linalg.norm(direction))
        if not length:
            break
    return length


def softmax(logits: Matrix) -> Matrix:
    """Return probabilities for rows of logits."""
    exponentials: Matrix = np.exp(logits - logits.max(axis=1, keepdims=True))
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials


def temperature(logits: Matrix, classes: NDArray[np.intp]) -> float:
    """Return by what logits are divided so that a score says how often the answer is right.

    Even if all answers are right, no certainty follows: as many again may hold one that is wrong.
    """
    if not len(logits):
        return 1.0
    rows, count = logits.shape
    doubt = 1 / (rows + 2)
    targets = np.full((rows, count), doubt / max(1, count - 1))
    targets[np.arange(rows), classes] = 1 - doubt

    def loss(log_temperature: float) -> float:
        scores = softmax(logits.astype(np.float64) / np.exp(log_temperature))
        return float(-(targets * np.log(np.maximum(scores, 1e-12))).sum())

    low, high = float(np.log(_COLDEST)), float(np.log(_HOTTEST))
    for _ in range(_TEMPERATURE_STEPS):
        inner = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(inner[0]) < loss(inner[1]):
            high = inner[1]
        else:
            low = inner[0]
    return float(np.exp((low + high) / 2))
