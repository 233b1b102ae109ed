"""What the tests of the deployment share: its folders, its scripts, and Ansible's programs."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

DEPLOY = Path(__file__).parent.parent / "deploy"
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
