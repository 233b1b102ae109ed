"""`edgeclassifier doctor` as a person or a script meets it, on this machine."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.brokers import Mosquitto, free_port, needs_mosquitto
from support.daemon import SAMPLES, Daemon, isolated, run_cli

from edgeclassifier import doctor
from edgeclassifier.commands.doctor import _in_colour, _lines
from edgeclassifier.doctor import examination
from edgeclassifier.doctor.examination import CHECKS, HANGS, examine
from edgeclassifier.doctor.findings import NOT_TRIED
from edgeclassifier.doctor.machine import Machine

SCHEMA = json.loads(Path(doctor.__file__).with_name("findings.schema.json").read_text())
HEALTHY = (
    *("--set", "camera.source=replay", "--set", f"camera.replay.path={SAMPLES}"),
    *("--set", "accelerator.delegate=none", "--set", "mqtt.host=127.0.0.1"),
)
DEPENDS_ON_THE_MACHINE = {"clock", "disk", "power", "throttling", "temperature", "service"}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return isolated(tmp_path)


def examined(*arguments: str | Path, env: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Run the command and return its findings by check; see that they and the exit code agree."""
    done = run_cli("doctor", "--json", *arguments, env=env)
    found = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(found)
    assert done.stderr == ""
    assert done.returncode == any(each["level"] == "failure" for each in found)
    by_check: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        by_check.setdefault(each["check"], []).append(each)
    assert list(by_check) == ["config", *(each.name for each in CHECKS)]
    return by_check


def found_ids(found: dict[str, list[dict[str, Any]]]) -> set[str]:
    """Name the problems, but for those that this machine may well have."""
    return {
        each["id"]
        for check, findings in found.items()
        for each in findings
        if each["id"] and check not in DEPENDS_ON_THE_MACHINE
    }


# The real command on this machine


@needs_mosquitto
def test_a_machine_where_all_is_well_and_one_with_a_wrong_password(
    tmp_path: Path, env: dict[str, str]
) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    with Mosquitto(tmp_path, passwords={"porch": "right"}) as broker:
        settings = (
            *(*HEALTHY, "--set", f"mqtt.port={broker.port}", "--set", "mqtt.username=porch"),
            *("--set", f"mqtt.password_file={password}"),
        )
        password.write_text("right")
        found = examined(*settings, env=env)
        assert found_ids(found) == set()
        assert "XNNPACK" in found["runtime"][0]["detail"]
        assert found["labels"][0]["detail"].startswith("1000, one for each class: tench, goldfish")
        assert "a frame of" in found["camera"][0]["detail"]
        assert found["broker"][0]["detail"].endswith("lets this device in as porch")
        password.write_text("wrong")
        assert found_ids(examined(*settings, env=env)) == {"broker.refused"}


@needs_mosquitto
def test_a_broken_configuration_does_not_hide_the_rest(
    tmp_path: Path, broker: Mosquitto, env: dict[str, str]
) -> None:
    """What is valid of it is used: the pictures beside it, the broker that its drop-in names."""
    (tmp_path / "my.toml").write_text(
        '[camera]\nsource = "replay"\ncolour = 3\n[camera.replay]\npath = "samples"\nrate_hz = -1\n'
        '[accelerator]\ndelegate = "none"\n[camera.stream.options]\n"odd key" = "x"\n'
        "[log]\nlevel = 1\n"
    )
    (tmp_path / "samples").symlink_to(SAMPLES)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/broken.toml").write_text("[")
    (tmp_path / "conf.d/site.toml").write_text(f"[mqtt]\nhost='127.0.0.1'\nport={broker.port}\nx=1")
    found = examined("--config", tmp_path / "my.toml", "--set", "buffer.max_mib=-1", env=env)
    assert found_ids(found) == {"config.invalid"}
    wrong = ("camera.colour", "rate_hz = -1", "broken.toml", "log.level", "mqtt.x", "max_mib = -1")
    assert len(found["config"]) == len(wrong)
    assert all(any(each in one["detail"] for one in found["config"]) for each in wrong)
    assert "a frame of" in found["camera"][0]["detail"]
    assert f"127.0.0.1:{broker.port}" in found["broker"][0]["detail"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("raise ImportError('half installed')", {"numpy.broken"}),
        ("import os; os.abort()", {"numpy.broken", "runtime.crashes"}),
    ],
)
def test_a_broken_numpy_does_not_hide_the_rest(
    tmp_path: Path, module: str, expected: set[str]
) -> None:
    """No check that imports it is carried out in this process."""
    (tmp_path / "broken/numpy").mkdir(parents=True)
    (tmp_path / "broken/numpy/__init__.py").write_text(module)
    env = isolated(tmp_path, PYTHONPATH=str(tmp_path / "broken"))
    found = examined(*HEALTHY, env=env)
    assert expected <= found_ids(found)
    assert "doctor.defect" not in found_ids(found)


@needs_mosquitto
def test_the_daemon_that_runs_is_left_alone(
    tmp_path: Path, broker: Mosquitto, env: dict[str, str]
) -> None:
    """It keeps its connection, and its note of this run is not taken for a crash."""
    state = tmp_path / "state"
    values: dict[str, str | int | float] = {
        "device.state_directory": str(state),
        "camera.source": "replay",
        "camera.replay.path": str(SAMPLES),
        "accelerator.delegate": "none",
        "mqtt.host": "127.0.0.1",
        "mqtt.port": broker.port,
    }
    with Daemon(env=env, settings=values) as daemon:
        assert daemon.wait_for_line("connected")
        settings = (f"--set={key}={value}" for key, value in values.items())
        found = examined(*settings, env=env)
        assert found_ids(found) == set()
        assert str(daemon.pid) in found["service"][0]["detail"]
        assert "a daemon runs" in found["crash"][0]["detail"]
        daemon.stop()
        assert daemon.wait() == 0
        assert not any("lost" in line for line in daemon.lines)


def test_without_broker_and_pictures_people_get_lines_in_colour_with_remedies(
    tmp_path: Path,
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edgeclassifier", "doctor", *HEALTHY]
    process = subprocess.Popen(
        [*command, f"--set=mqtt.port={free_port()}", "--set=camera.replay.path=none"],
        env=isolated(tmp_path, TERM="xterm"),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    lines = b"".join(iter(lambda: _piece(ours), b"")).decode().splitlines()
    os.close(ours)
    assert process.wait(60) == 1
    assert lines[0] == "\x1b[32mOK     \x1b[0m  config       /dev/null: valid"
    begin = "\x1b[1;31mFAILURE\x1b[0m  broker       No broker runs on this machine: MQTT broker"
    failure = next(number for number, line in enumerate(lines) if line.startswith(begin))
    assert lines[failure + 1].startswith(" " * 22 + "set `mqtt.host`")
    assert any(
        "FAILURE\x1b[0m  camera       There are no pictures to replay: " in line for line in lines
    )
    assert lines[-1].startswith("2 failures, ")


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}], ids=str)
def test_there_are_no_colours_where_nobody_wants_them(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: bool(more))
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    assert not _in_colour()
    shown = list(_lines(HANGS.found("x"), colour=False))
    assert shown[0] == "FAILURE  doctor       A check does not come to an end: x"


def _piece(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""  # the terminal's other side is gone


def test_a_configuration_that_hangs_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not depend on it is examined all the same."""
    monkeypatch.setattr(examination, "_CONFIG_LIMIT_S", 0.3)
    reading, writing = os.pipe()
    pipe = Path(f"/dev/fd/{reading}")
    checks = [each for each in CHECKS if each.name in {"python", "broker", "temperature"}]
    found = list(examine(Machine(root=tmp_path), config_file=pipe, overrides=(), checks=checks))
    os.close(writing)
    os.close(reading)
    assert [each.check for each in found] == ["config", "python", "broker", "temperature"]
    assert [each.problem for each in found] == [HANGS, None, NOT_TRIED, None]
