"""A device as `edgeclassifier doctor` sees it: recorded files and programs, healthy until told."""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeclassifier.compose import probes
from edgeclassifier.compose.model import BUNDLED_MODEL
from edgeclassifier.doctor.examination import CHECKS, Check, examine
from edgeclassifier.doctor.findings import Finding, Level
from edgeclassifier.doctor.machine import Machine, Python
from edgeclassifier.host.children import Outcome

USER_ID = 54_321
NOW_S = 1_785_000_000.0
FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
UNIT = "/etc/systemd/system/edgeclassifier.service"
UNIT_RUNS = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "ExecMainStatus": "0",
    "NRestarts": "0",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "MainPID": "812",
    "ActiveEnterTimestamp": "Mon 2026-07-20 10:00:00 UTC",
}
ABSENT = Outcome(end="absent")
LATE = Outcome(end="late")


def lines(*results: dict[str, Any], code: int = 0, crash: int = 0, errors: str = "") -> Outcome:
    """Answer as a trial does."""
    output = "".join(f"{json.dumps(each)}\n" for each in results)
    return Outcome(
        end="crashed" if crash else "answered",
        code=code,
        signal=crash,
        output=f"[0:01:02] INFO Camera\n{output}",
        errors=errors,
    )


class Device:
    """A Raspberry Pi whose daemon is installed, configured and stopped, with nothing wrong."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.root = folder / "root"
        self.root.mkdir()
        self.gid = self.root.stat().st_gid
        self.python = Python(
            version=(3, 13, 5),
            bits=64,
            machine="aarch64",
            executable="/opt/x/bin/python",
            prefix="/opt/x",
            in_environment=True,
        )
        self.groups = [self.gid]
        self.now_s = NOW_S
        self.free_mib = 5000
        self.kernel_clock = False
        self.missing: set[str] = set()
        self.released = threading.Event()
        self.settings: dict[str, Any] = {
            "device.state_directory": str(folder / "state"),
            "model.name": BUNDLED_MODEL,
        }
        self.overrides: list[str] = []
        self.config_file: Path | None = None
        self.commands: dict[str, Outcome] = {
            "systemctl": self.unit(),
            "timedatectl": Outcome(
                end="answered", output="NTP=yes\nNTPSynchronized=yes\nCanNTP=yes\n"
            ),
        }
        numpy = {"numpy": "2.2.4", "numpy_file": "/opt/x/lib/numpy/__init__.py"}
        runtime = {"module": "m", "runtime": "litert 2.3.0", "threads": 3}
        model = {"labels": 1000, "first_names": ["tench"], "input": "260x260 uint8"}
        camera = {"cameras": ["imx708"]}, {"opened": True}, {"frame": "320x320 from picamera2:0"}
        self.trials: dict[str, Outcome] = {
            "runtime": lines(numpy, runtime, {"ran": True, "xnnpack": True}),
            "model": lines({"loaded": True}, model, {"classified": True}),
            "camera": lines(*camera),
            "accelerator": lines(
                {"library": "libedgetpu.so.1"},
                {"engine": "x", "model": "x_edgetpu"},
                {"version": "BuildLabel(16)"},
                {"state": "ready", "fault": None, "reason": None},
            ),
        }
        self.probe: Callable[[], None] = lambda: None
        monkeypatch.setattr(probes, "probe_broker", lambda _access: self.probe())
        self.health: dict[str, Any] | None = None
        """What the broker has retained of the daemon's health."""
        monkeypatch.setattr(probes, "last_health", lambda *_: self.health)
        self.record()

    def record(self) -> None:
        """Write the files of the tree."""
        self.write("/etc/passwd", f"root:x:0:0:::\npi:x:{USER_ID}:{USER_ID}:,,,:/home/pi:/bin/sh\n")
        self.write("/etc/group", f"root:x:0:\nvideo:x:{self.gid}:pi\nplugdev:x:{self.gid + 1}:\n")
        self.write("/proc/mounts", "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n")
        self.write("/proc/1/cmdline", "/sbin/init\0")
        self.write("/run/systemd/system/x", "")
        self.write("/sys/class/thermal/thermal_zone0/temp", "48312\n")
        self.write("/sys/fs/ext4/mmcblk0p2/errors_count", "0\n")
        self.write("/sys/class/video4linux/video0/name", "unicam\n")
        self.write("/boot/firmware/config.txt", "camera_auto_detect=1\n")
        self.write(FIRMWARE, "0\n")
        for name in ("/dev/media0", "/dev/video0", "/dev/dma_heap/linux,cma"):
            self.write(name, "", mode=0o660)

    def write(self, name: str, text: str, *, mode: int = 0o644) -> Path:
        file = self.root / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def release(self) -> None:
        """Let the thread go that waits for a disk."""
        self.released.set()

    def unit(self, **changed: str) -> Outcome:
        """Answer as `systemctl show` does."""
        known = {**UNIT_RUNS, "LoadState": "not-found", "ActiveState": "inactive"} | changed
        return Outcome(
            end="answered", output="".join(f"{key}={each}\n" for key, each in known.items())
        )

    def install(self, **changed: str) -> None:
        """Have the service, in the state of UNIT_RUNS but for what is `changed`."""
        self.write(UNIT, "[Service]\n")
        self.write(
            "/etc/passwd", f"root:x:0:0:::\nedgeclassifier:x:{USER_ID + 1}:{USER_ID + 1}:::\n"
        )
        self.write("/etc/group", f"root:x:0:\nvideo:x:{self.gid}:pi,edgeclassifier\nplugdev:x:9:\n")
        self.commands["systemctl"] = self.unit(**(UNIT_RUNS | changed))

    def start(self, pid: int, *command: str, holds: Sequence[str] = ()) -> None:
        """Have a process that has some devices open."""
        self.write(f"/proc/{pid}/cmdline", "".join(f"{each}\0" for each in command))
        self.write(f"/proc/{pid}/comm", f"{Path(command[0]).name}\n")
        files = self.root / f"proc/{pid}/fd"
        files.mkdir()
        for number, name in enumerate(holds, 3):
            (files / str(number)).symlink_to(name)

    def plug(self, *, speed: str = "5000", mode: int = 0o666, vendor: str = "18d1") -> None:
        """Plug in an Edge TPU."""
        port = "/sys/bus/usb/devices/2-1"
        product = "9302" if vendor == "18d1" else "089a"
        for name, text in {
            "idVendor": vendor,
            "idProduct": product,
            "speed": speed,
            "busnum": "2",
            "devnum": "7",
        }.items():
            self.write(f"{port}/{name}", f"{text}\n")
        self.write("/dev/bus/usb/002/007", "", mode=mode)

    def run(self, command: Sequence[str], *, timeout_s: float, given: str = "") -> Outcome:
        assert timeout_s <= 90
        if "edgeclassifier.doctor.trials" in command:
            json.loads(given)
            return self.trials[command[-1]]
        assert not given
        return self.commands.get(command[0], ABSENT)

    def free_bytes(self, _path: Path) -> int:
        return self.free_mib << 20

    def machine(self) -> Machine:
        return Machine(
            root=self.root,
            run=self.run,
            python=self.python,
            environment={"HOME": str(self.folder)},
            uid=USER_ID,
            groups=self.groups,
            kernel_clock=lambda: self.kernel_clock,
            now_s=lambda: self.now_s,
            free_bytes=self.free_bytes,
            import_problem=lambda module: "no such module" if module in self.missing else None,
        )

    def examine(self, checks: Sequence[Check] = CHECKS) -> list[Finding]:
        overrides = [f"{key}={json.dumps(each)}" for key, each in self.settings.items()]
        return list(
            examine(
                self.machine(),
                config_file=self.config_file,
                overrides=[*overrides, *self.overrides],
                checks=checks,
            )
        )


def ids(findings: Sequence[Finding]) -> set[str]:
    """Name the problems that were found."""
    return {each.problem.id for each in findings if each.problem}


def worst(findings: Sequence[Finding]) -> Level:
    levels = [each.level for each in findings]
    by_weight = (Level.FAILURE, Level.WARNING, Level.NOTE)
    return next((each for each in by_weight if each in levels), Level.OK)
