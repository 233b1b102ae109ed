"""Ansible against the virtual Pi, from a copy of this checkout that a test may break."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from system.machine import Machine
from system.wheels import REPOSITORY

_HOST = "virtual-pi"
_COPIED = ("deploy", "edgeclassifier", "systemd", "LICENSE", "README.md", "pyproject.toml")
_RECAP = re.compile(rf"^{_HOST}\s.*changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
_VERSION = re.compile(r'__version__ = ".*"')
_TASK = re.compile(r"^TASK \[(?:\w+ : )?(.*)\] \**$")
_TASKS = re.compile(_TASK.pattern, re.MULTILINE)
_TIMEOUT_S = 3600
_POLL_S = 0.2
_SLOWEST = 8


class DeploymentError(Exception):
    """A playbook ended otherwise than was wanted. The message has its output's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recap:
    """How a playbook ended."""

    ok: bool
    changed: int
    output: str
    tasks: tuple[tuple[float, str], ...]
    """How long each task took, in seconds, and its name."""

    @property
    def slowest(self) -> str:
        """Say what took longest."""
        longest = sorted(self.tasks, reverse=True)[:_SLOWEST]
        return "; ".join(f"{seconds:.0f} s {name}" for seconds, name in longest)


class Checkout:
    """A copy of the project with a version of its own, which a test may change."""

    def __init__(self, folder: Path, *, version: str) -> None:
        """Copy what a release is made of; wheels are collected in the project's own cache."""
        self.folder = folder
        self.version = version
        folder.mkdir()
        for name in _COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", ".cache")
                shutil.copytree(source, folder / name, ignore=ignore)
            else:
                shutil.copy2(source, folder / name)
        collected = REPOSITORY / ".cache" / "wheelhouse"
        collected.mkdir(parents=True, exist_ok=True)
        (folder / ".cache").mkdir()
        (folder / ".cache" / "wheelhouse").symlink_to(collected)
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
    lines: list[str] = []
    begun: list[tuple[float, str]] = []
    with subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        limit = threading.Timer(_TIMEOUT_S, process.kill)
        limit.start()
        try:
            for line in process.stdout:
                lines.append(line)
                if task := _TASK.match(line):
                    begun.append((time.monotonic(), task[1]))
            process.wait()
        finally:
            limit.cancel()
            process.kill()  # what is left of it when this is interrupted
    ends_s = [at_s for at_s, _ in begun[1:]] + [time.monotonic()]
    output = "".join(lines)
    found = _RECAP.search(output)
    return Recap(
        ok=process.returncode == 0,
        changed=int(found[1]) if found else -1,
        output=output,
        tasks=tuple(
            (end_s - at_s, name) for (at_s, name), end_s in zip(begun, ends_s, strict=False)
        ),
    )


class Background:
    """A playbook that runs while something else happens; a context manager that ends it."""

    def __init__(
        self, machine: Machine, checkout: Checkout, name: str, *, variables: Mapping[str, Any]
    ) -> None:
        """Start it; its output goes to a file beside the checkout's."""
        command, env, folder = _command(machine, checkout, name, variables=variables)
        self._log = checkout.folder / "background.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait_for(self, task: str, *, timeout_s: float) -> None:
        """Wait until a task begins, named by how its name begins. Raises DeploymentError."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            said = self._log.read_text()
            if any(found.startswith(task) for found in _TASKS.findall(said)):
                return
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise DeploymentError(f"{task!r} has not begun:\n{said[-6000:]}")
            time.sleep(_POLL_S)


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
