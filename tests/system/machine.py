"""The virtual Pi itself: an emulated Debian with a camera, a disk and a way in."""

import base64
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from system.disk import Disk
from system.image import Image, Say
from system.shell import Shell, ShellError
from system.tools import EMULATORS, Architecture, find

HOST_ADDRESS = "10.0.2.2"
"""This machine's loopback interface, as the guest sees it."""

BOOT_TIMEOUT_S = 600.0
"""Nothing takes nearly as long, except aarch64 on a busy machine."""

_MODELS: dict[Architecture, tuple[str, ...]] = {
    "amd64": ("-M", "q35", "-cpu", "max"),
    "arm64": ("-M", "virt", "-cpu", "cortex-a72"),  # the Pi 4's core
}
_CONSOLES: dict[Architecture, str] = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
# A Pi's own options: the file system is checked at boot, and repaired if need be.
_KERNEL = "root=/dev/vda rootfstype=ext4 fsck.repair=yes rootwait panic=10"


class MachineError(Exception):
    """The machine did not do what was asked. The message has the console's end."""


class Machine:
    """One virtual Pi; a context manager that leaves no emulator behind.

    The guest reaches ports of this machine's loopback interface at HOST_ADDRESS, and nothing else.

    A power cut is the end of the emulator by SIGKILL. Lost is what the guest's kernel has not
    written yet (up to 30 s of what nobody synced), and what it has written but not flushed. What
    the guest has flushed (fsync) is kept. An SD card can do worse: tear a sector, or forget what it
    has confirmed.
    """

    def __init__(
        self, image: Image, folder: Path, *, say: Say, memory_mib: int = 2048, cores: int = 2
    ) -> None:
        """Keep disk and console logs in `folder`; a disk that is there already is used again."""
        folder.mkdir(parents=True, exist_ok=True)
        self.disk = Disk(base=image.disk, folder=folder)
        self.console = folder / "console.log"
        self._image = image
        self._say = say
        self._memory_mib = memory_mib
        self._cores = cores
        self._emulator_log = folder / "emulator.log"
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.shell = Shell(port=self._port, key=image.key, host_key=image.host_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.power_cut()
        self.shell.close()

    @property
    def ssh_port(self) -> int:
        """Of the loopback interface; see image.key for the key."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether the emulator runs, which says nothing about the guest."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float = BOOT_TIMEOUT_S) -> str:
        """Switch on and wait until all units are up; return systemd's word for it."""
        if self.running:
            raise MachineError("is already running")
        if self.console.exists():
            with self.console.open("rb") as last, self._all_consoles.open("ab") as log:
                log.write(last.read())
        with self._emulator_log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self.disk.begin()), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.wait_until_up(timeout_s=timeout_s)

    def wait_until_up(self, *, timeout_s: float = BOOT_TIMEOUT_S, after: str = "") -> str:
        """Wait for SSH and then for systemd; return "running", or which units failed.

        With `after`, a boot id, the boot has to be a later one.
        """
        started_s = time.monotonic()
        deadline_s = started_s + timeout_s
        while self._try("cat /proc/sys/kernel/random/boot_id") in ("", after):
            self._check_time(deadline_s, "SSH does not answer")
            time.sleep(0.5)
        ssh_s = time.monotonic() - started_s
        state = ""
        while state not in ("running", "degraded"):
            self._check_time(deadline_s, f"systemd is not done: {state or 'no answer'}")
            state = self._try("systemctl is-system-running --wait", timeout_s=timeout_s)
        up_s = time.monotonic() - started_s
        if state == "degraded":
            failed = self.shell.output("systemctl --failed --plain --no-legend --full")
            state = f"degraded: {'; '.join(failed.splitlines())}"
        self._say(f"boot: SSH after {ssh_s:.1f} s, all units after {up_s:.1f} s: {state}")
        return state

    def run(
        self, command: str, *, check: bool = True, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell as root. Raises ShellError."""
        return self.shell.run(command, check=check, timeout_s=timeout_s)

    def boot_id(self) -> str:
        """Return the guest's name for the time since it was switched on."""
        return self.shell.output("cat /proc/sys/kernel/random/boot_id")

    def reboot(self, *, timeout_s: float = BOOT_TIMEOUT_S) -> str:
        """Let the guest shut down and start again; return what start() returns."""
        before = self.boot_id()
        self.shell.run("systemctl reboot", check=False)
        self.shell.disconnect()
        return self.wait_until_up(timeout_s=timeout_s, after=before)

    def stop(self, *, timeout_s: float = 180) -> None:
        """Shut down and wait for the emulator's end."""
        process = self._process
        if process is None:
            return
        self.shell.run("systemctl poweroff", check=False)
        self.shell.disconnect()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise MachineError(f"does not switch off:\n{self.console_end()}") from None
        finally:
            self.power_cut()

    def power_cut(self) -> None:
        """End the emulator at once; may be called while it is off."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.shell.disconnect()

    def show(self, *names: str, seconds: float = 10.0, rate_hz: float = 10.0) -> None:
        """Put pictures before the camera (samples' names without suffix), one after the other.

        Takes effect when the camera is next opened. Each stays on for as many frames as make up
        `seconds` at `rate_hz`; a single one stays for ever.
        """
        repeats = 1 if len(names) == 1 else max(1, round(seconds * rate_hz))
        frames = [name for name in names for _ in range(repeats)]
        links = [f"ln -s {shlex.quote(f'../pictures/{name}.jpg')} {number}.jpg"
                 for number, name in enumerate(frames)]  # fmt: skip
        folder = "/srv/camera"
        lines = [f"rm -rf {folder}", f"mkdir {folder}", f"cd {folder}", *links, "sync"]
        self.shell.run("set -e\n" + "\n".join(lines))

    def console_end(self, lines: int = 30) -> str:
        """Return the last lines of the serial console since the machine was switched on."""
        if not self.console.exists():
            return ""
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])

    @property
    def _all_consoles(self) -> Path:
        return self.console.with_name("console-before.log")

    def _try(self, command: str, timeout_s: float = 60) -> str:
        try:
            return self.shell.run(command, check=False, timeout_s=timeout_s).stdout.strip()
        except subprocess.TimeoutExpired:
            self.shell.disconnect()
            return ""

    def _check_time(self, deadline_s: float, problem: str) -> None:
        if not self.running:
            log = self._emulator_log.read_text(errors="replace")[-2000:]
            raise MachineError(f"the emulator ended:\n{log}\n{self.console_end()}")
        if time.monotonic() > deadline_s:
            raise MachineError(f"{problem}; the console's end:\n{self.console_end()}")

    def _command(self, disk: Path) -> list[str]:
        architecture = self._image.architecture
        # systemd puts this credential into root's authorized_keys.
        key = base64.b64encode(self._image.public_key.encode()).decode()
        kernel = (
            f"{_KERNEL} console={_CONSOLES[architecture]} "
            f"systemd.set_credential_binary=ssh.authorized_keys.root:{key}"
        )
        return [
            find(EMULATORS[architecture].program),
            *_MODELS[architecture],
            *("-accel", "tcg,thread=multi"),
            *("-smp", str(self._cores), "-m", str(self._memory_mib)),
            *("-display", "none", "-monitor", "none", "-nodefaults", "-no-user-config"),
            *("-serial", f"file:{self.console}"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd)),
            *("-append", kernel),
            # The guest sees a disk with a cache that it has to flush.
            *("-drive", f"file={disk},if=none,id=sd,format=qcow2,cache=writeback"),
            *("-device", "virtio-blk-pci,drive=sd"),
            *("-netdev", f"user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:{self._port}-10.0.2.15:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-rng-pci"),
        ]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


__all__ = ["BOOT_TIMEOUT_S", "HOST_ADDRESS", "Machine", "MachineError", "ShellError"]
