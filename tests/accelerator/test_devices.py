"""Finding Edge TPUs in recorded sysfs trees, and with pycoral if it is installed."""

import os
from pathlib import Path

import pytest

from edgeclassifier.accelerator import devices
from edgeclassifier.accelerator.devices import Device, find_edge_tpus, library_of


def plug_usb(root: Path, port: str, vendor: str, product: str) -> None:
    """As the kernel shows a device: a link below bus/usb to a folder of small files."""
    folder = root / "sys/devices/pci0000:00/usb2" / port
    folder.mkdir(parents=True)
    (folder / "idVendor").write_text(f"{vendor}\n")
    (folder / "idProduct").write_text(f"{product}\n")
    bus = root / "sys/bus/usb/devices"
    bus.mkdir(parents=True, exist_ok=True)
    (bus / port).symlink_to(folder)


def plug_pci(root: Path, name: str, temperature: str | None) -> None:
    folder = root / "sys/class/apex" / name
    folder.mkdir(parents=True)
    if temperature is not None:
        (folder / "temp").write_text(temperature)


def test_no_devices_are_found_in_a_machine_without_usb_and_pcie(tmp_path: Path) -> None:
    assert find_edge_tpus(root=tmp_path) == []


def test_other_usb_devices_and_interfaces_are_passed_over(tmp_path: Path) -> None:
    plug_usb(tmp_path, "usb1", "1d6b", "0002")
    plug_usb(tmp_path, "1-1", "18d1", "4ee1")  # another device of the same vendor
    (tmp_path / "sys/bus/usb/devices/1-1:1.0").mkdir()  # an interface has no ids
    assert find_edge_tpus(root=tmp_path) == []


@pytest.mark.parametrize(("ids", "used"), [(("1a6e", "089a"), False), (("18d1", "9302"), True)])
def test_a_usb_device_has_another_id_after_its_first_use(
    tmp_path: Path, ids: tuple[str, str], used: bool
) -> None:
    plug_usb(tmp_path, "2-1", *ids)
    assert find_edge_tpus(root=tmp_path) == [
        Device(kind="usb", path="/sys/bus/usb/devices/2-1", used=used)
    ]


@pytest.mark.parametrize(
    ("recorded", "temperature_c"), [("51300\n", 51.3), ("", None), ("?\n", None), (None, None)]
)
def test_a_pcie_device_tells_its_temperature(
    tmp_path: Path, recorded: str | None, temperature_c: float | None
) -> None:
    plug_pci(tmp_path, "apex_0", recorded)
    assert find_edge_tpus(root=tmp_path) == [
        Device(kind="pci", path="/dev/apex_0", used=True, temperature_c=temperature_c)
    ]


def test_several_devices_are_listed_by_path(tmp_path: Path) -> None:
    plug_usb(tmp_path, "2-2", "18d1", "9302")
    plug_usb(tmp_path, "2-1", "1a6e", "089a")
    plug_pci(tmp_path, "apex_1", "40000\n")
    plug_pci(tmp_path, "apex_0", "40000\n")
    assert [device.path for device in find_edge_tpus(root=tmp_path)] == [
        "/dev/apex_0",
        "/dev/apex_1",
        "/sys/bus/usb/devices/2-1",
        "/sys/bus/usb/devices/2-2",
    ]


def install_pycoral(folder: Path, monkeypatch: pytest.MonkeyPatch, *, module: str | None) -> None:
    """Put a package of that name in the way of this process and its children."""
    (folder / "pycoral/utils").mkdir(parents=True)
    (folder / "pycoral/__init__.py").touch()
    (folder / "pycoral/utils/__init__.py").touch()
    if module is not None:
        (folder / "pycoral/utils/edgetpu.py").write_text(module)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.fspath(folder))


def test_pycoral_is_asked_if_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = '[{"type": "usb", "path": "/sys/x"}, {"type": "pci", "path": "/dev/apex_9"}]'
    install_pycoral(tmp_path, monkeypatch, module=f"def list_edge_tpus(): return {listed}")
    assert find_edge_tpus() == [
        Device(kind="pci", path="/dev/apex_9", used=True),
        Device(kind="usb", path="/sys/x", used=True),
    ]


@pytest.mark.parametrize(
    "module",
    [
        None,  # PyPI's package of that name
        "anything = 1",
        "import os; os.abort()",
        "import time; time.sleep(60)",
        "def list_edge_tpus(): return [{}]",
        "print('hello'); list_edge_tpus = list",
    ],
)
def test_a_pycoral_that_does_not_answer_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str | None
) -> None:
    seen = [Device(kind="usb", path="/sys/x", used=True)]
    monkeypatch.setattr(devices, "_usb", lambda _root: seen)
    install_pycoral(tmp_path, monkeypatch, module=module)
    assert find_edge_tpus(pycoral_timeout_s=0.5) == seen


def test_a_delegate_is_named_or_a_library() -> None:
    assert library_of("edgetpu") == "libedgetpu.so.1"
    assert library_of("/opt/libother.so") == "/opt/libother.so"
