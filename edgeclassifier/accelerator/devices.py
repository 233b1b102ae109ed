"""Finds Edge TPUs without opening them."""

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeclassifier.host import children

_LIBRARIES = {"edgetpu": "libedgetpu.so.1"}
_USB_IDS = {("1a6e", "089a"): False, ("18d1", "9302"): True}
"""Vendor and product, before and after the first use loads the device's firmware."""

_ASK_PYCORAL = """
import json
from pycoral.utils.edgetpu import list_edge_tpus
print(json.dumps([[each["type"], each["path"]] for each in list_edge_tpus()]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An Edge TPU that is plugged in."""

    kind: Literal["usb", "pci"]
    path: str
    """Of the device in sysfs for USB, of the node in /dev for PCIe."""
    used: bool
    """Whether it has its firmware; a USB device gets it, and another USB id, at its first use."""
    temperature_c: float | None = None
    """None if the device does not report it, as those on USB."""


def library_of(delegate: str) -> str:
    """Return the shared library of a delegate's name; a library stays what it is."""
    return _LIBRARIES.get(delegate, delegate)


def find_edge_tpus(*, root: Path = Path("/"), pycoral_timeout_s: float = 10.0) -> list[Device]:
    """List the Edge TPUs of this machine, by their paths.

    Asks Google's pycoral if it is installed and answers in time, else sysfs below `root`.
    """
    found = _from_pycoral(timeout_s=pycoral_timeout_s) if root == Path("/") else None
    if found is None:
        return sorted([*_usb(root), *_pci(root)], key=lambda device: device.path)
    known = {device.path: device for device in (*_usb(root), *_pci(root))}
    return sorted(
        (known.get(device.path, device) for device in found), key=lambda device: device.path
    )


def _from_pycoral(*, timeout_s: float) -> list[Device] | None:
    """Ask pycoral; None if it is not installed, is another package of that name, or fails."""
    if importlib.util.find_spec("pycoral") is None:
        return None
    # In a process of its own: its import loads the driver, which may take its process along.
    outcome = children.run([sys.executable, "-P", "-c", _ASK_PYCORAL], timeout_s=timeout_s)
    try:
        listed = json.loads(outcome.output if outcome.succeeded else "")
        return [
            Device(kind="usb" if kind == "usb" else "pci", path=path, used=True)
            for kind, path in listed
        ]
    except ValueError:
        return None


def _usb(root: Path) -> Iterator[Device]:
    for folder in root.glob("sys/bus/usb/devices/*"):
        used = _USB_IDS.get((_read(folder / "idVendor"), _read(folder / "idProduct")))
        if used is not None:
            yield Device(kind="usb", path=_below(root, folder), used=used)


def _pci(root: Path) -> Iterator[Device]:
    for folder in root.glob("sys/class/apex/apex_*"):
        millidegrees = _read(folder / "temp")
        yield Device(
            kind="pci",
            path=f"/dev/{folder.name}",
            used=True,
            temperature_c=int(millidegrees) / 1000
            if re.fullmatch(r"\d{1,9}", millidegrees)
            else None,
        )


def _below(root: Path, path: Path) -> str:
    return os.fspath("/" / path.relative_to(root))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""  # not a device, or unplugged at this moment
