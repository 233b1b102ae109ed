"""The deployment, as far as it can be tried without a device."""

import hashlib
import json
import re
import subprocess
import venv
from pathlib import Path

import pytest
from support.deployment import DEPLOY, ROLE, load, make_archive, run_tool

PLAYBOOKS = ("site.yml", "rollback.yml", "uninstall.yml")


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


def test_the_wheelhouse_says_what_ansible_has_to_be_installed_with(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare")
    command = [str(tmp_path / "bare/bin/python"), str(DEPLOY / "wheelhouse.py")]
    done = subprocess.run(
        [*command, "--python", "3.13", "--machine", "aarch64"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "has no hatchling, packaging, pip: " in line
    assert f"-r {DEPLOY / 'requirements' / 'deploy.txt'}" in line


def test_nothing_on_a_device_is_changed_before_the_wheels_are_collected() -> None:
    tasks = (ROLE / "tasks" / "main.yml").read_text(encoding="utf-8")
    files = re.findall(r"(?:include_tasks|file): (\w+)\.yml", tasks)
    assert files[:3] == ["preflight", "collect", "base"]


def test_what_was_collected_before_is_not_used_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card that damages a release may be the one that the wheels are on."""
    wheelhouse = load(DEPLOY / "wheelhouse.py")
    downloads = []

    def download(command: list[str]) -> None:
        downloads.append(command)
        (Path(command[command.index("--dest") + 1]) / "one.whl").write_bytes(b"a wheel")

    monkeypatch.setattr(wheelhouse, "CACHE", tmp_path)
    monkeypatch.setattr(wheelhouse, "run", download)
    (lock := tmp_path / "lock.txt").write_text(
        f"one==1.0 \\\n    --hash=sha256:{hashlib.sha256(b'a wheel').hexdigest()}\n"
    )
    (wheel,) = wheelhouse.locked_wheels(lock, python="3.13", machine="aarch64")
    wheelhouse.locked_wheels(lock, python="3.13", machine="aarch64")
    assert len(downloads) == 1
    wheel.write_bytes(b"a weel!")
    assert wheelhouse.locked_wheels(lock, python="3.13", machine="aarch64") == [wheel]
    assert wheel.read_bytes() == b"a wheel"
    archive = make_archive(tmp_path, own="")
    assert wheelhouse.is_whole(archive)
    content = bytearray(archive.read_bytes())
    content[content.index(b"print")] ^= 1
    archive.write_bytes(content)
    assert not wheelhouse.is_whole(archive)
    assert not wheelhouse.is_whole(tmp_path / "absent")


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


@pytest.mark.parametrize(
    "firmware", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"], ids=["4", "5"]
)
def test_the_probe_reports_what_is_not_as_it_should_be(firmware: str, tmp_path: Path) -> None:
    throttled = tmp_path / "sys/devices/platform" / firmware / "get_throttled"
    throttled.parent.mkdir(parents=True)
    throttled.write_text("50005\n")
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
    (release / ".healthy").write_text("config abc")
    found = load(ROLE / "files" / "probe.py").main(tmp_path)
    owner = f"{etc.owner()}:{etc.group()}"
    hashed = hashlib.sha256(b"[camera]\n").hexdigest()
    files = found["files"]
    assert files["/etc/edgeclassifier"] == f"drwxr-xr-x {owner}"
    assert files["/opt/edgeclassifier/current"] == "link releases/1.0-aa"
    assert files["/opt/edgeclassifier/current/config.toml"] == f"-rw-r----- {owner} {hashed}"
    assert (found["config"], found["healthy"]) == ("[camera]\n", {"1.0-aa": "config abc"})
    assert found["releases"] == ["1.0-aa"]
    assert "root" in found["groups"]


def test_the_probe_says_nothing_that_is_derived_from_a_password(tmp_path: Path) -> None:
    """Its words are printed by `ansible-playbook -v`."""
    etc, release = tmp_path / "etc/edgeclassifier", tmp_path / "opt/edgeclassifier/releases/1.0-aa"
    for folder in (etc, release):
        folder.mkdir(parents=True)
    (etc / "mqtt-password").write_text("swordfish\n")
    of_an_earlier_version = hashlib.sha256(b"[camera]\nswordfish").hexdigest()
    (release / ".healthy").write_text(of_an_earlier_version)
    found = load(ROLE / "files" / "probe.py").main(tmp_path)
    assert found["healthy"] == {"1.0-aa": ""}
    said = json.dumps(found)
    for content in (b"swordfish", b"swordfish\n"):
        assert hashlib.sha256(content).hexdigest() not in said
    assert of_an_earlier_version not in said


def test_the_role_computes_nothing_from_a_password() -> None:
    for file in sorted((ROLE / "tasks").glob("*.yml")):
        for line in file.read_text().splitlines():
            assert not ("password" in line and "hash(" in line), f"{file.name}: {line}"


def test_the_probe_copes_with_an_empty_device(tmp_path: Path) -> None:
    found = load(ROLE / "files" / "probe.py").main(tmp_path)
    assert (found["throttling"], found["cameras"], found["complete"]) == ([], [], [])
    assert (found["current"], found["config"], found["running"]) == ("", None, "")
