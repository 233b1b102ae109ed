"""What a package index is given: name, description, and all that belongs to the package."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
from support.daemon import REPOSITORY
from support.deployment import DEPLOY, load

from edgeclassifier import __version__
from edgeclassifier.config import load_config

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = REPOSITORY / PROJECT["readme"]
TAKEN = "edgeclassifier"
"""Another project has this name on the package index."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built: Path = load(DEPLOY / "wheelhouse.py").project_wheel(tmp_path_factory.mktemp("wheel"))
    return built


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_the_distribution_has_a_name_of_its_own_and_the_command_keeps_its(wheel: Path) -> None:
    assert metadata(wheel)["Name"] == PROJECT["name"] == "edgeclassifier-daemon"
    assert wheel.name == f"edgeclassifier_daemon-{__version__}-py3-none-any.whl"
    assert list(PROJECT["scripts"]) == ["edgeclassifier"]


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "edgeclassifier"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not tracked:
        pytest.skip("not in a clone: there is no list of files to compare with")
    with zipfile.ZipFile(wheel) as archive:
        names = {each for each in archive.namelist() if ".dist-info/" not in each}
    assert "edgeclassifier/py.typed" in names
    assert set(tracked) <= names
    assert {each.split("/")[0] for each in names} == {"edgeclassifier"}


def test_a_release_is_named_after_the_wheel_of_the_project(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    name = load(DEPLOY / "wheelhouse.py").finish(tmp_path, [wheel])
    assert re.fullmatch(re.escape(__version__) + "-[0-9a-f]{12}", name)


def test_the_metadata_says_for_what(wheel: Path) -> None:
    told = metadata(wheel)
    assert told.get_all("Project-URL") is None, "no address is right for every copy"
    assert "mqtt" in told["Keywords"].split(",")
    classifiers = set(told.get_all("Classifier", []))
    for minor in range(11, 15):
        assert f"Programming Language :: Python :: 3.{minor}" in classifiers
    assert "Typing :: Typed" in classifiers
    assert told["Description-Content-Type"] == "text/markdown"


def test_the_page_of_the_index_needs_no_file_beside_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
    assert [each for pair in targets for each in pair if each and "://" not in each] == []
    assert set(re.findall(r"^(`{3}.*)$", text, re.MULTILINE)) <= {"```", "```sh", "```toml"}


def test_the_page_of_the_index_shows_extras_and_a_configuration_that_exist(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(rf"{PROJECT['name']}\[([\w,-]+)\]", text)
    listed = re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)
    assert named
    for extra in [*listed, *",".join(named).split(",")]:
        assert extra in PROJECT["optional-dependencies"]
    (config := tmp_path / "my.toml").write_text(
        "\n".join(re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    )
    load_config(config)


def texts() -> Iterator[Path]:
    for folder in ("edgeclassifier", "docs", "deploy", "systemd", ".github", ".ci"):
        yield from (each for each in (REPOSITORY / folder).rglob("*") if each.is_file())
    yield from (each for each in REPOSITORY.iterdir() if each.is_file())


def test_nobody_is_told_to_install_the_project_that_has_the_name() -> None:
    told = re.compile(rf"pip3? install[^\n`]*[\s'\"]{TAKEN}(?![\w/.-])|\b{TAKEN}\[\w|\b{TAKEN}==")
    found = []
    for path in texts():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(REPOSITORY)}: {each}" for each in told.findall(text)]
    assert found == []


def test_the_source_distribution_has_what_its_page_promises(tmp_path: Path) -> None:
    wheelhouse = load(DEPLOY / "wheelhouse.py")
    wheelhouse.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)])
    (built,) = tmp_path.glob("edgeclassifier_daemon-*.tar.gz")
    with tarfile.open(built) as archive:
        names = {each.partition("/")[2] for each in archive.getnames()}
    assert {"docs/pi.md", "CHANGELOG.md", "deploy/install.sh", "deploy/site.yml"} <= names
