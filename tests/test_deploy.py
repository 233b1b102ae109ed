"""The deployment, as far as it can be tried without a device."""

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
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


@pytest.mark.parametrize(
    ("config", "is_stream"),
    [
        ('[camera]\nsource = "stream"\n', True),
        ("[camera]\n  source='stream'  # the door's\n", True),
        ('[camera]\n# source = "stream"\nsource = "picamera2"\n', False),
        ('[camera.stream]\nurl = "/dev/video0"\n', False),
    ],
)
def test_a_stream_is_refused_where_the_systems_pyav_is_too_old(
    config: str, is_stream: bool
) -> None:
    tasks = (ROLE / "tasks" / "config.yml").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"edgeclassifier_config_text is not search\('(.*)'\)", tasks)
    assert bool(re.search(pattern, config)) == is_stream


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


def test_the_probe_tells_what_is_as_it_should_be(tmp_path: Path) -> None:
    """The role leaves out what has these very descriptions."""
    etc = tmp_path / "etc/edgeclassifier"
    release = tmp_path / "opt/edgeclassifier/releases/1.0-aa"
    for folder in (etc, release):
        folder.mkdir(parents=True)
        folder.chmod(0o755)
    (release / "config.toml").write_text("[camera]\n")
    (release / "config.toml").chmod(0o640)
    (tmp_path / "opt/edgeclassifier/current").symlink_to("releases/1.0-aa")
    (etc / "config.toml").symlink_to(tmp_path / "opt/edgeclassifier/current/config.toml")
    (release / ".healthy").write_text("abc")
    found = load(ROLE / "files" / "probe.py").main(tmp_path)
    owner = f"{etc.owner()}:{etc.group()}"
    hashed = hashlib.sha256(b"[camera]\n").hexdigest()
    files = found["files"]
    assert files["/etc/edgeclassifier"] == f"drwxr-xr-x {owner}"
    assert files["/opt/edgeclassifier/current"] == "link releases/1.0-aa"
    assert files["/opt/edgeclassifier/current/config.toml"] == f"-rw-r----- {owner} {hashed}"
    assert (found["config"], found["healthy"]) == ("[camera]\n", {"1.0-aa": "abc"})
    assert found["releases"] == ["1.0-aa"]
    assert "root" in found["groups"]


def test_the_probe_copes_with_an_empty_device(tmp_path: Path) -> None:
    found = load(ROLE / "files" / "probe.py").main(tmp_path)
    assert (found["throttling"], found["cameras"], found["complete"]) == ([], [], [])
    assert (found["current"], found["config"], found["running"]) == ("", None, "")


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


FAILED_UNIT = GOOD_UNIT | {"ActiveState": "failed", "Result": "exit-code", "InvocationID": "a"}
ENDED_UNIT = GOOD_UNIT | {
    "ActiveState": "activating",
    "SubState": "auto-restart",
    "ExecMainStatus": "3",
    "InvocationID": "a",
}
STARTING_UNIT = GOOD_UNIT | {"ActiveState": "activating", "InvocationID": "a"}


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([FAILED_UNIT], "systemd will not start it again"),
        (
            [ENDED_UNIT, *(STARTING_UNIT | {"NRestarts": str(number)} for number in range(4))],
            "(auto-restart, result success, exit code 3, 0 restarts); it ends each time",
        ),
        # What was counted before the start does not matter.
        (
            [STARTING_UNIT | {"NRestarts": number} for number in ("7", "0", "1")],
            "s after the start",
        ),
    ],
)
def test_the_health_gate_does_not_wait_for_what_has_failed_for_good(
    units: list[dict[str, str]], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = load(ROLE / "files" / "health_gate.py")
    seen = chain(units, repeat(units[-1]))
    monkeypatch.setattr(gate, "unit_state", lambda: next(seen))
    monkeypatch.setattr(gate, "_STARTING_S", 0.0)
    broker = SimpleNamespace(step=lambda: None, **GOOD_BROKER)
    deadline_s = 0.2 if expected.startswith("s after") else 60.0
    said = gate.watch(broker, deadline_s=deadline_s, settle_s=0.0)
    assert said.endswith(expected)


def make_wheel(folder: Path, name: str, *, content: str) -> Path:
    """Make a wheel of one module and one command."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{path},{digest(text)},{len(text)}\n" for path, text in files.items())
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            # At a fixed time, so that the same content gives the same wheel.
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def digest(text: str) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={encoded.rstrip(b'=').decode()}"


def install_release(
    folder: Path, name: str, *, like: str = "", own: str = "", spoilt: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Make a release of two wheels, the one of the project with `own` in it."""
    (wheels := folder / f"wheels-{name}").mkdir()
    made = [
        make_wheel(wheels, "dependency", content="def main(): print('dependency')\n"),
        make_wheel(wheels, "edgeclassifier", content=f"def main(): print({own!r})\n"),
    ]
    wheelhouse = load(DEPLOY / "wheelhouse.py")
    (wheels / "share").mkdir()
    (wheels / "share" / "unit").write_text("[Unit]\n")
    wheelhouse.finish(wheels, made)
    archive = wheels / wheelhouse.ARCHIVE
    if spoilt:
        with zipfile.ZipFile(archive) as whole:
            files = {entry: whole.read(entry) for entry in whole.namelist()}
        with zipfile.ZipFile(archive, "w") as changed:
            for entry, content in files.items():
                changed.writestr(entry, content + b"x" * entry.endswith(".whl"))
    script = ROLE / "files" / "install_release.py"
    command = [sys.executable, str(script), str(archive), str(folder / name)]
    return subprocess.run(
        [*command, *(["--like", str(folder / like)] if like else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=110,
    )


def says(folder: Path, command: str) -> str:
    program = folder / "bin" / command
    return subprocess.run([program], check=True, capture_output=True, text=True, timeout=30).stdout


def test_a_release_takes_over_what_is_the_same_in_the_one_before(tmp_path: Path) -> None:
    first = install_release(tmp_path, "first", own="one")
    assert "2 wheels installed, 0 copied" in first.stdout
    assert (tmp_path / "first" / ".complete").is_file()
    assert (tmp_path / "first" / "share" / "unit").is_file()
    assert not (tmp_path / "first" / "wheels").exists()
    second = install_release(tmp_path, "second", like="first", own="two")
    assert "1 wheels installed, 1 copied" in second.stdout
    assert says(tmp_path / "second", "edgeclassifier") == "two\n"
    assert says(tmp_path / "first", "edgeclassifier") == "one\n"
    shutil.rmtree(tmp_path / "first")
    python = str(tmp_path / "second" / "bin" / "python")
    ran = [python, "-c", "import dependency; dependency.main()"]
    assert subprocess.check_output(ran, text=True, timeout=30) == "dependency\n"


def test_a_release_takes_nothing_damaged_from_the_one_before(tmp_path: Path) -> None:
    install_release(tmp_path, "first")
    (module,) = (tmp_path / "first").glob("lib/*/site-packages/dependency.py")
    module.write_bytes(bytes(module.stat().st_size))
    second = install_release(tmp_path, "second", like="first")
    assert "2 wheels installed, 0 copied" in second.stdout
    assert says(tmp_path / "second", "dependency") == "dependency\n"


def test_a_release_of_the_same_wheels_has_its_command(tmp_path: Path) -> None:
    """Commands name their environment, so they cannot be copied."""
    install_release(tmp_path, "first")
    second = install_release(tmp_path, "second", like="first")
    assert "1 wheels installed, 1 copied" in second.stdout
    assert says(tmp_path / "second", "edgeclassifier") == "\n"


def test_a_release_with_a_damaged_wheel_is_never_complete(tmp_path: Path) -> None:
    done = install_release(tmp_path, "first", spoilt=True)
    assert done.returncode == 1
    assert "pip failed" in done.stdout
    assert not (tmp_path / "first" / ".complete").exists()
    again = tmp_path / "wheels-first"
    again.rename(tmp_path / "spoilt")
    assert "2 wheels installed" in install_release(tmp_path, "first").stdout


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
