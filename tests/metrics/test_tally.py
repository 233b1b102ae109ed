"""Counts, rates and percentiles of the running daemon."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.results import CPU, Latency, ModelIdentity, Result, State
from edgeclassifier.contract.status import Percentiles
from edgeclassifier.metrics.tally import Tally, percentiles, stage_percentiles

CHANGE = State(
    name="cat",
    label="cat",
    class_id=1,
    score=0.9,
    previous_name=None,
    previous_label=None,
    since_s=0.0,
)


def latency(seconds: float) -> Latency:
    return Latency(
        capture_s=seconds, preprocess_s=seconds * 2, inference_s=seconds * 3, total_s=seconds * 7
    )


def result(captured_s: float, *, seconds: float = 0.001) -> Result:
    pixels = np.zeros((1, 1, 3), np.uint8)
    frame = Frame(
        pixels=pixels,
        seq=0,
        monotonic_s=captured_s,
        utc=datetime(2026, 1, 2, tzinfo=UTC),
        camera="cam0",
        origin="test",
    )
    return Result(
        frame=frame,
        crop=pixels,
        predictions=(),
        latency=latency(seconds),
        model=ModelIdentity(name="tiny", sha256="0" * 64),
        backend=CPU,
    )


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=200))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float],
) -> None:
    found = percentiles(iter(values))
    for percent, value in ((50, found.p50), (95, found.p95), (100, found.max)):
        candidates = [
            candidate
            for candidate in values
            if sum(each <= candidate for each in values) * 100 >= percent * len(values)
        ]
        assert value == min(candidates)


def test_the_percentiles_of_a_hundred() -> None:
    assert percentiles(range(100, 0, -1)) == Percentiles(p50=50, p95=95, max=100)


def test_each_stage_has_percentiles_of_its_own() -> None:
    found = stage_percentiles(latency(seconds) for seconds in (1, 2, 3))
    assert found == {
        "capture": Percentiles(p50=2, p95=3, max=3),
        "preprocess": Percentiles(p50=4, p95=6, max=6),
        "inference": Percentiles(p50=6, p95=9, max=9),
        "total": Percentiles(p50=14, p95=21, max=21),
    }


def test_without_frames_there_are_no_percentiles_and_no_age() -> None:
    assert stage_percentiles([]) == {}
    progress = Tally(started_s=100).progress(now_s=110)
    assert (progress.frames, progress.fps, progress.frame_age_s) == (0, 0, None)
    assert progress.latency == {}


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    tally = Tally(started_s=100)
    for number in range(20):
        tally.count(result(100.5 + number / 2))
    looks = [tally.progress(now_s=110), tally.progress(now_s=110)]
    for _ in range(5):
        tally.count(result(132))
    looks += [tally.progress(now_s=at_s) for at_s in (140, 150, 170)]
    rates = [(look.frames, round(look.fps, 3)) for look in looks]
    assert rates == [(20, 2.0), (20, 2.0), (25, 0.167), (25, 0.167), (25, 0.0)]


def test_the_rate_is_right_where_half_a_minute_has_more_frames_than_are_kept() -> None:
    tally = Tally(started_s=0)
    for number in range(6000):
        tally.count(result(number / 100))
    assert tally.progress(now_s=60).fps == pytest.approx(100, rel=0.01)


def test_the_age_counts_from_the_capture_of_the_newest_frame() -> None:
    tally = Tally(started_s=0)
    tally.count(result(10.5))
    tally.count(result(11.5))
    assert tally.progress(now_s=12).frame_age_s == 0.5
    assert tally.progress(now_s=3600).frame_age_s == 3588.5


def test_a_look_at_the_very_start_divides_by_something() -> None:
    assert Tally(started_s=5).progress(now_s=5).fps == 0


@pytest.mark.parametrize("frames", [500, 501, 2000])
def test_old_latencies_are_forgotten_but_not_old_frames(frames: int) -> None:
    tally = Tally(started_s=0)
    tally.count(result(0, seconds=1000))
    for number in range(frames - 1):
        tally.count(result(number, seconds=1))
    progress = tally.progress(now_s=1)
    assert progress.frames == frames
    assert progress.latency["capture"].max == (1000 if frames == 500 else 1)


def test_each_view_has_its_own_rate_and_age() -> None:
    tally = Tally(started_s=0.0)
    for number in range(1, 31):
        tally.count(replace(result(captured_s=float(number)), view="fast"))
        if number % 3 == 0:
            tally.count(replace(result(captured_s=float(number)), view="slow"), CHANGE)
    views = tally.views(["fast", "slow", "new"], now_s=30.0)
    assert [*views] == ["fast", "slow", "new"]
    counted = [(each.frames, each.label_changes) for each in views.values()]
    assert counted == [(30, 0), (10, 10), (0, 0)]
    assert views["fast"].fps == pytest.approx(1.0)
    assert views["slow"].fps == pytest.approx(1 / 3)
    assert views["new"].frame_age_s is None
    assert views["fast"].frame_age_s == 0.0
    assert tally.progress(now_s=30.0).frames == 40
    # One that was removed and comes back begins again.
    tally.views(["fast"], now_s=30.0)
    assert tally.views(["fast", "slow"], now_s=30.0)["slow"].frames == 0
