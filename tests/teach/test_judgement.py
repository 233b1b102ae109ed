"""How good a head is said to be."""

import numpy as np
import pytest

from edgeclassifier.teach.judgement import expected_calibration_error, wilson
from edgeclassifier.teach.logistic import Matrix, Regression, softmax, temperature


def clouds(count: int, *, width: int, apart: float, seed: int = 0) -> tuple[Matrix, "np.ndarray"]:
    random = np.random.default_rng(seed)
    classes = np.arange(count) % 3
    centres = np.random.default_rng(9).normal(0, apart, (3, width))
    rows = centres[classes] + random.normal(0, 1, (count, width))
    return rows.astype(np.float32), classes.astype(np.intp)


@pytest.mark.parametrize(("right", "judged"), [(0, 10), (5, 10), (10, 10), (95, 100), (1, 1)])
def test_the_interval_holds_the_rate(right: int, judged: int) -> None:
    low, high = wilson(right, judged)
    assert 0 <= low <= right / judged <= high + 1e-9 <= 1 + 1e-9
    wider = wilson(10 * right, 10 * judged)
    assert wider[1] - wider[0] < high - low


def test_nothing_judged_tells_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_calibration_error_is_the_difference_from_how_often_it_is_right() -> None:
    scores = np.tile([0.9, 0.1], (10, 1))
    right_nine_times = np.array([0] * 9 + [1], np.intp)
    assert expected_calibration_error(scores, right_nine_times) == pytest.approx(0)
    assert expected_calibration_error(scores, np.ones(10, np.intp)) == pytest.approx(0.9)


@pytest.mark.parametrize("width", [8, 400])
def test_it_learns_whether_features_or_examples_are_more(width: int) -> None:
    features, classes = clouds(60, width=width, apart=1.5)
    weights, bias = Regression(features, classes, count=3).learn(np.ones(60, np.bool_))
    fresh, truth = clouds(300, width=width, apart=1.5, seed=1)
    assert (np.argmax(fresh @ weights.T + bias, axis=1) == truth).mean() > 0.9


def test_what_is_held_back_has_no_part_in_it() -> None:
    features, classes = clouds(60, width=8, apart=1)
    part = np.arange(60) < 40
    expected = Regression(features[:40], classes[:40], count=3).learn(np.ones(40, np.bool_))
    features[40:] = 1000
    found = Regression(features, classes, count=3).learn(part)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_a_rare_class_is_learned_like_the_others() -> None:
    features, classes = clouds(300, width=8, apart=1.5)
    part = (classes != 2) | (np.arange(300) < 12)
    weights, bias = Regression(features, classes, count=3).learn(part)
    answers = np.argmax(features @ weights.T + bias, axis=1)
    assert (answers[classes == 2] == 2).mean() > 0.8


def test_the_temperature_makes_scores_as_sure_as_they_are_right() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (4000, 3))
    shares = softmax(logits.astype(np.float32))
    classes = np.array([random.choice(3, p=each / each.sum()) for each in shares.astype(float)])
    for wrong_by in (0.2, 1.0, 5.0):
        stretched = (logits * wrong_by).astype(np.float32)
        degrees = temperature(stretched, classes)
        assert degrees == pytest.approx(wrong_by, rel=0.1)
        calibrated = softmax(stretched / np.float32(degrees))
        assert expected_calibration_error(calibrated, classes) < 0.03


def test_few_right_answers_make_no_certainty() -> None:
    logits = np.array([[5, 0], [0, 5]] * 5, np.float32)
    classes = np.array([0, 1] * 5, np.intp)
    scores = softmax(logits / np.float32(temperature(logits, classes)))
    assert 0.85 < scores.max() < 0.95
