"""Prints, as JSON, what a deployment has to know of a device. Changes nothing, needs only Python.

usage: probe.py [ROOT]   (another root than / is for tests)
"""

import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

UNDER_VOLTAGE, THROTTLED = 0, 2
_TIMEOUT_S = 20


def main(root: Path) -> dict[str, object]:
    """Look at everything."""
    base = root / "opt/edgeclassifier"
    return {
        "machine": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "python": platform.python_version(),
        "systemd": systemd_version(),
        "free_mib": shutil.disk_usage(nearest(base)).free >> 20,
        "cameras": cameras(root),
        "throttling": throttling(root),
        "time_s": time.time(),
        "timesyncd": "enabled" in said(["systemctl", "is-enabled", "systemd-timesyncd"]).split(),
        "current": link(base / "current"),
        "previous": link(base / "previous"),
        "complete": sorted(path.parent.name for path in base.glob("releases/*/.complete")),
        "healthy": sorted(path.parent.name for path in base.glob("releases/*/.healthy")),
        "configured": (root / "etc/edgeclassifier/config.toml").is_file(),
    }


def nearest(path: Path) -> Path:
    """Return the path or the first folder above it that is there."""
    while not path.exists():
        path = path.parent
    return path


def link(path: Path) -> str:
    """Return the name of the release that a link leads to; empty where there is none."""
    return path.readlink().name if path.is_symlink() and path.exists() else ""


def systemd_version() -> int:
    """Return systemd's version, 0 where it does not run the machine."""
    found = re.match(r"systemd (\d+)", said(["systemctl", "--version"]))
    return int(found[1]) if found and Path("/run/systemd/system").is_dir() else 0


def cameras(root: Path) -> list[str]:
    """Name the cameras that libcamera finds, or the devices that may be some."""
    for command in (["rpicam-hello", "--list-cameras"], ["cam", "--list"]):
        if root == Path("/") and shutil.which(command[0]):
            found = re.findall(r"^\s*\d+\s*: (.+)$", said(command), re.MULTILINE)
            if found:
                return [str(each) for each in found]
    return sorted(f"/dev/{path.name}" for path in root.glob("dev/video*"))


def throttling(root: Path) -> list[str]:
    """Say what the firmware of a Raspberry Pi holds back now."""
    file = root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    try:
        bits = int(file.read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return []
    names = {UNDER_VOLTAGE: "under-voltage", THROTTLED: "throttled"}
    return [name for bit, name in names.items() if bits >> bit & 1]


def said(command: list[str]) -> str:
    """Return what a program says; nothing where it cannot be run."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1] if len(sys.argv) > 1 else "/"))))
