"""The stable label: it changes for a reason, and never in haste."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from conftest import Figures
from hypothesis import given
from hypothesis import strategies as st

from edgeclassifier.contract.results import UNKNOWN, Prediction, State
from edgeclassifier.daemon.stable_label import StableLabel, StateRules

RECORDED = Path(__file__).parents[1] / "support" / "recorded" / "flicker.json"

Predictions = list[Prediction]
Frame = tuple[float, Predictions]


def found(**scores: float) -> Predictions:
    """Return predictions as a model gives them: the best first."""
    best = sorted(scores.items(), key=lambda each: -each[1])
    return [
        Prediction(rank=rank, class_id=ord(label[0]), name=label, label=label, score=score)
        for rank, (label, score) in enumerate(best, 1)
    ]


def rules(
    *,
    threshold: float = 0.5,
    leave: float = 0.25,
    window_s: float = 0.0,
    hold_s: float = 0.0,
    thresholds: dict[str, float] | None = None,
    exclude: Sequence[str] = (),
) -> StateRules:
    return StateRules(
        threshold=threshold,
        leave_threshold=leave,
        window_s=window_s,
        hold_s=hold_s,
        thresholds=thresholds or {},
        exclude=exclude,
    )


def changes(label: StableLabel, frames: Iterable[Frame]) -> list[State]:
    states = [label.update(predictions, now_s=now_s) for now_s, predictions in frames]
    return [state for state in states if state is not None]


# Times are quarters of a second: their sums and differences are exact.
SCORES = st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.1, 0.25, 0.5, 0.9]))
STEPS = st.lists(st.tuples(st.integers(0, 5), SCORES.map(lambda each: found(**each))), max_size=60)
TIMES = st.integers(0, 12).map(lambda quarters: quarters / 4)


def in_time(steps: Sequence[tuple[int, Predictions]], *, start_s: float = 1000) -> list[Frame]:
    frames, now_s = [], start_s
    for step, predictions in steps:
        now_s += step / 4
        frames.append((now_s, predictions))
    return frames


@given(STEPS, TIMES, TIMES)
def test_the_label_never_changes_faster_than_it_holds(
    steps: list[tuple[int, Predictions]], window_s: float, hold_s: float
) -> None:
    label = StableLabel(rules(window_s=window_s, hold_s=hold_s))
    states = changes(label, in_time(steps))
    assert all(later.since_s - earlier.since_s >= hold_s for earlier, later in pairwise(states))


@given(STEPS, TIMES, TIMES)
def test_every_change_is_to_another_label_and_names_the_one_before(
    steps: list[tuple[int, Predictions]], window_s: float, hold_s: float
) -> None:
    label = StableLabel(rules(window_s=window_s, hold_s=hold_s))
    states = changes(label, in_time(steps))
    before = [None, *(state.label for state in states)]
    assert [state.previous_label for state in states] == before[: len(states)]
    assert all(state.label != state.previous_label for state in states)
    assert all((state.class_id is None) == (state.label == UNKNOWN) for state in states)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50), SCORES, TIMES, TIMES)
def test_a_steady_scene_gives_exactly_one_change(
    gaps: list[int], scores: dict[str, float], window_s: float, hold_s: float
) -> None:
    label = StableLabel(rules(window_s=window_s, hold_s=hold_s))
    frames = in_time([(gap, found(**scores)) for gap in gaps])
    [state] = changes(label, frames)
    best = max(scores.values(), default=0)
    assert scores.get(state.label, 0) == (best if best >= 0.5 else 0)
    assert state.since_s == frames[0][0]


@given(STEPS, st.lists(st.integers(1, 5), min_size=60, max_size=60), TIMES, TIMES)
def test_a_real_change_shows_within_the_window_the_hold_and_one_frame(
    steps: list[tuple[int, Predictions]], gaps: list[int], window_s: float, hold_s: float
) -> None:
    """Whatever flickered before."""
    label = StableLabel(rules(window_s=window_s, hold_s=hold_s))
    before = in_time(steps)
    changes(label, before)
    start_s = before[-1][0] if before else 1000.0
    frames = in_time([(gap, found(z=0.9)) for gap in gaps], start_s=start_s)
    last = changes(label, frames)[-1]
    assert last.label == "z"
    assert last.since_s - frames[0][0] <= window_s + hold_s + max(gaps) / 4


@given(STEPS, TIMES, TIMES)
def test_the_score_is_one(
    steps: list[tuple[int, Predictions]], window_s: float, hold_s: float
) -> None:
    label = StableLabel(rules(window_s=window_s, hold_s=hold_s))
    for now_s, predictions in in_time(steps):
        label.update(predictions, now_s=now_s)
        assert label.state is not None
        assert 0 <= label.state.score <= 1


def shown(label: StableLabel, *frames: Predictions, step_s: float = 1.0) -> list[str]:
    labels = []
    for number, predictions in enumerate(frames):
        label.update(predictions, now_s=number * step_s)
        assert label.state is not None
        labels.append(label.state.label)
    return labels


def test_the_holder_stays_down_to_the_leave_threshold() -> None:
    frames = [found(a=0.5), found(b=0.7, a=0.25), found(b=0.7, a=0.2), found(b=0.3), found(b=0.2)]
    assert shown(StableLabel(rules()), *frames) == ["a", "a", "b", "b", UNKNOWN]


def test_unknown_is_left_with_the_enter_threshold_and_no_less() -> None:
    frames = [found(a=0.49), found(a=0.499), found(a=0.5)]
    assert shown(StableLabel(rules()), *frames) == [UNKNOWN, UNKNOWN, "a"]


def test_one_bad_frame_in_a_window_changes_nothing() -> None:
    frames = [found(a=0.9), found(a=0.9), found(b=0.9), found(a=0.9), found(b=0.9)]
    assert shown(StableLabel(rules(window_s=4)), *frames) == ["a"] * 5
    assert shown(StableLabel(rules()), *frames) == ["a", "a", "b", "a", "b"]


def test_a_frame_as_old_as_the_window_counts_no_more() -> None:
    label = StableLabel(rules(window_s=2))
    shown(label, found(a=0.6), found(a=0.8), found(a=1.0))
    assert label.state is not None
    assert label.state.score == pytest.approx(0.9)


def test_a_frame_that_the_model_before_saw_is_not_judged_by_the_rules_of_the_new_one() -> None:
    label = StableLabel(rules(window_s=8, exclude=["a"]))
    label.update(found(a=0.9), now_s=1)
    label.follow(rules(window_s=8), from_s=3)
    label.update(found(a=0.9), now_s=2)
    assert label.state is not None
    assert label.state.name == UNKNOWN
    label.update(found(b=0.6), now_s=3)
    assert (label.state.name, label.state.score) == ("b", 0.6)
    label.follow(rules(exclude=["b"]))
    label.update(found(b=0.6), now_s=4)
    assert label.state.name == UNKNOWN


def test_a_label_may_have_a_threshold_of_its_own() -> None:
    """It enters there, and leaves at the same fraction of it as the others."""
    label = StableLabel(rules(thresholds={"a": 0.8}))
    frames = [found(a=0.7), found(a=0.8), found(a=0.4), found(a=0.39)]
    assert shown(label, *frames) == [UNKNOWN, "a", "a", UNKNOWN]


def test_what_is_excluded_never_takes_over() -> None:
    label = StableLabel(rules(exclude=["a"]))
    assert shown(label, found(a=0.9), found(a=0.6, b=0.5)) == [UNKNOWN, "b"]


def test_of_two_labels_with_the_same_score_the_first_class_wins() -> None:
    assert shown(StableLabel(rules()), found(b=0.5, a=0.5)) == ["a"]


def test_other_rules_apply_from_the_next_frame_on() -> None:
    label = StableLabel(rules())
    assert shown(label, found(a=0.6)) == ["a"]
    label.rules = rules(threshold=0.9, leave=0.8)
    assert shown(label, found(a=0.6)) == [UNKNOWN]


def test_a_recorded_scene_flickers_and_its_state_does_not(figures: Figures) -> None:
    """Three scenes in turn, noisy, dark in between, as the bundled model saw them (record.py)."""
    frames: list[Frame] = []
    for now_s, *best in json.loads(RECORDED.read_text()):
        predictions = [
            Prediction(
                rank=rank,
                class_id=class_id,
                name=label.partition(",")[0],
                label=label,
                score=score,
            )
            for rank, (class_id, label, score) in enumerate(best, 1)
        ]
        frames.append((now_s, predictions))
    raw = sum(a[1][0].label != b[1][0].label for a, b in pairwise(frames))
    default = rules(threshold=0.3, leave=0.2, window_s=1.0, hold_s=2.0)
    states = changes(StableLabel(default), frames)
    seconds = frames[-1][0] - frames[0][0]
    figures(
        f"{seconds:.0f} s, {len(frames)} frames: {raw} changes of the top label, "
        f"{len(states) - 1} of the state: {', '.join(state.label for state in states)}"
    )
    assert raw >= 10 * (len(states) - 1)
    known = [state.label for state in states if state.label != UNKNOWN]
    assert [label for label, _ in groupby(known)] == ["Egyptian cat", "espresso", "obelisk"]


def test_a_class_that_is_called_unknown_is_a_class() -> None:
    called = [Prediction(rank=1, class_id=4, name=UNKNOWN, label=UNKNOWN, score=0.9)]
    label = StableLabel(rules())
    states = changes(label, [(0.0, []), (1.0, called), (2.0, [])])
    assert [(state.name, state.class_id) for state in states] == [
        (UNKNOWN, None),
        (UNKNOWN, 4),
        (UNKNOWN, None),
    ]


def test_a_state_tells_names_and_labels_and_rules_go_by_names() -> None:
    def finch(score: float) -> Predictions:
        return [Prediction(rank=1, class_id=12, name="finch", label="finch, linnet", score=score)]

    label = StableLabel(rules(thresholds={"finch": 0.8}))
    states = changes(label, [(0.0, finch(0.7)), (1.0, finch(0.9)), (2.0, found(a=0.6))])
    assert [(state.name, state.label, state.class_id) for state in states] == [
        (UNKNOWN, UNKNOWN, None),
        ("finch", "finch, linnet", 12),
        ("a", "a", ord("a")),
    ]
    assert [(state.previous_name, state.previous_label) for state in states] == [
        (None, None),
        (UNKNOWN, UNKNOWN),
        ("finch", "finch, linnet"),
    ]
    assert shown(StableLabel(rules(exclude=["finch"])), finch(0.9)) == [UNKNOWN]
