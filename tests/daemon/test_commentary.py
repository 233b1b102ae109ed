"""The log says that it works, and how to see more of it, in few lines."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.brokers import (
    Mosquitto,
    Subscriber,
    free_port,
    make_certificates,
    needs_mosquitto,
    needs_openssl,
    wait_until,
)
from support.daemon import Daemon, isolated, run_cli
from support.device import RATE_HZ, Site, has_predictions, newest, of

from edgeclassifier.cli import main
from edgeclassifier.commands import config as config_command
from edgeclassifier.compose.clients import watch_command
from edgeclassifier.config import load_config
from edgeclassifier.contract.results import UNKNOWN, State
from edgeclassifier.daemon.commentary import Commentary

needs_clients = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="needs mosquitto_sub (apt: mosquitto-clients)"
)
FIRST = re.compile(
    r"INFO    first prediction after (\d+\.\d) s: ([\w ]+) \((\d+\.\d)%\); "
    r"published on (\S+); watch with: (.+)"
)
STATE = re.compile(r"INFO    state: (?:([\w ]+) -> )?([\w ]+) \((best average )?(\d+\.\d)%\)")


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    return Site(folder=tmp_path, port=broker.port)


def shell(command: str) -> "subprocess.CompletedProcess[str]":
    """Run a line that was copied from the log."""
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=30
    )


def firsts(daemon: Daemon) -> list[re.Match[str]]:
    return [found for line in daemon.lines if (found := FIRST.search(line))]


def states(daemon: Daemon) -> list[re.Match[str]]:
    return [found for line in daemon.lines if (found := STATE.search(line))]


@needs_mosquitto
@needs_clients
def test_the_first_prediction_is_said_once_with_the_command_that_shows_the_next(
    site: Site, watching: Subscriber
) -> None:
    with site.daemon() as daemon:
        assert daemon.wait_for_line("watch with:")
        assert watching.wait_for(has_predictions(RATE_HZ))
        [first] = firsts(daemon)
        shown = shell(f"{first[5]} -C 1 -W 20")
    assert shown.returncode == 0, shown.stderr
    payload = json.loads(shown.stdout)
    assert payload["predictions"]
    seen = of(watching.messages, "predictions")[0]["predictions"][0]
    assert first[2] == seen["label"].partition(",")[0]
    assert float(first[3]) == pytest.approx(100 * seen["score"], abs=0.06)
    assert first[4] == f"{site.topic}/cam0/predictions"
    assert float(first[1]) > 0


@needs_mosquitto
@needs_openssl
@needs_clients
def test_the_command_has_what_a_guarded_broker_asks_for(tmp_path: Path) -> None:
    """The user's name, the password's file but not the password, the authority; all quoted."""
    (folder := tmp_path / "the broker's").mkdir()
    made = make_certificates(folder)
    secret = folder / "pass word"
    secret.write_text("open $sesame\n")
    secret.chmod(0o600)
    with Mosquitto(
        folder,
        passwords={"bird table": "open $sesame"},
        tls=(made.server_cert, made.server_key),
    ) as broker:
        site = Site(folder=tmp_path, port=broker.port)
        site.settings["mqtt"] |= {"host": "localhost", "username": "bird table"}
        site.settings["mqtt"] |= {"root": "garden", "password_file": str(secret)}
        site.settings["mqtt.tls"] = {"enabled": True, "ca_file": str(made.ca)}
        with site.daemon() as daemon:
            assert daemon.wait_for_line("watch with:"), daemon.lines
            line = next(each for each in daemon.lines if "watch with:" in each)
            command = line.partition("watch with: ")[2]
            shown = shell(f"{command} -C 1 -W 20")
    assert "sesame" not in "".join(daemon.lines)
    assert shown.returncode == 0, (command, shown.stderr)
    assert json.loads(shown.stdout)["predictions"]


def test_the_command_follows_the_configuration() -> None:
    def options(*settings: str) -> str:
        config = load_config(None, overrides=["device.id=porch", *settings])
        return watch_command(config).removesuffix("-t edgeclassifier/porch/cam0/predictions")

    assert options() == "mosquitto_sub -h localhost -p 1883 "
    assert options("mqtt.host=b", "mqtt.port=99") == "mosquitto_sub -h b -p 99 "
    assert options("mqtt.tls.enabled=true").endswith("-p 8883 --tls-use-os-certs ")
    assert options("mqtt.username=me").endswith("-p 1883 -u me ")
    mutual = ("mqtt.tls.enabled=true", "mqtt.tls.cert_file=/c", "mqtt.tls.key_file=/k")
    assert options(*mutual).endswith("--cert /c --key /k ")


def test_a_password_that_systemd_hands_over_is_not_sought_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mqtt-password").write_text("x\n")
    given = ["mqtt.username=me", "mqtt.password_file=/etc/edgeclassifier/mqtt-password"]
    config = load_config(None, overrides=given)
    assert '-P "$(cat /etc/edgeclassifier/mqtt-password)"' in watch_command(config)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "-u me -P PASSWORD -t" in watch_command(config)


@needs_mosquitto
def test_a_broker_that_is_away_is_not_claimed_to_have_it(site: Site) -> None:
    site.settings["mqtt"]["port"] = free_port()
    with site.daemon() as daemon:
        assert daemon.wait_for_line("/predictions once the broker is connected; watch with: ")


@needs_mosquitto
def test_each_change_of_the_state_is_said_with_where_it_comes_from(
    site: Site, watching: Subscriber
) -> None:
    site.settings["camera.replay"]["rate_hz"] = 2
    site.settings["state"] = {"hold_s": 1.0, "window_s": 0.0, "threshold": 0.0}
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(10))
        assert wait_until(lambda: len(states(daemon)) > 2), daemon.lines
        said = states(daemon)
        named = {each[2] for each in said}
        assert watching.wait_for(
            lambda got: named <= {each["name"] for each in of(got, "event")}
        ), (named, of(watching.messages, "event"))
    assert said[0][1] is None
    assert [each[1] for each in said[1:]] == [each[2] for each in said[:-1]]


@needs_mosquitto
def test_a_state_that_changes_with_every_frame_does_not_fill_the_journal(
    site: Site, watching: Subscriber
) -> None:
    started_s = time.monotonic()
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(3 * RATE_HZ))
        daemon.stop()
        assert daemon.wait() == 0
    took_s = time.monotonic() - started_s
    events = len(of(watching.messages, "event"))
    assert events > 20
    assert 1 <= len(states(daemon)) <= took_s + 2


@needs_mosquitto
def test_a_quieter_level_says_neither(site: Site, watching: Subscriber) -> None:
    site.settings["log"] = {"level": "warning"}
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(RATE_HZ))
    assert daemon.lines == []


def state(name: str, score: float = 0.5) -> State:
    return State(
        name=name,
        label=f"{name}, by another name",
        class_id=None if name == UNKNOWN else 7,
        score=score,
        previous_name=None,
        previous_label=None,
        since_s=0.0,
    )


def test_what_came_and_went_between_two_lines_leaves_no_lie_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: clock[-1])
    caplog.set_level("INFO")
    said = Commentary(started_s=0.0, watch=str)
    for now_s, label in [
        (100.0, "fox"),
        (101.0, "cat"),
        (102.0, "fox"),
        (120.0, "fox"),
        (121.0, "unknown"),
        (122.0, "cat"),
        (123.0, "a\x1b[2Jb"),
        (132.0, "a\x1b[2Jb"),
    ]:
        clock.append(now_s)
        said.follow(state(label), hold_s=10.0)
    assert caplog.messages == [
        "state: fox (50.0%)",
        "state: fox -> unknown (best average 50.0%)",
        "state: unknown -> a\\u001b[2Jb (50.0%)",
    ]


# What was changed on request


@needs_mosquitto
@needs_clients
def test_a_change_on_request_is_said_at_the_next_start_shown_and_taken_back(
    site: Site, watching: Subscriber
) -> None:
    """The line of the log, that of `config`, and that of the doctor are about the same change."""
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(1))
        watching.publish(f"{site.topic}/request/set_threshold", '{"threshold": 0.75}')
        assert watching.wait_for(
            lambda got: newest(got, "info").get("overrides") == {"state.threshold": 0.75}
        )
        assert not any("set on request" in line for line in daemon.lines)
        daemon.stop()
        daemon.wait()

    env = isolated(site.folder)
    shown = run_cli("config", "--config", site.config, env=env).stdout
    told = "set on request (set_threshold); the configuration has 0.3"
    assert f"threshold = 0.75  # {told}\n" in shown
    assert shown.count("  # ") == 1
    as_json = json.loads(run_cli("config", "--json", "--config", site.config, env=env).stdout)
    assert as_json["state"]["threshold"] == 0.75
    assert as_json["overrides"] == {"state.threshold": {"value": 0.75, "configured": 0.3}}
    checked = run_cli("check", "--no-camera", "--json", "--config", site.config, env=env)
    assert checked.returncode == 0, checked.stdout
    [note] = [each for each in json.loads(checked.stdout) if each["id"] == "config.overridden"]
    assert note["level"] == "note"
    assert f"state.threshold is 0.75, {told}" in note["detail"]

    watching.clear()
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(1))
        [line] = [each for each in daemon.lines if "set on request" in each]
        assert f"INFO    state.threshold is 0.75, {told}; take it back with: " in line
        command = line.partition("take it back with: ")[2]
        assert f"`{command}`" in note["remedy"]
        assert shell(command).returncode == 0
        assert watching.wait_for(lambda got: newest(got, "info").get("overrides") == {})
        daemon.stop()
        daemon.wait()
    assert "set on request" not in run_cli("config", "--config", site.config, env=env).stdout


@needs_mosquitto
def test_a_device_that_takes_no_such_request_says_what_else_takes_it_back(site: Site) -> None:
    site.settings["commands"] = {"allow": ["health"]}
    site.state.mkdir()
    change = {"state.threshold": {"value": 0.75, "instead_of": 0.3}}
    (site.state / "overrides.json").write_text(json.dumps(change))
    with site.daemon() as daemon:
        assert daemon.wait_for_line("; change state.threshold in the configuration to take it back")
    site.settings["state"]["threshold"] = 0.5
    with site.daemon() as daemon:
        assert daemon.wait_for_line("first prediction")
        assert not any("set on request" in line for line in daemon.lines)


def test_what_a_chosen_model_sets_aside_is_marked_and_no_file_is_written(tmp_path: Path) -> None:
    config, state_folder = tmp_path / "my.toml", tmp_path / "state"
    config.write_text(
        f'[device]\nstate_directory = "{state_folder}"\n'
        '[model]\nname = "birds"\nlabels = "birds.txt"\nmean = [127.5]\nstd = [127.5]\n'
    )
    state_folder.mkdir()
    kept = state_folder / "overrides.json"
    changes = {
        "model.name": {"value": "fish, \x1b[2Jand more", "instead_of": "birds"},
        "state.threshold": {"value": 0.75, "instead_of": 0.4},
    }
    kept.write_text(json.dumps(changes))
    done = run_cli("config", "--config", config, env=isolated(tmp_path))
    assert 'name = "fish, \\u001b[2Jand more"  # set on request (set_model); the' in done.stdout
    assert f'labels = ""  # "{tmp_path}/birds.txt" of the configuration is for the' in done.stdout
    assert "mean = []  # [127.5] of the configuration is for the configured model" in done.stdout
    # Its key has another value by now: the change is outdated, and for the daemon to forget.
    assert "threshold = 0.3\n" in done.stdout
    assert json.loads(kept.read_text()) == changes
    assert "\x1b" not in done.stdout
    (again := tmp_path / "again.toml").write_text(done.stdout)
    assert load_config(again).model.name == "fish, \x1b[2Jand more"


def test_root_is_shown_what_the_service_keeps_and_others_that_they_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell has not the unit's STATE_DIRECTORY, whoever types there."""
    for name in ("etc", "unit", "var"):
        (tmp_path / name).mkdir()
    (file := tmp_path / "etc" / "config.toml").write_text("")
    (unit := tmp_path / "unit" / "edgeclassifier.service").write_text("")
    kept = tmp_path / "var" / "overrides.json"
    kept.write_text('{"state.threshold": {"value": 0.75, "instead_of": 0.3}}')
    monkeypatch.setattr(config_command, "SYSTEM_CONFIG", file)
    monkeypatch.setattr(config_command, "_UNIT", unit)
    monkeypatch.setattr(config_command, "_STATE_OF_SERVICE", tmp_path / "var")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert main(["config", "--config", str(file)]) == 0
    assert "threshold = 0.75  # set on request (set_threshold)" in capsys.readouterr().out

    (mine := tmp_path / "my.toml").write_text("")
    assert main(["config", "--config", str(mine)]) == 0
    assert "set on request" not in capsys.readouterr().out

    opened = os.open

    def refuse(name: Any, *arguments: Any, **options: Any) -> int:
        if name == kept:
            raise PermissionError(13, "Permission denied")
        return opened(name, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert main(["config", "--config", str(file)]) == 0
    shown = capsys.readouterr()
    assert "threshold = 0.3\n" in shown.out
    assert "cannot be read by this user" in shown.err


def test_a_damaged_file_of_changes_is_said_and_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text(f'[device]\nstate_directory = "{tmp_path}"\n')
    (tmp_path / "overrides.json").write_text("{")
    done = run_cli("config", "--config", config, env=isolated(tmp_path))
    assert done.returncode == 0
    assert "damaged" in done.stderr
    assert "threshold = 0.3\n" in done.stdout
