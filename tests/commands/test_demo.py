"""The demo and the bench, as a person starts them."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.brokers import needs_mosquitto
from support.daemon import isolated, run_cli


def test_the_demo_shows_what_a_subscriber_receives(tmp_path: Path) -> None:
    finished = run_cli("demo", "--no-download", "--count", "4", env=isolated(tmp_path))
    assert finished.returncode == 0
    assert finished.stderr == ""
    lines = finished.stdout.splitlines()
    assert lines[0] == "model   efficientnet_lite2_260_int8: bundled"
    assert any(line.startswith("watch   mosquitto_sub -h 127.0.0.1 -p ") for line in lines)
    shown = {line.split()[0]: line for line in lines if line.endswith(" ms")}
    assert list(shown) == ["chelsea.png", "coffee.png", "grace_hopper.jpg", "rocket.jpg"]
    assert re.search(r" Egyptian cat \d\d\.\d% .* tabby \d\d\.\d% ", shown["chelsea.png"])
    assert re.search(r" espresso \d\d\.\d% ", shown["coffee.png"])
    assert all(line.count("%") == 3 for line in shown.values())
    assert lines[-1] == "4 predictions received, stopped"


def test_without_a_network_the_demo_says_why_it_uses_the_bundled_model(tmp_path: Path) -> None:
    """The proxy is a closed port: no address outside this machine is asked."""
    closed = "http://127.0.0.1:9"
    env = isolated(tmp_path, https_proxy=closed, http_proxy=closed)
    finished = run_cli("demo", "--count", "1", env=env)
    assert finished.returncode == 0
    assert (
        "model   efficientnet_lite2_260_int8: bundled; "
        "inception_v3_299_quant could not be downloaded (" in finished.stdout
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_and_its_daemon_cleanly(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "edgeclassifier", "demo", "--no-download"],
        env=isolated(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith(" ms\n"):
                break
        process.send_signal(number)
        rest, problems = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest.endswith("predictions received, stopped\n")
    assert problems == ""


def test_pictures_that_are_not_there_end_the_demo(tmp_path: Path) -> None:
    finished = run_cli("demo", "--no-download", "--pictures", "nowhere", env=isolated(tmp_path))
    assert finished.returncode == 1
    assert "nowhere" in finished.stderr
    assert "Traceback" not in finished.stderr


@needs_mosquitto
def test_the_bench_measures_what_it_says(tmp_path: Path) -> None:
    finished = run_cli(
        *("bench", "--json", "--sizes", "320x320,640x480", "--threads", "1"),
        *("--rounds", "2", "--seconds", "0.2", "--starts", "1"),
        *("--vs", "efficientnet_lite2_260_int8"),
        env=isolated(tmp_path),
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert found["broker"] == "mosquitto"
    assert [(row["width"], row["height"]) for row in found["throughput"]] == [
        (320, 320),
        (640, 480),
    ]
    for row in found["throughput"]:
        assert row["threads"] == 1
        assert len(row["rounds"]) == 2
        assert row["published"] == row["acknowledged"] > 0
        assert set(row["stages"]) == {"capture", "preprocess", "inference", "total"}
    [isolation] = found["isolation"]
    assert isolation["threads"] == 1
    assert len(isolation["rounds"]) == 2
    assert min(isolation[key] for key in ("inside_hz", "isolated_hz", "pipeline_ratio")) > 0
    assert isolation["ratio"] == pytest.approx(sum(isolation["rounds"]) / 2)
    processes = found["processes"]
    assert processes["daemon_start_s"] > processes["bare_start_s"] > 0
    assert processes["daemon_peak_bytes"] > processes["bare_peak_bytes"] > 0
    assert found["vs"]["size_ratio"] == 1


def test_a_bench_of_nonsense_is_a_usage_error(tmp_path: Path) -> None:
    for option in (("--sizes", "big"), ("--threads", "0"), ("--sizes", "0x4")):
        finished = run_cli("bench", *option, env=isolated(tmp_path))
        assert finished.returncode == 2
        assert "expected" in finished.stderr
