"""What `make` rebuilds, and when."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from support.programs import run

MAKEFILE = Path(__file__).parents[2] / "Makefile"
KEPT = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
# Says which environment it was to make, and makes one that installs nothing.
PYTHON = """\
#!/bin/sh
case "$*" in
"-m venv "*)
    for folder; do :; done
    mkdir -p "$folder/bin"
    ln -s /bin/true "$folder/bin/python"
    echo "made with: $*"
    ;;
*base_prefix*) {python} "$@" && echo {name} ;;
*) exec {python} "$@" ;;
esac
"""


OWN, SYSTEM = "made with: -m venv .venv\n", "made with: -m venv --system-site-packages .venv\n"
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make (apt: make)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what the Makefile needs, and two Pythons."""
    shutil.copy(MAKEFILE, tmp_path)
    for name in ("python", "other-python"):
        script = PYTHON.replace("{python}", sys.executable).replace("{name}", name)
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    (requirements := tmp_path / "deploy" / "requirements").mkdir(parents=True)
    for file in (requirements / "run.txt", requirements / "run-system.txt"):
        file.touch()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "packages").mkdir()
    return tmp_path


def make(folder: Path, python: str = "python") -> str:
    command = ["make", f"PYTHON={folder}/{python}", ".venv/ready"]
    env = {**KEPT, "PYTHONPATH": str(folder / "packages")}
    done = run(command, cwd=folder, env=env, timeout_s=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_environment_follows_picamera2(folder: Path) -> None:
    picamera2 = folder / "packages" / "picamera2.py"
    assert OWN in make(folder)
    assert "made with" not in make(folder)
    picamera2.touch()
    assert SYSTEM in make(folder)
    assert "made with" not in make(folder)
    shutil.rmtree(picamera2.parent)  # with its byte code
    assert OWN in make(folder)


def test_the_environment_follows_the_python(folder: Path) -> None:
    make(folder)
    assert OWN in make(folder, "other-python")
    assert "made with" not in make(folder, "other-python")
    assert OWN in make(folder)


def test_a_python_that_is_not_there_is_told_and_costs_nothing(folder: Path) -> None:
    make(folder)
    done = run(["make", f"PYTHON={folder}/no-python", ".venv/ready"], cwd=folder, env=KEPT)
    assert done.returncode
    assert "3.11 or later is needed" in done.stdout
    assert (folder / ".venv" / "bin").is_dir()
