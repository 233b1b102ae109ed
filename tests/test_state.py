"""The debounced label: it changes for a reason, and never in haste."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeclassifier.results import Prediction
from edgeclassifier.state import UNKNOWN, Debounce, State

THRESHOLD = 0.5


def prediction(label: str, score: float = 0.9) -> Prediction:
    return Prediction(rank=1, class_id=ord(label[0]), label=label, score=score)


def changes(debounce: Debounce, frames: Iterable[tuple[float, Prediction | None]]) -> list[State]:
    found = [debounce.update(top, now_s=now_s) for now_s, top in frames]
    return [state for state in found if state is not None]


def shown(debounce: Debounce) -> str | None:
    return debounce.state.label if debounce.state else None


# Times are whole numbers: their sums and differences are exact.
TOPS = st.none() | st.builds(prediction, st.sampled_from("abc"), st.sampled_from([0.1, 0.5, 0.9]))
FRAMES = st.lists(st.tuples(st.integers(0, 5), TOPS), max_size=60)
HOLDS = st.integers(0, 12)


def in_time(
    steps: Sequence[tuple[int, Prediction | None]],
) -> list[tuple[float, Prediction | None]]:
    now, frames = 1000, []
    for step, top in steps:
        now += step
        frames.append((float(now), top))
    return frames


def label_of(top: Prediction | None) -> str:
    return UNKNOWN if top is None or top.score < THRESHOLD else top.label


@given(FRAMES, HOLDS)
def test_the_label_never_changes_faster_than_it_holds(
    steps: list[tuple[int, Prediction | None]], hold_s: int
) -> None:
    found = changes(Debounce(threshold=THRESHOLD, hold_s=hold_s), in_time(steps))
    assert all(later.since_s - earlier.since_s >= hold_s for earlier, later in pairwise(found))


@given(FRAMES, HOLDS)
def test_every_change_is_to_another_label_and_names_the_one_before(
    steps: list[tuple[int, Prediction | None]], hold_s: int
) -> None:
    found = changes(Debounce(threshold=THRESHOLD, hold_s=hold_s), in_time(steps))
    assert [state.previous_label for state in found] == [
        None,
        *[state.label for state in found],
    ][: len(found)]
    assert all(state.label != state.previous_label for state in found)


@given(FRAMES, HOLDS)
@example([(0, prediction("a")), (1, prediction("b")), (5, prediction("b"))], 5)
def test_a_label_takes_over_exactly_when_it_was_on_top_for_the_hold_time_without_a_break(
    steps: list[tuple[int, Prediction | None]], hold_s: int
) -> None:
    debounce = Debounce(threshold=THRESHOLD, hold_s=hold_s)
    frames = in_time(steps)
    for index, (now_s, top) in enumerate(frames):
        label, before = label_of(top), shown(debounce)
        since_s = now_s
        for earlier_s, earlier in reversed(frames[:index]):
            if label_of(earlier) != label:
                break
            since_s = earlier_s
        due = before is None or (label != before and now_s - since_s >= hold_s)
        assert (debounce.update(top, now_s=now_s) is not None) is due
        assert shown(debounce) == (label if due else before)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50), TOPS, HOLDS)
def test_a_label_that_stays_gives_exactly_one_change(
    gaps: list[int], top: Prediction | None, hold_s: int
) -> None:
    frames = in_time([(gap, top) for gap in gaps])
    found = changes(Debounce(threshold=THRESHOLD, hold_s=hold_s), frames)
    assert [state.label for state in found] == [label_of(top)]
    assert found[0].since_s == frames[0][0]


@given(FRAMES, st.lists(st.integers(1, 5), min_size=40, max_size=40), HOLDS)
def test_a_real_change_is_taken_after_at_most_the_hold_time_and_one_frame(
    steps: list[tuple[int, Prediction | None]], gaps: list[int], hold_s: int
) -> None:
    """Whatever flickered before."""
    debounce = Debounce(threshold=THRESHOLD, hold_s=hold_s)
    before = in_time(steps)
    changes(debounce, before)
    start_s = before[-1][0] if before else 1000.0
    real = in_time([(gap, prediction("z")) for gap in gaps])
    frames = [(start_s + now_s - 1000, top) for now_s, top in real]
    [change] = changes(debounce, frames)
    assert change.label == "z"
    assert change.since_s - frames[0][0] <= hold_s + max(gaps)


def test_one_frame_of_the_old_label_starts_the_hold_time_again() -> None:
    debounce = Debounce(threshold=THRESHOLD, hold_s=2)
    a, b = prediction("a"), prediction("b")
    frames = [(0.0, a), (1.0, b), (2.5, a), (2.75, b), (4.5, b), (4.75, b)]
    assert [(s.label, s.since_s) for s in changes(debounce, frames)] == [("a", 0.0), ("b", 4.75)]


def test_without_a_hold_time_every_change_counts() -> None:
    debounce = Debounce(threshold=THRESHOLD, hold_s=0)
    frames = [(0.0, prediction(label)) for label in "aabca"]
    assert [state.label for state in changes(debounce, frames)] == ["a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (prediction("a", 0.5), ("a", ord("a"), 0.5)),
        (prediction("a", 0.49), (UNKNOWN, None, 0.49)),
        (None, (UNKNOWN, None, 0.0)),
    ],
)
def test_a_score_below_the_threshold_is_unknown(
    top: Prediction | None, expected: tuple[str, int | None, float]
) -> None:
    debounce = Debounce(threshold=THRESHOLD, hold_s=1)
    assert debounce.state is None
    state = debounce.update(top, now_s=5.0)
    assert state is not None
    assert (state.label, state.class_id, state.score) == expected
    assert state.since_s == 5
    assert debounce.state == state


def test_the_score_is_that_of_the_frame_that_made_the_change() -> None:
    debounce = Debounce(threshold=THRESHOLD, hold_s=1)
    frames = [(0.0, prediction("a")), (1.0, prediction("b", 0.6)), (2.0, prediction("b", 0.8))]
    assert changes(debounce, frames)[-1].score == 0.8
