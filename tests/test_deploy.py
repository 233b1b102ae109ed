"""The deployment, as far as it can be tried without a device."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

DEPLOY = Path(__file__).parent.parent / "deploy"
ROLE = DEPLOY / "roles" / "edgeclassifier"
PLAYBOOKS = ("site.yml", "rollback.yml", "uninstall.yml")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tool(name: str) -> str | None:
    """Find a program of Ansible's: beside this Python, in make's environment, or in the path."""
    folders = [Path(sys.executable).parent, DEPLOY.parent / ".venv-ansible" / "bin"]
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))


def run_tool(name: str, *arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    program = tool(name)
    if program is None:
        pytest.skip(f"{name} is not installed (deploy/requirements)")
    path = os.pathsep.join([str(Path(program).parent), os.environ["PATH"]])
    return subprocess.run(
        [program, *arguments],
        cwd=DEPLOY,
        env={**os.environ, "PATH": path, "HOME": str(home), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=110,
    )


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_ansible_understands_the_playbook(playbook: str, tmp_path: Path) -> None:
    arguments = ("--inventory", "inventory.example.yml", "--syntax-check", playbook)
    done = run_tool("ansible-playbook", *arguments, home=tmp_path)
    assert done.returncode == 0, done.stdout


def test_ansible_lint_is_content_with_the_production_profile(tmp_path: Path) -> None:
    arguments = ("--offline", "--strict", "--profile", "production", "--nocolor")
    done = run_tool("ansible-lint", *arguments, home=tmp_path)
    assert done.returncode == 0, done.stdout


def test_every_variable_is_described() -> None:
    defaults = (ROLE / "defaults" / "main.yml").read_text(encoding="utf-8")
    specs = (ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    described = set(re.findall(r"^      (edgeclassifier_\w+):$", specs, re.MULTILINE))
    assert set(re.findall(r"^(edgeclassifier_\w+):", defaults, re.MULTILINE)) == described


def test_everything_that_belongs_to_a_release_is_there() -> None:
    wheelhouse = load(DEPLOY / "wheelhouse.py")
    assert [path for path in wheelhouse.SHARED if not path.is_file()] == []


LOCK = """\
always==1.0 \\
    --hash=sha256:aa
arm==1.0 ; platform_machine == 'armv7l' \\
    --hash=sha256:bb
new==2.0 ; python_version >= '3.12' \\
    --hash=sha256:cc \\
    --hash=sha256:dd
"""


@pytest.mark.parametrize(
    ("python", "machine", "expected"),
    [
        ("3.11", "x86_64", ["always==1.0"]),
        ("3.13", "aarch64", ["always==1.0", "new==2.0"]),
        ("3.11", "armv7l", ["always==1.0", "arm==1.0"]),
    ],
)
def test_a_device_gets_what_its_own_python_and_machine_need(
    python: str, machine: str, expected: list[str]
) -> None:
    text = load(DEPLOY / "wheelhouse.py").applicable(LOCK, python=python, machine=machine)
    assert re.findall(r"^\S+==\S+", text, re.MULTILINE) == expected
    assert text.count("--hash") == len(expected) + ("new==2.0" in expected)
    assert ";" not in text


def test_the_probe_reports_what_is_not_as_it_should_be(tmp_path: Path) -> None:
    firmware = tmp_path / "sys/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "video0").touch()
    releases = tmp_path / "opt/edgeclassifier/releases"
    (releases / "1.0-aa").mkdir(parents=True)
    (releases / "1.0-aa" / ".complete").touch()
    (releases / "1.1-bb").mkdir()
    (tmp_path / "opt/edgeclassifier/current").symlink_to("releases/1.0-aa")
    (tmp_path / "opt/edgeclassifier/previous").symlink_to("releases/0.9-gone")
    found = load(ROLE / "files" / "probe.py").main(tmp_path)
    assert found["throttling"] == ["under-voltage", "throttled"]
    assert found["cameras"] == ["/dev/video0"]
    assert found["complete"] == ["1.0-aa"]
    assert (found["current"], found["previous"]) == ("1.0-aa", "")
    assert found["free_mib"] > 0


def test_the_probe_copes_with_an_empty_device(tmp_path: Path) -> None:
    found = load(ROLE / "files" / "probe.py").main(tmp_path)
    assert (found["throttling"], found["cameras"], found["complete"]) == ([], [], [])
    assert (found["current"], found["configured"]) == ("", False)


GOOD_UNIT = {
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "ExecMainStatus": "0",
    "NRestarts": "0",
}
GOOD_BROKER = {"problem": "", "availability": "online", "captured": NOW}


@pytest.mark.parametrize(
    ("unit", "broker", "expected"),
    [
        ({}, {}, ""),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, {}, "the unit is activating"),
        ({}, {"problem": "no route"}, "no route"),
        ({}, {"availability": "offline"}, "availability is offline"),
        ({}, {"captured": NOW - timedelta(seconds=1)}, "no prediction of a new frame"),
    ],
)
def test_the_health_gate_says_what_is_missing(
    unit: dict[str, str], broker: dict[str, object], expected: str
) -> None:
    gate = load(ROLE / "files" / "health_gate.py")
    said = gate.missing(GOOD_UNIT | unit, SimpleNamespace(**(GOOD_BROKER | broker)), since=NOW)
    assert said.startswith(expected)
    assert bool(said) == bool(expected)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--help"], 0, "--rollback"),
        (["--wat"], 2, "--wat: unknown option"),
        (["--config"], 2, "needs a value"),
        (["--config", "/nowhere/my.toml"], 2, "no such file"),
    ],
)
def test_the_installer_answers_before_it_does_anything(
    arguments: list[str], code: int, expected: str
) -> None:
    done = subprocess.run(
        [str(DEPLOY / "install.sh"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == code
    assert expected in done.stdout
