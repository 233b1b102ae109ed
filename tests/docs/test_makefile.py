"""What `make` makes anew, and when."""

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
*) exec {python} "$@" ;;
esac
"""


def make(folder: Path) -> str:
    command = ["make", f"PYTHON={folder}/python", ".venv/ready"]
    env = {**KEPT, "PYTHONPATH": str(folder / "packages")}
    done = run(command, cwd=folder, env=env, timeout_s=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make (apt: make)")
def test_the_environment_follows_picamera2(tmp_path: Path) -> None:
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "python").write_text(PYTHON.replace("{python}", sys.executable))
    (tmp_path / "python").chmod(0o755)
    (requirements := tmp_path / "deploy" / "requirements").mkdir(parents=True)
    for file in (requirements / "run.txt", requirements / "run-system.txt"):
        file.touch()
    (tmp_path / "pyproject.toml").touch()
    picamera2 = tmp_path / "packages" / "picamera2.py"
    picamera2.parent.mkdir()
    own, system = "made with: -m venv .venv\n", "made with: -m venv --system-site-packages .venv\n"
    assert own in make(tmp_path)
    assert "made with" not in make(tmp_path)
    picamera2.touch()
    assert system in make(tmp_path)
    assert "made with" not in make(tmp_path)
    shutil.rmtree(picamera2.parent)  # with its byte code
    assert own in make(tmp_path)
