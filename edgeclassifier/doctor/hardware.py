"""Clock, storage, power and temperature."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

from edgeclassifier.doctor.findings import Finding, Level, Problem, fine
from edgeclassifier.doctor.machine import Machine
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.host.system import FIRMWARE_FILE, System, throttling_of

_BUILT_S = 1_735_689_600
"""2025 began: no clock that is right shows an earlier time."""
_MIB = 1 << 20
_FULL_MIB, _LOW_MIB = 50, 300
_HOT_C, _TOO_HOT_C = 75.0, 82.0
_UNDER_VOLTAGE = "under_voltage"

CLOCK_WRONG = Problem(
    id="clock.wrong",
    level=Level.FAILURE,
    title="The clock is years behind",
    meaning="A Raspberry Pi has no clock battery. Until the network sets its clock, certificates "
    "are not valid yet, and time stamps are wrong.",
    remedy="`sudo timedatectl set-ntp true`, and see with `timedatectl` that it is set within a "
    "minute; without a time server on the network `sudo date -s 'YYYY-MM-DD HH:MM:SS'`",
)
CLOCK_OFF = Problem(
    id="clock.ntp_off",
    level=Level.WARNING,
    title="Nothing sets the clock",
    meaning="Synchronization is switched off or not installed. Predictions say "
    "`clock_synchronized: false`, and the time drifts.",
    remedy="`sudo apt install systemd-timesyncd` and `sudo timedatectl set-ntp true`",
)
CLOCK_WAITING = Problem(
    id="clock.unsynchronized",
    level=Level.WARNING,
    title="The clock is not synchronized",
    meaning="No time server has answered yet. Predictions say `clock_synchronized: false`.",
    remedy="wait a minute; then `timedatectl timesync-status` names the server, and `NTP=` in "
    "/etc/systemd/timesyncd.conf sets another one, if the network blocks the "
    "Internet",
)
FULL = Problem(
    id="disk.full",
    level=Level.FAILURE,
    title="Storage is full",
    meaning="Models, the buffer and the reason of the last exit cannot be written.",
    remedy="`sudo apt clean`, `sudo journalctl --vacuum-size=50M`; see what is large with `sudo "
    "du -xh {path} | sort -h | tail`",
)
LOW = Problem(
    id="disk.low",
    level=Level.WARNING,
    title="Storage is nearly full",
    meaning="A new release, or a model, will not find room.",
    remedy="`sudo apt clean`, `sudo journalctl --vacuum-size=50M`; see what is large with `sudo "
    "du -xh {path} | sort -h | tail`",
)
READ_ONLY = Problem(
    id="disk.read_only",
    level=Level.WARNING,
    title="Storage is read-only",
    meaning="On purpose (an overlay), or because the kernel found errors on it. The daemon works, "
    "but keeps nothing: no buffer on disk, no reason of its last exit.",
    remedy="on purpose: set `buffer.storage` to `memory`; else `sudo dmesg | grep -iE "
    "'ext4|mmc|remount'`, then `sudo mount -o remount,rw {path}`, and replace the SD card",
)
ERRORS = Problem(
    id="disk.errors",
    level=Level.WARNING,
    title="The file system has recorded errors",
    meaning="The SD card is failing, or power was cut while it was written.",
    remedy="copy what you need; add `fsck.mode=force fsck.repair=yes` to the line in "
    "/boot/firmware/cmdline.txt and `sudo reboot`; when it comes again, replace the card",
)
UNDER_VOLTAGE = Problem(
    id="power.under_voltage",
    level=Level.FAILURE,
    title="The voltage is too low",
    meaning="The power supply, or its cable, does not give enough. USB devices drop out, the card "
    "is damaged, the CPU slows down.",
    remedy="use the official power supply of this model and its own short cable, and give USB "
    "devices a hub with a supply of its own; after a restart `vcgencmd get_throttled` says 0x0",
)
UNDER_VOLTAGE_SEEN = Problem(
    id="power.under_voltage_seen",
    level=Level.WARNING,
    title="The voltage was too low since the last start",
    meaning="It is enough now, but not always: mostly when USB devices or the CPU take more.",
    remedy="use the official power supply of this model and its own short cable; the mark stays "
    "until `sudo reboot`",
)
THROTTLED = Problem(
    id="throttling.now",
    level=Level.WARNING,
    title="The CPU is slowed down",
    meaning="It is too hot, or has too little power. Everything takes longer than it could.",
    remedy="a heat sink or a fan, more air, a better power supply; `vcgencmd measure_temp` and "
    "`vcgencmd get_throttled` show whether it helps",
)
THROTTLED_SEEN = Problem(
    id="throttling.seen",
    level=Level.WARNING,
    title="The CPU was slowed down since the last start",
    meaning="It was too hot, or had too little power, for a while.",
    remedy="a heat sink or a fan, more air, a better power supply; the mark stays until `sudo "
    "reboot`",
)
HOT = Problem(
    id="temperature.high",
    level=Level.WARNING,
    title="The CPU is hot",
    meaning="From 80 °C on, the firmware slows it down.",
    remedy="a heat sink or a fan, more air, no sun; a lower `camera.picamera2.frame_rate_hz` "
    "makes less heat",
)
TOO_HOT = Problem(
    id="temperature.critical",
    level=Level.FAILURE,
    title="The CPU is too hot",
    meaning="It is slowed down to keep from damage, and does not last long like this.",
    remedy="a heat sink or a fan, more air, no sun, at once; a lower "
    "`camera.picamera2.frame_rate_hz` makes less heat",
)


def check_clock(subject: Subject) -> Iterator[Finding]:
    """Whether wall-clock time can be believed."""
    machine = subject.machine
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(machine.now_s()))
    if machine.now_s() < _BUILT_S:
        yield CLOCK_WRONG.found(now)
        return
    said = machine.run(["timedatectl", "show", "--no-pager"], timeout_s=10)
    settings = dict(line.partition("=")[::2] for line in said.output.splitlines())
    by_systemd = machine.exists("/run/systemd/timesync/synchronized")
    if by_systemd or settings.get("NTPSynchronized") == "yes" or machine.kernel_clock():
        yield fine("clock", f"synchronized, {now}")
    elif "no" in (settings.get("NTP"), settings.get("CanNTP")):
        yield CLOCK_OFF.found(now)
    else:
        yield CLOCK_WAITING.found(now)


def check_disk(subject: Subject) -> Iterator[Finding]:
    """Room, and whether it can be written."""
    machine, sound = subject.machine, True
    rooms = []
    for place in _storage(subject):
        try:
            free_mib = machine.free_bytes(place) // _MIB
        except OSError:
            continue
        rooms.append(f"{place}: {free_mib} MiB free")
        if free_mib < _LOW_MIB:
            sound = False
            yield (FULL if free_mib < _FULL_MIB else LOW).found(rooms[-1], path=place)
    if _root_is_read_only(machine):
        sound = False
        on_disk = subject.config.buffer.storage == "disk"
        yield READ_ONLY.found("/", level=Level.FAILURE if on_disk else None, path="/")
    for name in machine.names("/sys/fs/ext4/*/errors_count"):
        count = machine.text(name) or "0"
        if count != "0":
            sound = False
            yield ERRORS.found(f"{name.split('/')[4]}: {count[:20]} errors")
    if sound:
        yield fine("disk", "; ".join(rooms) or "nothing known")


def check_power(subject: Subject) -> Iterator[Finding]:
    """Undervoltage, now and since the start."""
    bits = _firmware_bits(subject.machine)
    if bits is None:
        yield fine("power", "not known: no Raspberry Pi's firmware answers")
    elif _UNDER_VOLTAGE in throttling_of(bits).now:
        yield UNDER_VOLTAGE.found(f"too low at this moment (throttled={bits:#x})")
    elif _UNDER_VOLTAGE in throttling_of(bits).since_boot:
        yield UNDER_VOLTAGE_SEEN.found(f"was too low (throttled={bits:#x})")
    else:
        yield fine("power", "the voltage was high enough since the last start")


def check_throttling(subject: Subject) -> Iterator[Finding]:
    """Whether the firmware held the CPU back for heat or power, now or since the start."""
    bits = _firmware_bits(subject.machine)
    if bits is None:
        yield fine("throttling", "not known: no Raspberry Pi's firmware answers")
    elif now := _but_for_voltage(throttling_of(bits).now):
        yield THROTTLED.found(f"{now} (throttled={bits:#x})")
    elif before := _but_for_voltage(throttling_of(bits).since_boot):
        yield THROTTLED_SEEN.found(f"{before} (throttled={bits:#x})")
    else:
        yield fine("throttling", "none since the last start")


def check_temperature(subject: Subject) -> Iterator[Finding]:
    """Of the CPU."""
    celsius = System(root=subject.machine.root).cpu_temperature_c()
    if celsius is None:
        yield fine("temperature", "not known: the kernel does not tell")
    elif celsius >= _HOT_C:
        yield (TOO_HOT if celsius >= _TOO_HOT_C else HOT).found(f"{celsius:.0f} °C")
    else:
        yield fine("temperature", f"{celsius:.0f} °C")


def _firmware_bits(machine: Machine) -> int | None:
    """Read what the firmware holds back, from the kernel or else from its own program."""
    texts = [machine.text(name) for name in machine.names(FIRMWARE_FILE)]
    if not any(texts):
        said = machine.run(["vcgencmd", "get_throttled"], timeout_s=5)
        texts = [said.output.strip().removeprefix("throttled=")]
    for text in texts:
        if text and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text):
            return int(text, 16)
    return None


def _but_for_voltage(conditions: tuple[str, ...]) -> str:
    return ", ".join(each.replace("_", " ") for each in conditions if each != _UNDER_VOLTAGE)


def _root_is_read_only(machine: Machine) -> bool:
    mounts = [line.split() for line in (machine.text("/proc/mounts") or "").splitlines()]
    # The last one covers those before it.
    options = [each[3] for each in mounts if len(each) > 3 and each[1] == "/"]  # noqa: PLR2004
    return bool(options) and "ro" in options[-1].split(",")


def _storage(subject: Subject) -> list[Path]:
    """List the folders whose file system is written to, each file system once."""
    wanted = [subject.machine.root, subject.state_directory]
    if subject.config.buffer.path:
        wanted.append(Path(subject.config.buffer.path).parent)
    if subject.config.model.store:
        wanted.append(Path(subject.config.model.store))
    places: dict[int, Path] = {}
    for each in wanted:
        try:
            place = _nearest(each) if each is not None else None
            if place is not None:
                places.setdefault(place.stat().st_dev, place)
        except OSError:
            continue
    return list(places.values())


def _nearest(path: Path) -> Path:
    """Return the path or the first folder above it that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
