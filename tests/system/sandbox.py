"""Tries what a daemon that was taken over would try; runs in the unit's sandbox, on the device.

Prints one line of JSON: what was tried, and whether it was refused.
"""

import ctypes
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path


def refused(attempt: Callable[[], object]) -> bool:
    """Tell whether an attempt fails."""
    try:
        attempt()
    except OSError:
        return True
    return False


def cannot_write(folder: str) -> bool:
    """Try to make a file."""
    return refused(lambda: (Path(folder) / "sandbox-test").write_text("x"))


def others() -> list[str]:
    """List processes of other users."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                owner = entry.stat().st_uid
            except OSError:
                continue
            if owner != os.getuid():
                found.append(entry.name)
    return found


def writable_code() -> bool:
    """Try to get memory that is both written and run."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, 4096, 7, 0x22, -1, 0)
    return address not in (None, ctypes.c_void_p(-1).value)


def main() -> None:
    """Try everything."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = Path(os.environ["STATE_DIRECTORY"]) / "sandbox-test"
    state.write_text("x")
    state.unlink()
    folders = ("/", "/etc", "/etc/edgeclassifier", "/opt/edgeclassifier", "/usr", "/boot", "/home")
    tried = {f"write to {folder}": cannot_write(folder) for folder in (*folders, "/var/log")}
    tried |= {
        "see other users' processes": not others(),
        "become root": refused(lambda: os.setuid(0)),
        "make a user namespace": libc.unshare(0x10000000) != 0,
        "mount": libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) != 0,
        "load a kernel module": libc.syscall(313, -1, b"", 0) != 0,
        "set the clock": refused(lambda: __import__("time").clock_settime(0, 0.0)),
        "open a raw socket": refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
        "open the disk": refused(lambda: Path("/dev/vda").open("rb").close()),
        "write code": not writable_code(),
        "read the password file": refused(
            lambda: Path("/etc/edgeclassifier/mqtt-password").read_bytes()
        ),
    }
    print(json.dumps(tried))  # noqa: T201 - for who started it


main()
