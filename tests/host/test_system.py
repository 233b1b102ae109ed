"""What the kernel's files say, and what is made of those that are missing or odd."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeclassifier.contract.status import Throttling
from edgeclassifier.host.system import System

TEMPERATURE = "sys/class/thermal/thermal_zone0/temp"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
THROTTLED_PI_5 = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
STATUS = "proc/self/status"
STAT = "proc/self/stat"
SYNCHRONIZED = "run/systemd/timesync/synchronized"


def system(root: Path, name: str, content: str | bytes | None) -> System:
    """Make a tree with one file; None leaves it empty."""
    if content is not None:
        file = root / name
        file.parent.mkdir(parents=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return System(root=root)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("48312\n", 48.312),
        ("0\n", 0.0),
        ("-5500\n", -5.5),
        ("", None),
        ("N/A\n", None),
        ("9" * 5000, None),
        ("--5", None),
        (b"\xff\xfe", None),
        (None, None),
    ],
)
def test_the_temperature_of_the_cpu(
    tmp_path: Path, content: str | bytes | None, expected: float | None
) -> None:
    assert system(tmp_path, TEMPERATURE, content).cpu_temperature_c() == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0\n", Throttling(now=(), since_boot=())),
        ("0x0\n", Throttling(now=(), since_boot=())),
        ("50005\n", Throttling(now=("under_voltage", "throttled"),
                               since_boot=("under_voltage", "throttled"))),
        ("0x50000\n", Throttling(now=(), since_boot=("under_voltage", "throttled"))),
        ("a000a\n", Throttling(now=("frequency_capped", "soft_temperature_limit"),
                               since_boot=("frequency_capped", "soft_temperature_limit"))),
        ("80000\n", Throttling(now=(), since_boot=("soft_temperature_limit",))),
        ("fff0fff0\n", Throttling(now=(), since_boot=())),
        ("", None),
        ("unknown\n", None),
        (None, None),
    ],
)  # fmt: skip
def test_what_the_firmware_held_back(
    tmp_path: Path, content: str | None, expected: Throttling | None
) -> None:
    assert system(tmp_path, THROTTLED, content).throttling() == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Name:\tx\nVmHWM:\t   94000 kB\nVmRSS:\t   90000 kB\n", 92_160_000),
        ("Name:\tx\nState:\tR\n", None),
        ("VmRSS:\tmuch kB\n", None),
        ("", None),
        (None, None),
    ],
)
def test_the_memory_of_this_process(
    tmp_path: Path, content: str | None, expected: int | None
) -> None:
    assert system(tmp_path, STATUS, content).memory_rss_bytes() == expected


@pytest.mark.parametrize(
    ("mark", "clock_state", "expected"),
    [
        ("", 5, True),
        (None, 0, True),
        (None, 5, False),
        (None, -1, False),
    ],
)
def test_the_clock_is_synchronized_where_systemd_or_the_kernel_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mark: str | None,
    clock_state: int,
    *,
    expected: bool,
) -> None:
    """adjtimex(2) returns 5 (TIME_ERROR) for a clock that nobody set, -1 where it is forbidden."""
    library = SimpleNamespace(adjtimex=lambda _timex: clock_state)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: library)
    assert system(tmp_path, SYNCHRONIZED, mark).clock_synchronized() is expected


def test_the_kernel_is_asked_and_the_clock_left_alone() -> None:
    assert System().clock_synchronized() in {True, False}


def test_this_machine_answers() -> None:
    rss = System().memory_rss_bytes()
    assert rss is not None
    assert rss > 1_000_000


def test_a_pi_5_has_other_names(tmp_path: Path) -> None:
    found = system(tmp_path, THROTTLED_PI_5, "1\n").throttling()
    assert found == Throttling(now=("under_voltage",), since_boot=())
