"""Which pixels a float model that says nothing was trained with: its graph, and its answers.

0 to 255 can be told from the others with certainty. 0 to 1 and -1 to 1 differ by brightness and
contrast alone, which a good model hardly minds: what is chosen then is chosen with a warning.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.graph import Graph
from edgeclassifier.engine.normalization import USUAL, Choice, in_words
from edgeclassifier.engine.preprocess import Normalization, Preprocessor
from edgeclassifier.errors import PixelsError

_LIMITS = {"0 to 255": (0.0, 255.0), "0 to 1": (0.0, 1.0), "-1 to 1": (-1.0, 1.0)}
_RAW, _POSITIVE, _SIGNED = USUAL

_INDIFFERENT = 0.1
"""Answers to different pictures that differ less than this say that the pictures are not seen."""
_CLEARLY = 5.0
_WEAK_FILTERS = 0.05
"""Norm of the filters of a first convolution; 0.4 to 7 if trained on pixels of about 1, and 0.002
to 0.02 if a division by 127.5 or 255 was folded into them."""
_BETTER = 1.2

_KNOWN = ((0, 1), (-1, 1), (-0.5, 0.5), (-2.118, 2.249), (-2.036, 2.429), (-1.804, 2.640),
          (-127.5, 127.5), (-103.94, 151.06), (-116.78, 138.22), (-123.68, 131.32))  # fmt: skip
"""What networks are trained on: the usual ranges, and those of ImageNet's mean and deviation."""

_IMAGENET_CLASSES = {1000: 0, 1001: 1}
"""Number of classes, and of the first one that is not the background."""
IMAGENET_PICTURES = {"chelsea.png": (281, 282, 285), "coffee.png": (504, 967, 968)}
"""Classes of ImageNet that are right for a sample picture."""
_RECOGNIZED = 0.1

Answers = Mapping[str, NDArray[np.float32]]
"""For each candidate one row of scores for each picture."""


def examine(path: Path, classifier: Classifier, pictures: Mapping[str, Pixels]) -> Choice:
    """Find out by its graph and by trying `pictures`, by file name, what the model wants.

    Raises PixelsError, with what to set, if that remains unclear.
    """
    found = next(_certain(classifier, classifier.graph), None)
    if found is None:
        answers = {
            name: _answers(classifier, normalization, pictures.values())
            for name, normalization in USUAL.items()
        }
        found = next(_by_answers(classifier, answers, list(pictures)), None)
    if found is None:
        raise PixelsError(
            f"{path}: the model does not say how its pixels are normalized, and its answers to the "
            f"sample pictures do not show it: {_what_to_set()}"
        )
    name, reason, doubtful = found
    if not doubtful:
        return Choice(normalization=USUAL[name], reason=f"takes pixels from {name}: {reason}")
    others = {other: each for other, each in USUAL.items() if other not in {name, _RAW}}
    other, instead = next(iter(others.items()))
    return Choice(
        normalization=USUAL[name],
        doubt=f"does not say how its pixels are normalized: taken for {name}, because {reason}. "
        f"If its answers are wrong, set {in_words(instead)} ({other}); if they are right, "
        f"{in_words(USUAL[name])} ends this warning",
    )


_Finding = tuple[str, str, bool]
"""A candidate, why, and whether that is doubtful."""


def _certain(classifier: Classifier, graph: Graph) -> Iterator[_Finding]:
    arithmetic = graph.input_arithmetic()
    if arithmetic is not None:
        name = _range_before(*arithmetic)
        if name is not None:
            yield name, "it begins with the arithmetic that scales them itself", False
    filters = graph.first_filters()
    if filters is not None and filters.size:
        factor = 1.0 if arithmetic is None else float(np.abs(arithmetic[0]).mean())
        norm = factor * float(np.sqrt((filters.astype(np.float64) ** 2).sum((1, 2, 3))).mean())
        if norm <= _WEAK_FILTERS:
            yield _RAW, "the filters of its first convolution are made for large numbers", False
    weights = graph.last_weights()
    hidden = 100
    if (
        re.search(r"sequential_\d+_input", graph.input_name)
        and weights is not None
        and weights.shape[-1] == hidden
        and (classifier.input.height, classifier.input.width) == (224, 224)
    ):
        yield _SIGNED, "it has the form of an export of Teachable Machine", False


def _by_answers(
    classifier: Classifier, answers: Answers, pictures: Sequence[str]
) -> Iterator[_Finding]:
    spread = {name: _spread(scores) for name, scores in answers.items()}
    others = max(spread[_POSITIVE], spread[_SIGNED])
    if spread[_SIGNED] < _INDIFFERENT <= spread[_RAW] and spread[_RAW] >= _CLEARLY * others:
        said = f"its answers to the sample pictures differ by {spread[_RAW]:.2f}, not {others:.2f}"
        yield _RAW, said, False
    if classifier.graph.input_name == "serving_default_x:0":
        yield _POSITIVE, "its input is named as Edge Impulse names it", True
    yield from _by_imagenet(answers, pictures, first=_IMAGENET_CLASSES.get(len(classifier.labels)))
    if others < _INDIFFERENT:
        return
    best = {name: scores.argmax(axis=1).tolist() for name, scores in answers.items()}
    if best[_POSITIVE] == best[_SIGNED]:
        yield _SIGNED, "its answers to the sample pictures are the same for 0 to 1", True
    said = "the sample pictures are told apart better than for"
    if spread[_SIGNED] >= spread[_POSITIVE]:
        yield _SIGNED, f"{said} {_POSITIVE}", True
    if spread[_POSITIVE] >= _BETTER * spread[_SIGNED]:
        yield _POSITIVE, f"{said} {_SIGNED}", True


def _by_imagenet(
    answers: Answers, pictures: Sequence[str], *, first: int | None
) -> Iterator[_Finding]:
    """Judge a model of ImageNet's classes by the pictures whose class is known."""
    if first is None:
        return
    right = {
        name: float(
            np.mean(
                [
                    sum(scores[row][first + each] for each in IMAGENET_PICTURES[picture])
                    for row, picture in enumerate(pictures)
                    if picture in IMAGENET_PICTURES
                ]
                or [0.0]
            )
        )
        for name, scores in answers.items()
    }
    name, second = sorted(right, key=right.__getitem__, reverse=True)[:2]
    if right[name] >= _RECOGNIZED:
        said = f"it recognizes {right[name]:.0%} of cat and coffee in the sample pictures"
        yield name, said, right[name] < _BETTER * right[second]


def _range_before(factor: NDArray[np.float64], offset: NDArray[np.float64]) -> str | None:
    """Name the range of pixels that a model's own arithmetic turns into what networks take."""
    ends = {
        name: (factor * low + offset, factor * high + offset)
        for name, (low, high) in _LIMITS.items()
    }
    exact = [name for name, (low, high) in ends.items() if _is_known(low, high)]
    if exact:
        return exact[0] if len(exact) == 1 else None
    narrowest, widest = 0.5, 8.0
    possible = [
        name
        for name, (low, high) in ends.items()
        if (narrowest <= np.abs(high - low)).all()
        and (np.abs(high - low) <= widest).all()
        and (np.abs(high + low) <= 1.5 * np.abs(high - low)).all()
    ]
    return possible[0] if len(possible) == 1 else None


def _is_known(low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
    def near(one: float, other: float) -> bool:
        return any(
            abs(one - known_low) + abs(other - known_high) <= 0.03 * (known_high - known_low)
            for known_low, known_high in _KNOWN
        )

    return all(near(one, other) for one, other in np.broadcast(np.atleast_1d(low), high))


def _answers(
    classifier: Classifier, normalization: Normalization, pictures: Iterable[Pixels]
) -> NDArray[np.float32]:
    prepare = Preprocessor(spec=classifier.input, normalization=normalization)
    return np.stack([classifier.invoke(prepare(each)[1]) for each in pictures])


def _spread(scores: NDArray[np.float32]) -> float:
    """Return the mean total-variation distance between the answers to two different pictures."""
    scaled = scores / np.maximum(1.0, scores.sum(axis=1, keepdims=True))
    distances = [
        float(np.abs(one - other).sum()) / 2
        for index, one in enumerate(scaled)
        for other in scaled[:index]
    ]
    return float(np.mean(distances)) if distances else 0.0


def _what_to_set() -> str:
    choices = (f"{in_words(each)} ({name})" for name, each in reversed(USUAL.items()))
    return "set " + ", or ".join(choices)
