"""Commands and files over SSH, through one connection that is kept open."""

import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from system.tools import find


class ShellError(Exception):
    """A command ended with another exit code than 0. The message has its output."""


class Shell:
    """root's shell on a guest, whose SSH is reached through a port of the loopback interface."""

    def __init__(self, *, port: int, key: Path, host_key: str) -> None:
        """Prepare; nothing is connected before the first command. `host_key`: type and key."""
        # A Unix socket's path may have no more than about a hundred characters.
        self._folder = tempfile.TemporaryDirectory(prefix="virtual-pi-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} {host_key}\n")
        self._options = [
            *("-F", "none"),
            *("-i", str(key)),
            *_option("IdentitiesOnly", "yes"),
            *_option("BatchMode", "yes"),
            *_option("UserKnownHostsFile", str(known_hosts)),
            *_option("GlobalKnownHostsFile", "none"),
            *_option("HostKeyAlgorithms", "ssh-ed25519"),
            # Cheaper to emulate than the default.
            *_option("KexAlgorithms", "curve25519-sha256"),
            *_option("ConnectTimeout", "20"),
            *_option("ServerAliveInterval", "10"),
            *_option("ControlMaster", "auto"),
            *_option("ControlPath", str(folder / "control-%r")),  # each user needs one
            *_option("ControlPersist", "600"),
        ]
        self.destination: Final = ["-p", str(port), "root@127.0.0.1"]

    @property
    def options(self) -> list[str]:
        """ssh's options, for a program that calls ssh by itself (Ansible)."""
        return list(self._options)

    def run(
        self, command: str, *, check: bool = True, timeout_s: float = 120, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell as root. Raises ShellError; subprocess.TimeoutExpired."""
        result = subprocess.run(
            [find("ssh"), *self._options, *self.destination, command],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
        done = subprocess.CompletedProcess(
            command,
            result.returncode,
            result.stdout.decode(errors="replace"),
            result.stderr.decode(errors="replace"),
        )
        if check and done.returncode:
            raise ShellError(
                f"{command!r} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr}"
            )
        return done

    def output(self, command: str, *, timeout_s: float = 120) -> str:
        """Run a line of shell and return what it printed, without the last line's end."""
        return self.run(command, timeout_s=timeout_s).stdout.rstrip("\n")

    def write(self, path: str, content: str | bytes, *, mode: str = "644") -> None:
        """Write a file, making its folder."""
        data = content.encode() if isinstance(content, str) else content
        quoted = shlex.quote(path)
        self.run(f"install -D -m {mode} /dev/stdin {quoted}", stdin=data, timeout_s=300)

    def put(self, source: Path, target: str) -> None:
        """Copy a folder's content into a folder of the guest, which is made if it is not there."""
        archive = subprocess.run(
            ["tar", "-C", str(source), "-c", "."], check=True, capture_output=True, timeout=300
        ).stdout
        quoted = shlex.quote(target)
        self.run(f"mkdir -p {quoted} && tar -C {quoted} -x", stdin=archive, timeout_s=600)

    def disconnect(self) -> None:
        """Drop the kept connection, which may be one to a machine that is gone."""
        subprocess.run(
            [find("ssh"), *self._options, "-O", "exit", *self.destination],
            capture_output=True,
            check=False,
            timeout=30,
        )

    def close(self) -> None:
        """Drop the connection and its files."""
        self.disconnect()
        self._folder.cleanup()


def _option(name: str, value: str) -> tuple[str, str]:
    return "-o", f"{name}={value}"
