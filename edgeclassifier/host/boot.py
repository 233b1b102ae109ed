"""Which run of the kernel this is."""

from pathlib import Path

_KERNEL_BOOT = Path("/proc/sys/kernel/random/boot_id")


def kernel_boot() -> str:
    """Return what names this run of the kernel; empty if that is not known."""
    try:
        return _KERNEL_BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
