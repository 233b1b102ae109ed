"""The machine as a check sees it: files below a root, programs, users. Tests bring their own."""

import os
import platform
import shutil
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgeclassifier.compose.packages import RELEASES, Try, import_problem
from edgeclassifier.host import children
from edgeclassifier.host.children import Outcome
from edgeclassifier.host.files import open_named
from edgeclassifier.host.system import System

_MOST_BYTES = 1 << 18
_CHUNK_BYTES = 1 << 16
_COLUMNS = 4
"""Of /etc/passwd (name, password, id, group id, …) and /etc/group (…, id, members)."""
_SENSELESS = 19
SERVICE_USER = "edgeclassifier"


class Run(Protocol):
    """What runs a program; tests answer from records."""

    def __call__(self, command: Sequence[str], *, timeout_s: float, given: str = "") -> Outcome:
        """Run `command` with `given` as its standard input, for at most `timeout_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """The Python that runs the daemon, and its environment."""

    version: tuple[int, int, int] = sys.version_info[:3]
    bits: int = 8 * struct.calcsize("P")
    machine: str = field(default_factory=platform.machine)
    executable: str = sys.executable
    prefix: str = sys.prefix
    in_environment: bool = sys.prefix != sys.base_prefix

    @property
    def is_of_release(self) -> bool:
        """Whether deploy/ has made its environment."""
        return Path(self.prefix).is_relative_to(RELEASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user, for whom devices are open or not."""

    name: str
    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One that runs."""

    pid: int
    arguments: tuple[str, ...]

    @property
    def is_daemon(self) -> bool:
        """Whether it is `edgeclassifier run`."""
        pairs = zip(self.arguments, self.arguments[1:], strict=False)
        return any(Path(first).name == "edgeclassifier" and then == "run" for first, then in pairs)

    @property
    def is_ours(self) -> bool:
        """Whether it is the daemon, or works for it."""
        return self.is_daemon or any(
            each.startswith("edgeclassifier.accelerator") for each in self.arguments
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Files below `root`, and everything else that differs from machine to machine."""

    root: Path = Path("/")
    run: Run = children.run
    python: Python = field(default_factory=Python)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    uid: int = field(default_factory=os.geteuid)
    groups: Sequence[int] = field(default_factory=lambda: [os.getegid(), *os.getgroups()])
    kernel_clock: Callable[[], bool] = field(default_factory=lambda: System().clock_synchronized)
    now_s: Callable[[], float] = time.time
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    import_problem: Try = import_problem

    def path(self, name: str) -> Path:
        """Return where the file `name`, such as /proc/mounts, is."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """Read a file, at most its beginning; None if it cannot be read. Never waits."""
        try:
            fd = os.open(self.path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            try:
                content = b""
                # A file of the kernel comes in pieces.
                while len(content) < _MOST_BYTES and (piece := os.read(fd, _CHUNK_BYTES)):
                    content += piece
            finally:
                os.close(fd)
        except (OSError, ValueError):
            return None
        return content.decode(errors="replace").strip()

    def names(self, pattern: str) -> list[str]:
        """List the files that match, as on a machine whose root is /."""
        try:
            found = sorted(self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []
        return [os.fspath("/" / each.relative_to(self.root)) for each in found]

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file; no if that cannot be known."""
        try:
            return self.path(name).exists()
        except OSError:
            return False

    def user(self) -> Person:
        """Return who runs the daemon: the service's user if it is installed, else this one."""
        if service := self.service_user():
            return service
        names = {uid: name for name, uid, _ in self._accounts("/etc/passwd")}
        return Person(
            name=names.get(self.uid, f"#{self.uid}"), uid=self.uid, groups=frozenset(self.groups)
        )

    def service_user(self) -> Person | None:
        """Return the user of the service, None if it is not installed."""
        if self.names("/etc/systemd/system/edgeclassifier.service"):
            for name, uid, gid in self._accounts("/etc/passwd"):
                if name == SERVICE_USER:
                    return Person(name=name, uid=uid, groups=self._groups(name) | {gid})
        return None

    def group_of(self, name: str) -> str:
        """Return the group that a file belongs to, by name if it has one."""
        try:
            gid = self.path(name).stat().st_gid
        except OSError:
            return "?"
        names = {gid: name for name, gid, _ in self._accounts("/etc/group")}
        return names.get(gid, str(gid))

    def may_use(self, person: Person, name: str, how: int = os.R_OK | os.W_OK) -> bool:
        """Tell whether a file is open to a user; yes if it is gone.

        `how` is made of os.R_OK, os.W_OK and os.X_OK. Folders above it are not looked at.
        """
        try:
            found = self.path(name).stat()
        except OSError:
            return True
        if person.uid == 0:
            return True
        if person.uid == os.geteuid():
            # Knows of access lists, such as those for who sits before the machine.
            return os.access(self.path(name), how)
        shift = 6 if person.uid == found.st_uid else 3 if found.st_gid in person.groups else 0
        return (found.st_mode >> shift) & how == how

    def may_reach(self, person: Person, name: str, how: int) -> bool:
        """Tell whether a file is open to a user, as are all folders above it."""
        above = Path(name).parents
        return self.may_use(person, name, how) and all(
            self.may_use(person, os.fspath(each), os.X_OK) for each in above
        )

    def processes(self) -> list[Process]:
        """List what runs, but for this process."""
        listed = []
        for name in self.names("/proc/[0-9]*/cmdline"):
            pid, arguments = Path(name).parent.name, self.text(name)
            if arguments and number(pid) not in {-1, os.getpid()}:
                listed.append(Process(pid=number(pid), arguments=tuple(arguments.split("\0"))))
        return listed

    def holders(self, devices: Sequence[str]) -> list[Process]:
        """List the processes that have one of `devices` open, as far as this user may know."""
        wanted = set(devices)
        return [each for each in self.processes() if wanted & set(self._open_files(each.pid))]

    def may_have_loaded(self, process: Process, library: str) -> bool:
        """Tell whether a process has a library in its memory, for all that this user may know."""
        loaded = self.text(f"/proc/{process.pid}/maps")
        return loaded is None or library in loaded

    def command_of(self, process: Process) -> str:
        """Return the short name of a process."""
        return self.text(f"/proc/{process.pid}/comm") or Path(process.arguments[0]).name

    def _open_files(self, pid: int) -> list[str]:
        try:
            return [os.fspath(each.readlink()) for each in self.path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            return []

    def _accounts(self, name: str) -> list[tuple[str, int, int]]:
        """Read name, id and, in /etc/passwd, group id of each line that has them."""
        rows = [line.split(":") for line in (self.text(name) or "").splitlines()]
        return [
            (row[0], number(row[2]), number(row[3]))
            for row in rows
            if len(row) >= _COLUMNS and number(row[2]) >= 0
        ]

    def _groups(self, member: str) -> frozenset[int]:
        rows = [line.split(":") for line in (self.text("/etc/group") or "").splitlines()]
        return frozenset(
            number(row[2]) for row in rows if len(row) >= _COLUMNS and member in row[3].split(",")
        )


def is_closed(file: Path) -> bool:
    """Tell whether this user may not read a file that is there."""
    try:
        with open_named(file):
            return False
    except PermissionError:
        return True
    except OSError:
        return False


def number(text: str | None) -> int:
    """Read a whole number, as the kernel writes it; -1 where it is none, or senselessly long."""
    if text and text.isascii() and text.isdecimal() and len(text) < _SENSELESS:
        return int(text)
    return -1
