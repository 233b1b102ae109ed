"""Does the virtual Pi itself do what tests of the deployment take for granted?"""

import time
from pathlib import Path

from system.image import Image, Say
from system.machine import Machine

_FOLDER = "/var/lib/selfcheck"
# Long enough for the file to be on its way, too short for the kernel to write it by itself.
_UNWRITTEN_S = 1.0


class SelfCheckError(Exception):
    """The machine is not like the one that is wanted."""


def self_check(image: Image, folder: Path, *, say: Say) -> None:
    """Boot, reboot, cut the power and look at the disk. Raises SelfCheckError; MachineError."""
    with Machine(image, folder, say=say) as machine:
        _expect(machine.start(), "running")
        for check in (_no_network, _reboot, _picture, _power_cut, _written_cache, _switch_off):
            started_s = time.monotonic()
            say(f"{check.__name__[1:]}: {check(machine)}, {time.monotonic() - started_s:.0f} s")


def _no_network(machine: Machine) -> str:
    """Packets leave for this machine's loopback interface only."""
    routes = machine.shell.output("ip route show default; ip -6 route show default")
    _expect(routes, "")
    _expect(machine.run("getent hosts example.org", check=False).stdout, "")
    return "no way out"


def _reboot(machine: Machine) -> str:
    before = machine.boot_id()
    _expect(machine.reboot(), "running")
    if machine.boot_id() == before:
        raise SelfCheckError("a reboot did not boot")
    return "another boot id"


def _picture(machine: Machine) -> str:
    machine.show("rocket", "coffee", seconds=2, rate_hz=2)
    shown = machine.shell.output("readlink /srv/camera/*")
    _expect(shown, "\n".join(["../pictures/rocket.jpg"] * 4 + ["../pictures/coffee.jpg"] * 4))
    return "8 frames"


def _power_cut(machine: Machine) -> str:
    """What was synced is there afterwards, what was not is lost."""
    machine.run(
        f"mkdir {_FOLDER} && cd {_FOLDER} && echo kept >synced && sync && echo lost >unsynced"
    )
    time.sleep(_UNWRITTEN_S)
    machine.power_cut()
    with machine.disk.stopped() as disk:
        if disk.damaged:
            raise SelfCheckError(disk.report)
        _expect(disk.read(f"{_FOLDER}/synced").decode(), "kept\n")
        try:
            found = disk.read(f"{_FOLDER}/unsynced").decode()
        except FileNotFoundError:
            found = ""
    _expect(found, "")
    _expect(machine.start(), "running")
    _expect(machine.shell.output(f"cat {_FOLDER}/synced"), "kept")
    return "the synced file was kept, the other one lost"


def _written_cache(machine: Machine) -> str:
    """Sent to the disk but not flushed (O_DIRECT without O_SYNC) is lost as well."""
    file = f"{_FOLDER}/direct"
    # Its blocks exist and are zeros, so that only their content is at stake.
    machine.run(f"dd if=/dev/zero of={file} bs=1M count=1 conv=fsync && sync")
    machine.power_cut()
    _expect(machine.start(), "running")
    machine.run(
        f"tr '\\0' x </dev/zero | dd of={file} bs=1M count=1 iflag=fullblock "
        "oflag=direct conv=notrunc"
    )
    machine.power_cut()
    with machine.disk.stopped() as disk:
        content = disk.read(file)
    _expect(machine.start(), "running")
    lost = content.count(0) / len(content)
    if not lost:
        raise SelfCheckError("the power cut lost nothing of what was written but not flushed")
    return f"{lost:.0%} of what was written but not flushed was lost"


def _switch_off(machine: Machine) -> str:
    machine.stop()
    with machine.disk.stopped() as disk:
        if disk.damaged:
            raise SelfCheckError(disk.report)
    return "the file system is clean"


def _expect(found: str, wanted: str) -> None:
    if found != wanted:
        raise SelfCheckError(f"{found!r} instead of {wanted!r}")
