"""Which pictures are kept, and never more than the limits allow."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kept import change, result

from edgeclassifier.contract.kept import KINDS
from edgeclassifier.keep.policy import DAY_S, HOUR_S, KeepRules, Limit, Policy

MANY = Limit(per_hour=3600, per_day=86_400)


def rules(**limits: Limit) -> KeepRules:
    return KeepRules(limits=limits, lowest=0.3, highest=0.7, margin=0.1)


def policy(ages_s: dict[str, list[float]] | None = None, **limits: Limit) -> Policy:
    return Policy(rules(**limits), now_s=0.0, ages_s=ages_s or {}, uniform=lambda low, _: low)


@pytest.mark.parametrize(
    ("scores", "uncertain"),
    [
        ((0.9, 0.05), False),
        ((0.7, 0.1), True),
        ((0.3, 0.1), True),
        ((0.29, 0.1), False),
        ((0.29, 0.2), True),
        ((0.29,), False),
        ((0.05,), True),
        ((), False),
    ],
)
def test_an_answer_is_uncertain_between_two_scores_or_if_two_are_close(
    scores: tuple[float, ...], uncertain: bool
) -> None:
    kept = policy(uncertain=MANY).kind(result(1.0, *scores), None)
    assert kept == ("uncertain" if uncertain else None)


def test_a_change_counts_as_that_first() -> None:
    everything = policy(uncertain=MANY, changed=MANY, random=MANY)
    assert everything.kind(result(1.0, 0.5), change()) == "changed"
    assert everything.kind(result(2.0, 0.5), None) == "uncertain"
    assert everything.kind(result(3.0, 0.9), None) == "random"


def test_what_is_not_wanted_is_not_kept() -> None:
    nothing = policy()
    assert [nothing.kind(result(n, 0.5), change()) for n in range(9)] == [None] * 9


def test_a_repeated_answer_is_kept_only_if_it_changes_the_state() -> None:
    everything = policy(uncertain=MANY, changed=MANY, random=MANY)
    assert everything.kind(result(1.0, 0.5, answer_age_s=3.0), None) is None
    assert everything.kind(result(2.0, 0.5, answer_age_s=4.0), change()) == "changed"


LIMITS = st.builds(Limit, per_hour=st.integers(1, 6), per_day=st.integers(1, 12))


@given(
    limits=st.dictionaries(st.sampled_from(KINDS), LIMITS, min_size=1),
    steps=st.lists(st.sampled_from([1.0, 300.0, 1800.0, 7200.0, 40_000.0]), max_size=150),
    scores=st.lists(st.sampled_from([0.5, 0.9]), min_size=1, max_size=5),
)
def test_no_hour_and_no_day_has_more_than_its_limit(
    limits: dict[str, Limit], steps: list[float], scores: list[float]
) -> None:
    one = Policy(rules(**limits), now_s=0.0, ages_s={})
    now_s, kept = 0.0, []
    for number, step in enumerate(steps):
        now_s += step
        changed = change() if number % 2 else None
        if kind := one.kind(result(now_s, scores[number % len(scores)]), changed):
            kept.append((kind, now_s))
    for kind, until_s in kept:
        for span_s, most in ((HOUR_S, limits[kind].per_hour), (DAY_S, limits[kind].per_day)):
            within = [at for each, at in kept if each == kind and until_s - span_s < at <= until_s]
            assert len(within) <= most


def test_a_scene_that_stays_uncertain_does_not_use_the_hour_at_once() -> None:
    one = policy(uncertain=Limit(per_hour=4, per_day=100))
    times = [n for n in range(3600) if one.kind(result(float(n), 0.5), None)]
    assert len(times) == 4
    assert min(after - before for before, after in pairwise(times)) >= 225


def test_random_pictures_are_spread_over_the_day() -> None:
    limits = {"random": Limit(per_hour=2, per_day=6)}
    one = Policy(rules(**limits), now_s=0.0, ages_s={})
    hours = Counter(
        int(n // 4) for n in range(24 * 60) if one.kind(result(n * 60.0, 0.9), None)
    )  # in days of 24 x 4 minutes, which only spread them
    assert 4 <= hours.total() <= 6
    assert max(hours.values()) == 1


def test_what_earlier_runs_have_kept_counts() -> None:
    limit = Limit(per_hour=2, per_day=3)
    ages_s = {"changed": [10.0, 20.0]}
    one = policy(ages_s, changed=limit)
    kept = [n for n in range(0, 7200, 10) if one.kind(result(float(n), 0.9), change())]
    assert kept == [3580]
    assert policy({"changed": [DAY_S + 1] * 9}, changed=limit).kind(result(1.0), change())
