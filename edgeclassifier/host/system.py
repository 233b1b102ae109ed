"""What the device says of itself. Every source may be missing: then the answer is None."""

import ctypes
import re
import time
from pathlib import Path

from edgeclassifier.contract.status import MachineStatus, Throttling

_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronized."""
_Timex = ctypes.c_char * 512
_CLOCK_AGE_S = 1.0
_THROTTLING_BITS = {
    0: "under_voltage",
    1: "frequency_capped",
    2: "throttled",
    3: "soft_temperature_limit",
}
THROTTLING_CONDITIONS = tuple(_THROTTLING_BITS.values())
"""What Throttling may name."""
_SINCE_BOOT_SHIFT = 16
FIRMWARE_FILE = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
"""Where the firmware says what it holds back; a Pi 5 has addresses in the names."""
_NO_FILE = Path("none")


class System:
    """Reads the kernel's files below `root`, which is / but for tests."""

    def __init__(self, *, root: Path = Path("/")) -> None:
        self._root = root
        self._clock = (float("-inf"), False)
        # Kept: each CDLL is a class of its own, which only the garbage collector frees.
        self._adjtimex = ctypes.CDLL(None).adjtimex

    def status(self) -> MachineStatus:
        """Read everything that the topic health tells of the device."""
        return MachineStatus(
            memory_rss_bytes=self.memory_rss_bytes(),
            cpu_temperature_c=self.cpu_temperature_c(),
            throttling=self.throttling(),
            clock_synchronized=self.clock_synchronized(),
        )

    def cpu_temperature_c(self) -> float | None:
        """Read the temperature of the first thermal zone, in degrees Celsius."""
        text = self._read("sys/class/thermal/thermal_zone0/temp")
        return int(text) / 1000 if re.fullmatch(r"-?\d{1,9}", text) else None

    def throttling(self) -> Throttling | None:
        """Read what the firmware reports; None on anything but a Raspberry Pi."""
        text = self._read(next(self._root.glob(FIRMWARE_FILE), _NO_FILE))
        try:
            bits = int(text, 16)
        except ValueError:
            return None
        return throttling_of(bits)

    def memory_rss_bytes(self) -> int | None:
        """Read the resident memory of this process."""
        found = re.search(r"^VmRSS:\s+(\d+) kB$", self._read("proc/self/status"), re.MULTILINE)
        return int(found[1]) * 1024 if found else None

    def clock_synchronized(self) -> bool:
        """Tell whether wall-clock time can be believed: a Pi has no clock battery.

        The answer is up to a second old, because it is asked for with every frame.
        """
        now_s = time.monotonic()
        if now_s - self._clock[0] > _CLOCK_AGE_S:
            self._clock = now_s, self._ask_for_clock()
        return self._clock[1]

    def _ask_for_clock(self) -> bool:
        if (self._root / "run/systemd/timesync/synchronized").exists():
            return True
        return self._adjtimex(_Timex()) not in {_TIME_ERROR, -1}

    def _read(self, name: str | Path) -> str:
        try:
            return (self._root / name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""


def throttling_of(bits: int) -> Throttling:
    """Decode what the firmware reports."""
    return Throttling(now=_names(bits), since_boot=_names(bits >> _SINCE_BOOT_SHIFT))


def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in _THROTTLING_BITS.items() if bits >> bit & 1)
