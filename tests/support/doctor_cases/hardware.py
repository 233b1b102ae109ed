"""Clock, disk, power and temperature."""

from edgeclassifier.host.children import Outcome
from support.doctor_cases.registry import case, fine, warns
from support.doctor_device import ABSENT, FIRMWARE, LATE, Device


@case("clock.wrong")
def a_clock_that_was_never_set(device: Device) -> None:
    device.now_s = 1_000_000_000.0


@case("clock.unsynchronized", level=warns)
def no_time_server(device: Device) -> None:
    device.commands["timedatectl"] = Outcome(end="answered", output="NTP=yes\nNTPSynchronized=no\n")


@case("clock.unsynchronized", level=warns)
def nobody_knows_about_the_clock(device: Device) -> None:
    device.commands["timedatectl"] = LATE


@case("clock.ntp_off", level=warns)
def nothing_sets_the_clock(device: Device) -> None:
    device.commands["timedatectl"] = Outcome(end="answered", output="NTP=no\nNTPSynchronized=no\n")


@fine
def chrony_sets_the_clock(device: Device) -> None:
    nothing_sets_the_clock(device)
    device.kernel_clock = True


@fine
def timesyncd_has_set_the_clock(device: Device) -> None:
    device.commands["timedatectl"] = ABSENT
    device.write("/run/systemd/timesync/synchronized", "")


@case("disk.full")
def a_full_disk(device: Device) -> None:
    device.free_mib = 49


@case("disk.low", level=warns)
def a_disk_that_fills(device: Device) -> None:
    device.free_mib = 299


@case("disk.read_only", level=warns)
def a_root_that_is_read_only(device: Device) -> None:
    device.write("/proc/mounts", "/dev/root / ext4 rw 0 0\noverlay / overlay ro,noatime 0 0\n")


@case("disk.read_only")
def a_buffer_on_a_disk_that_is_read_only(device: Device) -> None:
    a_root_that_is_read_only(device)
    device.settings["buffer.storage"] = "disk"


@case("disk.errors", level=warns)
def a_card_that_fails(device: Device) -> None:
    device.write("/sys/fs/ext4/mmcblk0p2/errors_count", "3\n")


@case("power.under_voltage", "throttling.now")
def a_weak_power_supply(device: Device) -> None:
    device.write(FIRMWARE, "50005\n")


@case("power.under_voltage_seen", "throttling.seen", level=warns)
def a_power_supply_that_was_weak(device: Device) -> None:
    device.write(FIRMWARE, "0x50000\n")


@case("throttling.now", level=warns)
def a_cpu_that_is_slowed_down(device: Device) -> None:
    """On a Pi 5, whose firmware is elsewhere."""
    (device.root / FIRMWARE.lstrip("/")).unlink()
    device.write("/sys/devices/platform/soc@10/soc@10:firmware/get_throttled", "8\n")


@case("throttling.seen", level=warns)
def a_cpu_that_was_slowed_down(device: Device) -> None:
    """Known from the firmware's own program."""
    (device.root / FIRMWARE.lstrip("/")).unlink()
    device.commands["vcgencmd"] = Outcome(end="answered", output="throttled=0x80000\n")


@fine
def a_machine_that_is_no_pi(device: Device) -> None:
    (device.root / FIRMWARE.lstrip("/")).unlink()
    (device.root / "sys/class/thermal/thermal_zone0/temp").unlink()


@case("temperature.high", level=warns)
def a_hot_cpu(device: Device) -> None:
    device.write("/sys/class/thermal/thermal_zone0/temp", "76000\n")


@case("temperature.critical")
def a_cpu_that_is_too_hot(device: Device) -> None:
    device.write("/sys/class/thermal/thermal_zone0/temp", "84100\n")
