"""Prints, as JSON, what a deployment has to know of a device. Changes nothing, needs only Python.

usage: probe.py [ROOT]   (another root than / is for tests)
"""

import grp
import hashlib
import json
import os
import platform
import pwd
import re
import shutil
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

UNIT = "edgeclassifier.service"
USER = "edgeclassifier"
UNDER_VOLTAGE, THROTTLED = 0, 2
INSTALLED = (
    "etc/edgeclassifier",
    "etc/edgeclassifier/conf.d",
    "etc/edgeclassifier/config.toml",
    "etc/systemd/system/edgeclassifier.service*",
    "etc/systemd/system/edgeclassifier.service.d/*",
    "etc/udev/rules.d/71-edgeclassifier.rules",
    "opt/edgeclassifier",
    "opt/edgeclassifier/*",
    "opt/edgeclassifier/current/config.toml",
    "usr/local/bin/edgeclassifier",
)
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
        "healthy": {path.parent.name: proved(path) for path in base.glob("releases/*/.healthy")},
        "releases": by_age(base / "releases"),
        "config": content(root / "etc/edgeclassifier/config.toml"),
        "active": said(["systemctl", "is-active", UNIT]).strip() == "active",
        "running": running(),
        "enabled": said(["systemctl", "is-enabled", UNIT]).strip() == "enabled",
        "packages": packages(),
        "groups": sorted(group.gr_name for group in grp.getgrall()),
        "user": user(),
        "files": {
            f"/{path.relative_to(root)}": described(path)
            for pattern in INSTALLED
            for path in root.glob(pattern)
        },
    }


def by_age(folder: Path) -> list[str]:
    """List releases, also those that are not complete, the newest first."""
    found = [path for path in folder.glob("*") if path.is_dir()]
    return [path.name for path in sorted(found, key=lambda path: -path.stat().st_mtime)]


def running() -> str:
    """Name the release of the process that runs, which `current` may have left; empty: none."""
    pid = said(["systemctl", "show", "--property=MainPID", "--value", UNIT]).strip()
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    found = re.match(rb".*/releases/([^/]+)/bin/", command)
    return found[1].decode() if found else ""


def content(path: Path) -> str | None:
    """Return a file's text; None if there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def proved(path: Path) -> str:
    """Return with which configuration a release was healthy.

    Empty for a note of version 0.1.0, which is a hash of passwords as well.
    """
    text = content(path) or ""
    return text if text.startswith("config ") else ""


def packages() -> list[str]:
    """List the packages that are installed."""
    lines = said(["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\\n"])
    return re.findall(r"(?m)^installed (\S+)$", lines)


def user() -> dict[str, object]:
    """Describe the daemon's user; nothing if there is none."""
    try:
        entry = pwd.getpwnam(USER)
        group = grp.getgrgid(entry.pw_gid).gr_name
    except KeyError:
        return {}
    groups = [group.gr_name for group in grp.getgrall() if USER in group.gr_mem]
    return {"home": entry.pw_dir, "shell": entry.pw_shell, "group": group, "groups": groups}


def described(path: Path) -> str:
    """Say what is there: where a link leads to, or mode, owner, group and the content's hash."""
    if path.is_symlink():
        return f"link {path.readlink()}"
    status = path.stat()
    try:
        owner = f"{path.owner()}:{path.group()}"
    except KeyError:
        owner = f"{status.st_uid}:{status.st_gid}"
    what = f"{stat.filemode(status.st_mode)} {owner}"
    return what if path.is_dir() else f"{what} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def nearest(path: Path) -> Path:
    """Return the path or the first folder above it that is there."""
    while not path.exists():
        path = path.parent
    return path


def link(path: Path) -> str:
    """Return the name of the release that a link leads to; empty if there is none."""
    return path.readlink().name if path.is_symlink() and path.exists() else ""


def systemd_version() -> int:
    """Return systemd's version, 0 if it does not run the machine."""
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
    """Say what the firmware of a Raspberry Pi holds back now; a Pi 5 has addresses in the names."""
    files = root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled")
    try:
        bits = int(next(files, Path("none")).read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return []
    names = {UNDER_VOLTAGE: "under-voltage", THROTTLED: "throttled"}
    return [name for bit, name in names.items() if bits >> bit & 1]


def said(command: list[str]) -> str:
    """Return what a program says; nothing if it cannot be run."""
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
