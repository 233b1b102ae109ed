"""Metrics: what is counted, how it is named and rendered, and what the probes answer."""

import json
import logging
import stat
import subprocess
import sys
import threading
import time
import timeit
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import Figures
from hypothesis import given
from hypothesis import strategies as st
from monitoring.prometheus import PROMTOOL, needs_prometheus
from monitoring.sample import (
    CHANGE,
    DEADLINE_S,
    DEGRADED,
    START_DEADLINE_S,
    STATUS,
    pi,
    result,
    sample,
    samples,
    status_with,
    value,
)
from monitoring.served import fetch, fetch_patiently, served
from prometheus_client.parser import text_string_to_metric_families
from support.brokers import Mosquitto, free_port, needs_mosquitto, wait_until
from support.daemon import isolated
from support.device import Site

from edgeclassifier.contract.results import Backend
from edgeclassifier.contract.status import (
    AcceleratorStatus,
    BufferStatus,
    CameraStatus,
    Crash,
    ReloadStatus,
    Status,
    ViewStatus,
)
from edgeclassifier.errors import ConfigError
from edgeclassifier.host.system import THROTTLING_CONDITIONS, System
from edgeclassifier.metrics import probes
from edgeclassifier.metrics.collector import metrics_route, probe_route
from edgeclassifier.metrics.probes import Signs
from edgeclassifier.metrics.tally import BOUNDS_S, Histogram
from edgeclassifier.metrics.textfile import Textfile

# Counting


def test_the_buckets_reach_from_a_millisecond_to_ten_seconds_in_small_steps() -> None:
    assert (BOUNDS_S[0], BOUNDS_S[-1]) == (0.001, 10.0)
    assert all(1 < after / before <= 2 for before, after in pairwise(BOUNDS_S))


@given(st.lists(st.one_of(st.floats(0, 20), st.sampled_from(BOUNDS_S)), max_size=50))
def test_a_bucket_holds_what_is_at_most_its_bound_and_above_the_one_before(
    seconds: list[float],
) -> None:
    histogram = Histogram()
    for each in seconds:
        histogram.observe(each)
    found = histogram.look()
    for number, bound in enumerate(BOUNDS_S):
        assert sum(found.counts[: number + 1]) == sum(each <= bound for each in seconds)
    assert sum(found.counts) == len(seconds)
    assert found.sum_s == pytest.approx(sum(seconds))


def test_a_duration_below_zero_does_not_let_a_counter_go_back() -> None:
    histogram = Histogram()
    histogram.observe(-0.001)
    assert histogram.look().sum_s == 0
    assert histogram.look().counts[0] == 1


def test_each_stage_is_counted_with_what_it_took(tmp_path: Path) -> None:
    metrics = sample(tmp_path)
    metrics.tally.count(result(took_s=0.01), None)
    metrics.tally.count(result(took_s=0.01), CHANGE)
    page = metrics.render()
    assert value(page, "frames_total", answer="classified") == 2
    assert value(page, "label_changes_total") == 1
    for stage, seconds in (("capture", 0.01), ("preprocess", 0.02), ("inference", 0.03)):
        name = "stage_duration_seconds"
        assert value(page, f"{name}_sum", stage=stage) == pytest.approx(2 * seconds)
        assert value(page, f"{name}_count", stage=stage) == 2
        assert value(page, f"{name}_bucket", stage=stage, le=f"{seconds:g}") == 2
        assert value(page, f"{name}_bucket", stage=stage, le="0.007") == 0
    assert value(page, "frame_latency_seconds_sum") == pytest.approx(0.14)


def test_a_repeated_answer_counts_as_an_answer_but_not_as_work(tmp_path: Path) -> None:
    metrics = sample(tmp_path)
    metrics.tally.count(result(age_s=5), None)
    metrics.tally.count(result(answer_age_s=5.0), None)
    page = metrics.render()
    assert value(page, "frames_total", answer="classified") == 1
    assert value(page, "frames_total", answer="repeated") == 1
    assert value(page, "frame_latency_seconds_count") == 1
    assert (value(page, "frame_age_seconds") or 0) < 5


def test_each_view_has_its_own_series(tmp_path: Path) -> None:
    views = {"gate": None, "door": "no such file"}

    def status() -> Status:
        progress = metrics.tally.views(views, now_s=time.monotonic())
        return replace(
            STATUS,
            views=tuple(
                ViewStatus(
                    view=name, progress=progress[name], model=None, backend=None, problem=problem
                )
                for name, problem in views.items()
            ),
        )

    metrics = sample(tmp_path, status=status)
    metrics.tally.count(result(view="gate"), CHANGE)
    metrics.tally.count(result(view="gate", answer_age_s=5.0), None)
    page = metrics.render()
    for view, classified, repeated, changes, problem in (
        ("gate", 1, 1, 1, 0),
        ("door", 0, 0, 0, 1),
    ):
        assert value(page, "frames_total", view=view, answer="classified") == classified
        assert value(page, "frames_total", view=view, answer="repeated") == repeated
        assert value(page, "label_changes_total", view=view) == changes
        assert value(page, "view_problem", view=view) == problem


def test_the_only_view_is_called_as_the_camera_is(tmp_path: Path) -> None:
    metrics = sample(tmp_path)
    metrics.tally.count(result(), None)
    assert value(metrics.render(), "frames_total", view="cam0", answer="classified") == 1


def test_a_fall_back_is_counted_once_and_again_after_a_return(tmp_path: Path) -> None:
    metrics = sample(tmp_path)
    for backend in (Backend(name="edgetpu"), DEGRADED, DEGRADED, Backend(name="edgetpu"), DEGRADED):
        metrics.tally.count(result(backend=backend), None)
    assert value(metrics.render(), "fallbacks_total") == 2


def test_counts_are_consistent_while_another_thread_counts(tmp_path: Path) -> None:
    metrics, answer = sample(tmp_path), result()
    pages: list[bytes] = []
    reader = threading.Thread(target=lambda: pages.extend(metrics.render() for _ in range(30)))
    reader.start()
    while reader.is_alive():
        metrics.tally.count(answer, None)
    reader.join()
    frames = [value(page, "frames_total", answer="classified") or 0 for page in pages]
    assert frames == sorted(frames)
    assert frames[-1] > 0
    for page, count in zip(pages, frames, strict=True):
        assert value(page, "frame_latency_seconds_bucket", le="+Inf") == count
        assert value(page, "frame_latency_seconds_count") == count


def test_what_counting_and_rendering_cost(tmp_path: Path, figures: Figures) -> None:
    metrics, answer = sample(tmp_path), result()
    counting_s = min(
        timeit.repeat(lambda: metrics.tally.count(answer, None), number=2000, repeat=5)
    )
    rendering_s = min(timeit.repeat(metrics.render, number=5, repeat=3))
    page = metrics.render()
    series = len(list(samples(page)))
    figures(
        f"{counting_s / 2000 * 1e6:.1f} µs for each result; a page takes "
        f"{rendering_s / 5 * 1e3:.1f} ms, has {series} series and {len(page)} bytes"
    )
    assert series < 200


# Rendering

CRASH = Crash(reason="killed", exit_code=None, timestamp="2026-01-02T03:04:05Z")
FULL = BufferStatus(
    pending=3, pending_bytes=300, dropped=2, storage="disk", problem="full", commits=4,
    written_bytes=500, written_messages=5,
)  # fmt: skip
REFUSED = ReloadStatus(timestamp="2026-01-02T03:04:05.678Z", status="refused", problem="no")
CASES: list[tuple[dict[str, Any], str, dict[str, str], tuple[float, float]]] = [
    ({"paused": True}, "paused", {}, (0, 1)),
    ({"connected": False}, "mqtt_connected", {}, (1, 0)),
    ({"reconnects": 5}, "mqtt_reconnects_total", {}, (0, 5)),
    ({"published": 9}, "published_messages_total", {}, (0, 9)),
    ({"dropped": 3}, "dropped_messages_total", {}, (0, 3)),
    ({"superseded_frames": 7}, "dropped_frames_total", {"reason": "superseded"}, (0, 7)),
    ({"unreadable_frames": 2}, "dropped_frames_total", {"reason": "unreadable"}, (0, 2)),
    ({"backend": DEGRADED}, "degraded", {}, (0, 1)),
    ({"last_crash": CRASH}, "started_after_crash", {}, (0, 1)),
    ({"reload": REFUSED}, "config_last_reload_successful", {}, (1, 0)),
    ({"reload": replace(REFUSED, status="applied")}, "config_last_reload_successful", {}, (1, 1)),
    ({"buffer": FULL}, "buffer_pending_messages", {}, (0, 3)),
    ({"buffer": FULL}, "buffer_pending_bytes", {}, (0, 300)),
    ({"buffer": FULL}, "buffer_dropped_messages_total", {}, (0, 2)),
    ({"buffer": FULL}, "buffer_problem", {}, (0, 1)),
    ({"buffer": FULL}, "buffer_commits_total", {}, (0, 4)),
    ({"buffer": FULL}, "buffer_written_bytes_total", {}, (0, 500)),
    (
        {"camera": CameraStatus(state="frozen", problem="it is", recoveries=2)},
        "camera_state",
        {"state": "frozen"},
        (0, 1),
    ),
    (
        {"camera": CameraStatus(state="ok", recoveries=0, view="dark")},
        "camera_view",
        {"view": "dark"},
        (0, 1),
    ),
    ({"camera": CameraStatus(state="ok", recoveries=2)}, "camera_recoveries_total", {}, (0, 2)),
    (
        {"accelerator": AcceleratorStatus(state="waiting", fault="lost", failures=3)},
        "accelerator_fault",
        {"fault": "lost"},
        (0, 1),
    ),
    (
        {"accelerator": AcceleratorStatus(state="waiting", fault="lost", failures=3)},
        "accelerator_failures_total",
        {},
        (0, 3),
    ),
    (
        {"accelerator": AcceleratorStatus(state="waiting")},
        "accelerator_state",
        {"state": "waiting"},
        (0, 1),
    ),
    (
        {"accelerator": AcceleratorStatus(state="ready", returns=6)},
        "accelerator_returns_total",
        {},
        (0, 6),
    ),
]


@pytest.mark.parametrize(("changes", "name", "labels", "expected"), CASES)
def test_what_the_parts_say_is_in_the_metrics(
    tmp_path: Path,
    changes: dict[str, Any],
    name: str,
    labels: dict[str, str],
    expected: tuple[float, float],
) -> None:
    before, after = STATUS, status_with(**changes)
    pages = [sample(tmp_path, status=status).render() for status in (before, after)]
    assert tuple(value(page, name, **labels) for page in pages) == expected


def test_what_the_device_says_is_in_the_metrics(tmp_path: Path) -> None:
    page = sample(tmp_path, system=pi(tmp_path, throttled=0xF0001)).render()
    assert value(page, "cpu_temperature_celsius") == 51.25
    assert value(page, "process_resident_memory_bytes") == 2048 * 1024
    assert value(page, "clock_synchronized") == 1
    for condition in THROTTLING_CONDITIONS:
        now = condition == "under_voltage"
        assert value(page, "throttling", condition=condition) == now
        assert value(page, "throttling_since_boot", condition=condition) == 1


def test_every_condition_of_the_firmware_has_a_series(tmp_path: Path) -> None:
    throttling = pi(tmp_path, throttled=0xF000F).throttling()
    assert throttling is not None
    assert throttling.now == throttling.since_boot == THROTTLING_CONDITIONS


def test_what_is_not_known_is_absent_and_not_zero(tmp_path: Path) -> None:
    status = status_with(accelerator=None)
    metrics = sample(tmp_path, status=status, system=System(root=tmp_path / "nowhere"))
    page = metrics.render().decode()
    for name in (
        "cpu_temperature",
        "throttling",
        "process_resident_memory",
        "accelerator",
        "frame_age",
    ):
        assert f"edgeclassifier_{name}" not in page


def test_every_series_belongs_to_the_device_and_has_no_timestamp(tmp_path: Path) -> None:
    metrics = sample(tmp_path, device="shed")
    metrics.tally.count(result(), None)
    for each in samples(metrics.render()):
        assert each.labels["device"] == "shed"
        assert each.timestamp is None


def test_two_devices_describe_everything_alike_and_share_no_series(tmp_path: Path) -> None:
    """So that the node exporter can merge their files."""
    status = status_with(backend=DEGRADED, last_crash=CRASH, reload=REFUSED, buffer=FULL)
    pages = [
        sample(tmp_path, device="porch").render(),
        sample(tmp_path, device="shed", model="b", version="9", status=status).render(),
    ]
    families = [list(text_string_to_metric_families(page.decode())) for page in pages]
    told = [[(each.name, each.documentation, each.type) for each in page] for page in families]
    assert told[0] == told[1]
    series = [(each.name, *sorted(each.labels.items())) for page in pages for each in samples(page)]
    assert len(series) == len(set(series))


def test_the_start_has_one_time_whatever_the_clock_does_later(tmp_path: Path) -> None:
    metrics = sample(tmp_path, running_for_s=100)
    started = [value(metrics.render(), "start_time_seconds") for _ in range(2)]
    assert started[0] == started[1]
    assert started[0] == pytest.approx(time.time() - 100, abs=30)


def test_a_model_may_have_any_file_name(tmp_path: Path) -> None:
    page = sample(tmp_path, model='b\udc80"\\\n').render()
    assert value(page, "model_info", model='b?"\\\n') == 1


def test_the_last_word_is_that_the_daemon_has_ended(tmp_path: Path) -> None:
    metrics = sample(tmp_path)
    assert value(metrics.render(), "running") == 1
    assert [(each.name, each.value) for each in samples(metrics.render_end())] == [
        ("edgeclassifier_running", 0)
    ]


@needs_prometheus
@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
def test_promtool_finds_nothing_to_object_to(tmp_path: Path, ended: bool) -> None:
    metrics = sample(tmp_path)
    metrics.tally.count(result(), None)
    page = metrics.render_end() if ended else metrics.render()
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=page, capture_output=True, check=False, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# Probes

WELL = Signs(
    uptime_s=1000.0,
    answered_ago_s=0.5,
    excused_ago_s=None,
    deadline_s=20.0,
    start_deadline_s=300.0,
    paused=False,
    recovering=None,
    connected=True,
    broker_problem=None,
)
HEALTH: list[tuple[str, dict[str, Any], bool, str]] = [
    ("frames come", {}, True, ""),
    ("frames come late", {"answered_ago_s": 20.0}, True, ""),
    ("no frames come", {"answered_ago_s": 20.1}, False, "newest classified frame is 20.1 s old"),
    ("paused", {"answered_ago_s": 900.0, "paused": True}, True, "classifying is paused"),
    ("just resumed", {"answered_ago_s": 900.0, "excused_ago_s": 3.0}, True, ""),
    (
        "resumed long ago",
        {"answered_ago_s": 900.0, "excused_ago_s": 21.0},
        False,
        "newest classified frame is 900.0 s old",
    ),
    (
        "the camera is being recovered",
        {"answered_ago_s": 900.0, "recovering": "it is gone"},
        True,
        "no frames: it is gone",
    ),
    ("starting", {"answered_ago_s": None, "uptime_s": 300.0}, True, "starting"),
    (
        "does not start",
        {"answered_ago_s": None, "uptime_s": 300.1},
        False,
        "no frame was classified within 300 s of the start",
    ),
    (
        "resumed before the first frame",
        {"answered_ago_s": None, "uptime_s": 900.0, "excused_ago_s": 1.0},
        True,
        "",
    ),
    ("the broker is away", {"connected": False}, True, ""),
]
READINESS: list[tuple[str, dict[str, Any], bool, str]] = [
    ("frames go out", {}, True, ""),
    ("frames go out late", {"answered_ago_s": 20.0}, True, ""),
    (
        "no frames come",
        {"answered_ago_s": 20.1},
        False,
        "the newest classified frame is 20.1 s old, more than 20 s",
    ),
    ("paused", {"paused": True}, False, "classifying is paused"),
    (
        "resumed, and no frame since",
        {"answered_ago_s": 900.0, "excused_ago_s": 3.0},
        False,
        "newest classified frame is 900.0 s old",
    ),
    (
        "the camera is being recovered",
        {"answered_ago_s": 5.0, "recovering": "it is gone"},
        False,
        "no frames: it is gone",
    ),
    ("starting", {"answered_ago_s": None}, False, "no frame was classified yet"),
    (
        "the broker is away",
        {"connected": False, "broker_problem": "refused"},
        False,
        "not connected to the broker: refused",
    ),
    ("the broker was never there", {"connected": False}, False, "not connected to the broker"),
    (
        "neither",
        {"answered_ago_s": None, "connected": False},
        False,
        "no frame was classified yet; not connected to the broker",
    ),
    (
        "paused without a broker",
        {"paused": True, "connected": False},
        False,
        "classifying is paused; not connected to the broker",
    ),
]


@pytest.mark.parametrize(
    ("judge", "changes", "ok", "reason"),
    [
        *(pytest.param(probes.health, *case, id=f"health: {name}") for name, *case in HEALTH),
        *(pytest.param(probes.readiness, *case, id=f"ready: {name}") for name, *case in READINESS),
    ],
)
def test_the_decisions_and_their_reasons(
    judge: Any, changes: dict[str, Any], ok: bool, reason: str
) -> None:
    verdict = judge(replace(WELL, **changes))
    assert verdict.ok is ok
    said = "; ".join(verdict.reasons)
    assert reason in said
    assert bool(said) is bool(reason)


def test_a_daemon_that_hangs_is_unwell_and_one_that_recovers_is_not(tmp_path: Path) -> None:
    now = STATUS
    metrics = sample(tmp_path, status=lambda: now)
    metrics.tally.count(result(age_s=DEADLINE_S + 1), None)
    assert not metrics.health().ok
    assert value(metrics.render(), "healthy") == 0
    now = status_with(camera=CameraStatus(state="recovering", problem="gone", recoveries=0))
    assert metrics.health().ok
    now = status_with(excused_s=time.monotonic())
    assert metrics.health().ok, "the first frame has the deadline from here on"
    now = status_with(excused_s=time.monotonic() - DEADLINE_S - 1)
    assert not metrics.health().ok


def test_a_daemon_without_a_frame_is_given_time_to_start(tmp_path: Path) -> None:
    assert sample(tmp_path, running_for_s=START_DEADLINE_S - 10).health().ok
    assert not sample(tmp_path, running_for_s=START_DEADLINE_S + 10).health().ok


# Over HTTP


def test_the_metrics_are_served_as_prometheus_expects_them(tmp_path: Path) -> None:
    metrics = sample(tmp_path)
    with served([metrics_route(metrics.render)]) as address:
        code, headers, page = fetch(f"{address}/metrics")
    assert (code, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert headers["cache-control"] == "no-store"
    assert value(page, "running") == 1


def test_the_probes_answer_with_a_code_and_the_reasons(tmp_path: Path) -> None:
    now = STATUS
    metrics = sample(tmp_path, status=lambda: now)
    routes = [probe_route("/healthz", metrics.health), probe_route("/readyz", metrics.readiness)]
    with served(routes) as address:

        def ask(path: str) -> tuple[int, str, list[str]]:
            code, _, body = fetch(address + path)
            assert fetch(address + path, method="HEAD")[0] == code
            told = json.loads(body)
            return code, told["status"], told["reasons"]

        assert ask("/readyz") == (503, "failing", ["no frame was classified yet"])
        metrics.tally.count(result(), None)
        assert ask("/readyz") == (200, "ok", [])
        assert ask("/healthz") == (200, "ok", [])
        now = status_with(connected=False, last_error="refused")
        assert ask("/readyz") == (503, "failing", ["not connected to the broker: refused"])
        metrics.tally.count(result(age_s=60), None)
        code, status, reasons = ask("/healthz")
        assert (code, status) == (503, "failing")
        assert reasons[0].startswith("the newest classified frame is 60.")


# As a file


class Written:
    """A text file of a number that grows with each writing."""

    def __init__(self, path: Path, *, size: int = 100_000) -> None:
        self.path = path
        self.size = size
        self.times = 0
        self.textfile = Textfile(
            path=path, interval_s=0.001, render=self.render, render_end=lambda: b"the end\n"
        )

    def render(self) -> bytes:
        self.times += 1
        return b"%09d\n" % self.times * (self.size // 10)

    def wait_for_more(self) -> None:
        times = self.times
        assert wait_until(lambda: self.times >= times + 5)


def test_a_reader_never_sees_a_part_of_the_file(tmp_path: Path) -> None:
    written = Written(tmp_path / "edgeclassifier.prom")
    written.textfile.start()
    assert wait_until(written.path.exists)
    seen: set[bytes] = set()
    deadline_s = time.monotonic() + 10
    while len(seen) < 50 and time.monotonic() < deadline_s:
        content = written.path.read_bytes()
        assert len(content) == written.size
        lines = set(content.split())
        assert len(lines) == 1
        seen |= lines
    written.textfile.stop()
    assert len(seen) == 50
    assert written.path.read_bytes() == b"the end\n"
    assert list(tmp_path.iterdir()) == [written.path]


def test_everybody_may_read_the_file(tmp_path: Path) -> None:
    """In the service, the umask keeps others out, and the node exporter is another user."""
    program = f"""
import os, pathlib
from edgeclassifier.metrics.textfile import Textfile
os.umask(0o077)
path = pathlib.Path({str(tmp_path / "e.prom")!r})
textfile = Textfile(path=path, interval_s=60, render=lambda: b"1", render_end=lambda: b"0")
textfile.start()
textfile.stop()
"""
    subprocess.run([sys.executable, "-c", program], env=isolated(tmp_path), check=True, timeout=60)
    assert stat.S_IMODE((tmp_path / "e.prom").stat().st_mode) == 0o644


def test_a_disk_that_fails_is_reported_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgeclassifier.metrics.textfile")
    folder = tmp_path / "folder"
    written = Written(folder / "edgeclassifier.prom")
    written.textfile.start()
    for number in range(3):
        written.wait_for_more()
        folder.mkdir()
        assert wait_until(written.path.exists)
        written.wait_for_more()
        folder.rename(tmp_path / f"gone-{number}")
    written.wait_for_more()
    folder.mkdir()
    written.textfile.stop()
    said = [record.getMessage() for record in caplog.records]
    assert [each.split(":")[0] for each in said] == [
        "metrics are not written",
        "metrics are written again",
    ] * 4
    assert str(folder) in said[0]


def test_a_full_disk_leaves_the_last_whole_file(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: it cuts a write short in the same way."""
    program = f"""
import pathlib, resource
from edgeclassifier.metrics.textfile import Textfile
path = pathlib.Path({str(tmp_path / "e.prom")!r})
textfile = Textfile(
    path=path, interval_s=60, render=lambda: b"1" * 50_000, render_end=lambda: b"2" * 50_000
)
textfile.start()
while not path.exists():
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
textfile.stop()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=isolated(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (tmp_path / "e.prom").read_bytes() == b"1" * 50_000
    assert [each.name for each in tmp_path.glob("*.p*")] == ["e.prom"]
    assert done.stderr.startswith("metrics are not written: File too large")


def test_a_name_that_the_node_exporter_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.textfile: .*metrics\.txt: .*metrics\.prom$"):
        Written(tmp_path / "metrics.txt")


# The daemon


@needs_mosquitto
def test_the_daemon_serves_and_writes_them(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        site = Site(folder=tmp_path, port=broker.port)
        address, path = f"http://127.0.0.1:{free_port()}", tmp_path / "edgeclassifier.prom"
        site.settings["web"] = {"enabled": True, "port": int(address.rpartition(":")[2])}
        site.settings["metrics"] = {"textfile": str(path), "interval_s": 1.0}

        def frames() -> float:
            page = fetch_patiently(f"{address}/metrics")
            return value(page, "frames_total", answer="classified", device="porch") or 0

        with site.daemon() as daemon:
            assert wait_until(lambda: frames() > 10), daemon.lines
            assert wait_until(lambda: fetch(f"{address}/readyz")[0] == 200)
            assert fetch(f"{address}/healthz")[0] == 200
            broker.stop()
            assert wait_until(lambda: fetch(f"{address}/readyz")[0] == 503)
            assert fetch(f"{address}/healthz")[0] == 200
            assert wait_until(lambda: (value(path.read_bytes(), "ready") or 0) == 0)
            assert value(path.read_bytes(), "running", device="porch") == 1
            daemon.stop()
            assert daemon.wait() == 0, daemon.lines
        assert [(each.name, each.value) for each in samples(path.read_bytes())] == [
            ("edgeclassifier_running", 0)
        ]
