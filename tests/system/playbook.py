"""Ansible against the virtual Pi, from a copy of this checkout that a test may break."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from system.machine import Machine
from system.wheels import REPOSITORY

_HOST = "virtual-pi"
_COPIED = ("deploy", "edgeclassifier", "systemd", "LICENSE", "README.md", "pyproject.toml")
_RECAP = re.compile(rf"^{_HOST}\s.*changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
_VERSION = re.compile(r'__version__ = ".*"')
_TIMEOUT_S = 1800


class DeploymentError(Exception):
    """A playbook ended otherwise than was wanted. The message has its output's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recap:
    """How a playbook ended."""

    ok: bool
    changed: int
    output: str


class Checkout:
    """A copy of the project with a version of its own, which a test may change."""

    def __init__(self, folder: Path, *, version: str) -> None:
        """Copy what a release is made of; wheels that were collected before are used again."""
        self.folder = folder
        folder.mkdir()
        for name in _COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", ".cache")
                shutil.copytree(source, folder / name, ignore=ignore)
            else:
                shutil.copy2(source, folder / name)
        collected = REPOSITORY / ".cache" / "wheelhouse"
        if collected.is_dir():
            shutil.copytree(collected, folder / ".cache" / "wheelhouse")
        self.edit("edgeclassifier/__init__.py", _VERSION, f'__version__ = "{version}"')

    def edit(self, name: str, pattern: "re.Pattern[str]", replacement: str) -> None:
        """Replace what has to be in a file. Raises DeploymentError where it is not."""
        path = self.folder / name
        text, count = pattern.subn(replacement, path.read_text(), count=1)
        if not count:
            raise DeploymentError(f"{name} has no {pattern.pattern!r} to replace")
        path.write_text(text)


def play(
    machine: Machine,
    checkout: Checkout,
    name: str,
    *arguments: str,
    variables: Mapping[str, Any],
) -> Recap:
    """Run a playbook of the checkout and say how it ended."""
    command, env, folder = _command(machine, checkout, name, *arguments, variables=variables)
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    found = _RECAP.search(done.stdout)
    return Recap(
        ok=done.returncode == 0, changed=int(found[1]) if found else -1, output=done.stdout
    )


def begin(
    machine: Machine, checkout: Checkout, name: str, *, variables: Mapping[str, Any]
) -> "subprocess.Popen[bytes]":
    """Run a playbook in the background; its output goes nowhere."""
    command, env, folder = _command(machine, checkout, name, variables=variables)
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _command(
    machine: Machine,
    checkout: Checkout,
    name: str,
    *arguments: str,
    variables: Mapping[str, Any],
) -> tuple[list[str], dict[str, str], Path]:
    folder = checkout.folder / "deploy"
    inventory = folder / "inventory.yml"
    host = {
        "ansible_host": "127.0.0.1",
        "ansible_port": machine.ssh_port,
        "ansible_user": "root",
        "ansible_ssh_args": " ".join(machine.shell.options),
    }
    # JSON is YAML as well.
    inventory.write_text(
        json.dumps({"edgeclassifier": {"hosts": {_HOST: host}, "vars": dict(variables)}})
    )
    program = REPOSITORY / ".venv-ansible" / "bin" / "ansible-playbook"
    env = {
        **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return [str(program), "-i", str(inventory), name, *arguments], env, folder
