"""The rate limit: never more than allowed, and nothing lost without need."""

from hypothesis import given
from hypothesis import strategies as st

from edgeclassifier.daemon.publisher import RateLimit

RATES = st.floats(0.01, 100)


@given(RATES, st.lists(st.floats(0, 3), max_size=200))
def test_no_stretch_of_time_has_more_events_than_its_rate_and_one_and_a_half(
    rate_hz: float, gaps: list[float]
) -> None:
    """The gaps are in intervals of the rate, so that every rate is really tried."""
    limit = RateLimit(max_rate_hz=rate_hz)
    now_s, passed = 500.0, []
    for gap in gaps:
        now_s += gap / rate_hz
        if limit.allows(now_s):
            passed.append(now_s)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            events, duration_s = last - first + 1, passed[last] - passed[first]
            assert events <= rate_hz * duration_s + 1.5 + 1e-6


@given(RATES, st.lists(st.floats(0, 0.49), max_size=200), st.floats(0, 1e6))
def test_a_steady_source_at_just_the_rate_loses_nothing(
    rate_hz: float, jitters: list[float], start_s: float
) -> None:
    """However its events jitter, below half an interval."""
    limit = RateLimit(max_rate_hz=rate_hz)
    times = [start_s + (number + jitter) / rate_hz for number, jitter in enumerate(jitters)]
    assert all(limit.allows(now_s) for now_s in times)


@given(st.floats(0.1, 100), st.floats(1, 50))
def test_a_faster_source_gets_most_of_the_rate(rate_hz: float, times_faster: float) -> None:
    """Its events do not fit the interval: one in nine may be lost to that."""
    limit = RateLimit(max_rate_hz=rate_hz)
    intervals = 50
    step_s = 1 / (rate_hz * times_faster)
    passed = sum(limit.allows(number * step_s) for number in range(int(intervals * times_faster)))
    assert passed >= intervals * 0.85


def test_a_fast_source_that_fits_the_interval_gets_exactly_the_rate() -> None:
    limit = RateLimit(max_rate_hz=2)
    passed = [now_s for now_s in (number / 8 for number in range(81)) if limit.allows(now_s)]
    assert passed == [0, *[0.25 + number / 2 for number in range(20)]]


def test_a_slower_source_loses_nothing() -> None:
    limit = RateLimit(max_rate_hz=10)
    assert all(limit.allows(number * 0.3) for number in range(100))


def test_a_pause_saves_up_no_events() -> None:
    limit = RateLimit(max_rate_hz=1)
    assert limit.allows(0)
    assert [limit.allows(1000 + number / 10) for number in range(5)] == [True] + [False] * 4


@given(st.lists(st.floats(0, 1)))
def test_without_a_limit_everything_passes(times: list[float]) -> None:
    limit = RateLimit(max_rate_hz=0)
    assert all(limit.allows(now_s) for now_s in sorted(times))
