"""How good a head is before anybody uses it: cross-validation, calibration, and what to improve."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.teach.features import Lesson
from edgeclassifier.teach.folds import assign_folds, group, near_duplicates
from edgeclassifier.teach.logistic import Regression, softmax, temperature

_BINS = 10
_Z = 1.96
"""95 % of a normal distribution lie within so many deviations."""
_FEW = 5
_WEAK = 0.8
_RARER = 4


@plain_data
class Mistake(Plain):
    """A picture that a head which had not seen it took for another class."""

    path: Path
    label: str
    instead: str
    score: float


@plain_data
class Judgement(Plain):
    """What cross-validation found."""

    judged: int
    """Pictures that a head answered that had not seen them, nor others of their moment."""
    right: int
    interval: tuple[float, float]
    """Of the top-1 accuracy: Wilson's, 95 %."""
    calibration_error: float
    """Expected calibration error over ten bins, with the temperature."""
    uncalibrated_error: float
    temperature: float
    counts: tuple[int, ...]
    """Pictures of each class."""
    confusion: tuple[tuple[int, ...], ...]
    """Judged pictures: of the class (row), taken for the class (column)."""
    mistakes: tuple[Mistake, ...]
    near_duplicates: tuple[tuple[Path, Path], ...]
    moments: int
    advice: tuple[str, ...]
    golden: tuple[int, ...]
    """For each class that has one, the picture that was answered right with the best score."""

    @property
    def accuracy(self) -> float:
        """Fraction of the judged pictures whose most likely label is right; 0 without any."""
        return self.right / self.judged if self.judged else 0.0


def judge(
    lesson: Lesson, regression: Regression, labels: Sequence[str], *, check: Callable[[], None]
) -> Judgement:
    """Cross-validate; `check` is called before each fold."""
    count = len(lesson.pictures)
    classes = np.array([each.class_id for each in lesson.pictures], np.intp)
    alike = near_duplicates(lesson.thumbnails, classes)
    moments, single = group(classes, lesson.times, alike)
    folds = assign_folds(classes, moments)
    row_folds = np.append(folds, -1)[lesson.source]
    firsts = np.unique(lesson.source[lesson.source < count], return_index=True)[1]
    logits = np.zeros((count, len(labels)), np.float32)
    for fold in range(int(folds.max(initial=-1)) + 1):
        check()
        weights, bias = regression.learn(row_folds != fold)
        held_back = np.flatnonzero(folds == fold)
        logits[held_back] = lesson.features[firsts[held_back]] @ weights.T + bias
    judged = np.flatnonzero(folds >= 0)
    degrees = temperature(logits[judged], classes[judged])
    scores = softmax(logits / np.float32(degrees)) if count else logits
    answers = scores.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), np.intp)
    np.add.at(confusion, (classes[judged], answers[judged]), 1)
    wrong = [int(each) for each in judged if answers[each] != classes[each]]
    counts = np.bincount(classes, minlength=len(labels))
    return Judgement(
        judged=len(judged),
        right=len(judged) - len(wrong),
        interval=wilson(len(judged) - len(wrong), len(judged)),
        calibration_error=expected_calibration_error(scores[judged], classes[judged]),
        uncalibrated_error=expected_calibration_error(softmax(logits[judged]), classes[judged])
        if len(judged)
        else 0.0,
        temperature=degrees,
        counts=tuple(map(int, counts)),
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        mistakes=tuple(
            Mistake(
                path=lesson.pictures[each].path,
                label=labels[classes[each]],
                instead=labels[answers[each]],
                score=float(scores[each, answers[each]]),
            )
            for each in wrong
        ),
        near_duplicates=tuple(
            (lesson.pictures[one].path, lesson.pictures[other].path) for one, other in alike
        ),
        moments=len(np.unique(moments)),
        advice=tuple(_advice(labels, counts, confusion, single)),
        golden=_golden(judged, classes, answers, scores),
    )


def wilson(right: int, judged: int) -> tuple[float, float]:
    """Return the interval that holds the true rate with 95 %, for `right` of `judged`."""
    if not judged:
        return 0.0, 1.0
    rate, z2 = right / judged, _Z**2
    middle = (rate + z2 / (2 * judged)) / (1 + z2 / judged)
    half = _Z * np.sqrt(rate * (1 - rate) / judged + z2 / (4 * judged**2)) / (1 + z2 / judged)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def expected_calibration_error(scores: NDArray[np.floating], classes: NDArray[np.intp]) -> float:
    """Return the mean difference between the best score and how often it is right, by bins."""
    if not len(scores):
        return 0.0
    best = scores.max(axis=1)
    right = scores.argmax(axis=1) == classes
    bins = np.minimum((best * _BINS).astype(np.intp), _BINS - 1)
    differences = [
        abs(float((best[bins == each] - right[bins == each]).sum())) for each in range(_BINS)
    ]
    return sum(differences) / len(scores)


def _advice(
    labels: Sequence[str],
    counts: NDArray[np.intp],
    confusion: NDArray[np.intp],
    single: Sequence[int],
) -> list[str]:
    advice = []
    for class_id, label in enumerate(labels):
        own, judged = int(counts[class_id]), int(confusion[class_id].sum())
        right = int(confusion[class_id, class_id])
        if class_id in single:
            advice.append(
                f"{label!r}: all its pictures were taken within one moment, so that its figures "
                "flatter: take some at another time"
            )
        if own and not judged:
            advice.append(f"{label!r} has one picture, so that nothing tells how good it is")
        elif 0 < own < _FEW:
            advice.append(f"{label!r} has {own} pictures: take more, at different times of day")
        elif judged and right < _WEAK * judged:
            advice.append(f"{label!r} is right {right} times of {judged}: it needs more pictures")
        if own and own * _RARER < counts.max():
            most = labels[int(counts.argmax())]
            advice.append(
                f"{label!r} is much rarer than {most!r} ({own} and {int(counts.max())} pictures): "
                "its figures say less"
            )
    return advice


def _golden(
    judged: NDArray[np.intp],
    classes: NDArray[np.intp],
    answers: NDArray[np.intp],
    scores: NDArray[np.floating],
) -> tuple[int, ...]:
    best: dict[int, int] = {}
    for each in map(int, judged):
        own = int(classes[each])
        if answers[each] == own and (own not in best or scores[each, own] > scores[best[own], own]):
            best[own] = each
    return tuple(best[own] for own in sorted(best))
