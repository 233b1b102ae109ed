"""A pipe in the place of each file that can be named: said at once, waited for never."""

import os
from pathlib import Path

import pytest
from support.daemon import SAMPLES, isolated, run_cli

from edgeclassifier.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_USAGE

BEFORE_A_HANG_S = 60
PIPE = "PIPE"
CASES = {
    "configuration": (["run", "--config", PIPE], EXIT_CONFIG),
    "model of run": (["run", "--set", f"model.name={PIPE}.tflite"], EXIT_CONFIG),
    "model of check": (["check", "--no-camera", "--set", f"model.name={PIPE}.tflite"], EXIT_CONFIG),
    "model of classify": (["classify", "--model", f"{PIPE}.tflite", "cat.png"], EXIT_CONFIG),
    "model to add": (["models", "add", f"{PIPE}.tflite"], EXIT_CONFIG),
    "labels": (["classify", "--set", f"model.labels={PIPE}", "cat.png"], EXIT_CONFIG),
    "picture": (["classify", PIPE], EXIT_FAILURE),
    "pictures of the camera": (["run", "--set", f"camera.replay.path={PIPE}"], EXIT_FAILURE),
    "table of classes": (["evaluate", str(SAMPLES), "--labels", PIPE], EXIT_USAGE),
    "password": (["run", "--set", "mqtt.username=me", "--set", f"mqtt.password_file={PIPE}"], 78),
    "certificate": (
        ["run", "--set", "mqtt.tls.enabled=true", "--set", f"mqtt.tls.ca_file={PIPE}"],
        78,
    ),
}


@pytest.mark.parametrize(("arguments", "code"), CASES.values(), ids=CASES)
def test_a_pipe_is_refused_and_not_waited_for(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    for name in (PIPE, f"{PIPE}.tflite"):
        os.mkfifo(tmp_path / name, 0o600)
    given = [each.replace(PIPE, str(tmp_path / PIPE)) for each in arguments]
    if given[0] == "run" and "--config" not in given:
        given += ["--set", "camera.source=replay", "--set", "mqtt.port=1"]
        if not any("replay.path" in each for each in given):
            given += ["--set", f"camera.replay.path={SAMPLES}"]
    done = run_cli(*given, env=isolated(tmp_path), timeout_s=BEFORE_A_HANG_S)
    assert done.returncode == code, done.stderr
    assert PIPE in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_pipes_in_the_state_directory_do_not_keep_the_daemon_from_starting(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    for name in ("last-exit.json", "overrides.json"):
        os.mkfifo(state / name)
    settings = {
        "device.state_directory": state,
        "camera.source": "replay",
        "camera.replay.path": SAMPLES,
        "camera.replay.loop": "false",
        "camera.replay.rate_hz": 0,
        "mqtt.port": 1,
    }
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    done = run_cli("run", *given, env=isolated(tmp_path), timeout_s=BEFORE_A_HANG_S)
    assert done.returncode == 0, done.stderr
