"""The soak's arithmetic and verdict, and a short soak."""

import os
import random
from pathlib import Path

import pytest
from conftest import Figures
from support.brokers import needs_mosquitto
from support.delegate.build import needs_gcc

from soak.process import usage
from soak.report import Sample, table
from soak.run import soak
from soak.trends import MIB, judge_count, judge_memory, slope, trend, warm_up_s
from soak.watcher import Sequence

TIMES_S = [10.0 * i for i in range(40)]
ONE_STATE = ["" for _ in TIMES_S]
FAULT_BYTES = 50_000


def scattered(seed: int, *, by: float = 100_000.0) -> list[float]:
    source = random.Random(seed)
    return [40 * MIB + source.gauss(0, by) for _ in TIMES_S]


def test_a_straight_line_has_its_slope() -> None:
    assert slope(TIMES_S, [3 * t + 7 for t in TIMES_S]) == pytest.approx(3)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_points_have_no_slope(count: int) -> None:
    assert slope(TIMES_S[:count], [5.0] * count) == 0


def test_points_at_the_same_time_have_no_slope() -> None:
    assert slope([1.0, 1.0], [5.0, 9.0]) == 0


def test_a_quarter_of_odd_samples_does_not_matter() -> None:
    values = [2 * t for t in TIMES_S]
    values[::4] = [1e9] * len(values[::4])
    assert slope(TIMES_S, values) == pytest.approx(2)


def test_states_are_not_compared_with_one_another() -> None:
    """Two models alternate, and the second half has more of the bigger one."""
    states = ["small", "small", "big"] * 7 + ["small", "big", "big"] * 6 + ["big"]
    memory = {"small": 40.0 * MIB, "big": 60.0 * MIB}
    values = [memory[state] for state in states]
    assert judge_memory(trend("heap", TIMES_S, values, states), samples=40, period_s=180).ok
    assert trend("heap", TIMES_S, values, states).rise == 0
    grown = [value + FAULT_BYTES * i for i, value in enumerate(values)]
    assert not judge_memory(trend("heap", TIMES_S, grown, states), samples=40, period_s=180).ok


def test_scatter_within_a_short_while_is_no_slope() -> None:
    """Each state lasts for a while, in which the figure happens to rise."""
    states = [str(i // 5) for i in range(20)] * 2
    values = [40.0 * MIB + MIB * (i % 5) for i in range(40)]
    assert trend("anon", TIMES_S, values, states).growth == pytest.approx(0)


def test_many_points_are_thinned_out() -> None:
    times_s = [float(t) for t in range(20_000)]
    assert slope(times_s, [t / 2 for t in times_s]) == pytest.approx(0.5)


def test_the_warm_up_is_five_minutes_or_less() -> None:
    assert (warm_up_s(3600), warm_up_s(300), warm_up_s(20)) == (300, 120, 8)


@pytest.mark.parametrize("seed", range(20))
def test_memory_that_scatters_passes(seed: int) -> None:
    assert judge_memory(
        trend("anon", TIMES_S, scattered(seed), ONE_STATE), samples=len(TIMES_S), period_s=180
    ).ok


@pytest.mark.parametrize("seed", range(20))
def test_fifty_kilobytes_for_each_fault_are_noticed(seed: int) -> None:
    values = [each + FAULT_BYTES * i for i, each in enumerate(scattered(seed))]
    criterion = judge_memory(
        trend("heap", TIMES_S, values, ONE_STATE), samples=len(TIMES_S), period_s=180
    )
    assert not criterion.ok
    assert "memory (heap): +" in criterion.text


@pytest.mark.parametrize(("minutes", "ok"), [(3, True), (55, False)])
def test_what_may_be_holes_in_minutes_is_growth_in_an_hour(minutes: int, ok: bool) -> None:
    period_s = 60.0 * minutes
    times_s = [period_s * i / 99 for i in range(100)]
    memory = trend("anon", times_s, [3 * MIB * t / period_s for t in times_s], [""] * 100)
    assert judge_memory(memory, samples=100, period_s=period_s).ok == ok


def test_a_single_step_within_the_scatter_is_no_leak() -> None:
    values = [40.0 * MIB] * 20 + [40.3 * MIB] * 20
    assert judge_memory(
        trend("anon", TIMES_S, values, ONE_STATE), samples=len(TIMES_S), period_s=180
    ).ok


def test_too_few_samples_of_memory_are_not_judged() -> None:
    values = [40.0 * MIB, 50.0 * MIB]
    criterion = judge_memory(
        trend("anon", TIMES_S[:2], values, ONE_STATE[:2]), samples=2, period_s=10
    )
    assert criterion.ok
    assert "too few" in criterion.text


def test_a_file_descriptor_that_stays_open_is_noticed_and_one_that_is_closed_is_not() -> None:
    leak, passing = [15.0] * 20 + [16.0] * 20, [15.0, 17.0] * 20
    assert not judge_count(trend("fds", TIMES_S, leak, ONE_STATE), samples=40).ok
    assert judge_count(trend("fds", TIMES_S, passing, ONE_STATE), samples=40).ok
    assert judge_count(trend("fds", TIMES_S, leak[::-1], ONE_STATE), samples=40).ok


@pytest.mark.parametrize(
    ("numbers", "missing", "late", "repeated"),
    [
        ([0, 1, 2, 3], set(), 0, 0),
        ([0, 1, 3], {2}, 0, 0),
        ([1, 2], {0}, 0, 0),
        ([0, 2, 1, 3], set(), 1, 0),
        ([0, 1, 0, 1, 2], set(), 0, 2),
    ],
)
def test_what_is_lost_late_or_repeated(
    numbers: list[int], missing: set[int], late: int, repeated: int
) -> None:
    sequence = Sequence()
    for number in numbers:
        sequence.add(number)
    assert (sequence.missing, sequence.late, sequence.repeated) == (missing, late, repeated)


def test_the_table_has_about_twenty_rows_and_ends_with_the_slopes() -> None:
    now = usage(os.getpid())
    samples = [
        Sample(
            at_s=60.0 * i,
            usage=now,
            pending=0,
            frames=i,
            repeated=0,
            state="",
            clearing=False,
            quiet=True,
        )
        for i in range(130)
    ]
    times_s = [each.at_s for each in samples]
    names = ("rss", "pss", "anon", "heap", "fds", "threads", "children")
    trends = [
        trend(each, times_s, [MIB * t / 3600 for t in times_s], ["" for _ in samples])
        for each in names
    ]
    lines = table(samples, trends)
    assert 15 <= len(lines) <= 22
    assert lines[-1].split()[:3] == ["per", "hour", "+1.00"]
    assert samples[-1].frames - int(lines[-2].split()[-1]) < 7


@needs_mosquitto
@needs_gcc
@pytest.mark.timeout(240)
def test_the_daemon_survives_a_short_soak(tmp_path: Path, figures: Figures) -> None:
    seed = random.SystemRandom().randrange(2**32)
    said: list[str] = [f"seed {seed}"]
    outcome = soak(tmp_path, run_s=15, rate_hz=30, seed=seed, say=said.append)
    failed = [each.text for each in outcome.criteria if not each.ok]
    assert outcome.ok, [*failed, *said]
    last = outcome.samples[-1]
    figures(f"seed {seed}: {outcome.faults} faults, {last.frames} frames, {last.repeated} repeated")
