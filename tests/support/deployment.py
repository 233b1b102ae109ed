"""What the tests of the deployment share: its scripts, Ansible's programs, and releases."""

import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from support.programs import run

DEPLOY = Path(__file__).parents[2] / "deploy"
ROLE = DEPLOY / "roles" / "edgeclassifier"


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
    given = {"PATH": path, "HOME": str(home), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    return run([program, *arguments], cwd=DEPLOY, env={**os.environ, **given})


def make_wheel(folder: Path, name: str, *, content: str, distribution: str = "") -> Path:
    """Make a wheel of one module and one command; the distribution's name may be another."""
    distribution = distribution or name
    info = f"{distribution}-1.0.dist-info"
    files = {
        f"{name}.py": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{path},{digest(text)},{len(text)}\n" for path, text in files.items())
    wheel = folder / f"{distribution}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            # At a fixed time, so that the same content gives the same wheel.
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def digest(text: str) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={encoded.rstrip(b'=').decode()}"


def make_archive(folder: Path, *, own: str) -> Path:
    """Make what a release is pushed as, of two wheels, the one of the project with `own` in it."""
    made = [
        make_wheel(folder, "dependency", content="def main(): print('dependency')\n"),
        make_wheel(
            folder,
            "edgeclassifier",
            content=f"def main(): print({own!r})\n",
            distribution="edgeclassifier_daemon",
        ),
    ]
    wheelhouse = load(DEPLOY / "wheelhouse.py")
    (folder / "share").mkdir()
    (folder / "share" / "unit").write_text("[Unit]\n")
    wheelhouse.finish(folder, made)
    archive: Path = folder / wheelhouse.ARCHIVE
    return archive


def says(folder: Path, command: str) -> str:
    program = folder / "bin" / command
    return subprocess.run([program], check=True, capture_output=True, text=True, timeout=30).stdout
