"""The accelerator: whether it is plugged in, open to the daemon, and works with its library."""

from collections.abc import Iterator, Sequence

from edgeclassifier.accelerator.devices import Device, find_edge_tpus
from edgeclassifier.doctor.findings import NOT_TRIED, Finding, Level, Problem, fine
from edgeclassifier.doctor.machine import Machine, Process, number
from edgeclassifier.doctor.subject import Subject, Trial
from edgeclassifier.errors import EXIT_CONFIG

_USB_2_MBIT = 480
_PCI_ID = ("0x1ac1", "0x089a")
_TOO_HOT_C = 100.0
_RULES = ("/etc/udev/rules.d/*.rules", "/usr/lib/udev/rules.d/*.rules", "/lib/udev/rules.d/*.rules")

_LIBRARY_REMEDY = (
    "download libedgetpu1-std for this Debian and CPU, version 16.0 or later, from "
    "https://github.com/feranick/libedgetpu/releases, then `sudo apt install "
    "./libedgetpu1-std_*.deb` and plug the accelerator in again"
)

ABSENT = Problem(
    id="accelerator.absent",
    level=Level.FAILURE,
    title="The accelerator is not there",
    meaning="`accelerator.delegate` asks for an Edge TPU, and none is plugged in. The CPU does "
    "its work, and predictions say `degraded`.",
    remedy="plug it in, into a blue USB 3 port and without a hub that has no supply of its own; "
    "`lsusb -d 1a6e:089a; lsusb -d 18d1:9302` shows it; or set `accelerator.delegate` to `auto`",
)
NO_DRIVER = Problem(
    id="accelerator.no_driver",
    level=Level.FAILURE,
    title="The accelerator on PCIe has no driver",
    meaning="The kernel sees it, but the modules gasket and apex are not loaded, so there is no "
    "/dev/apex_0.",
    remedy="`sudo apt install gasket-dkms` (from Coral's package source, or built from "
    "https://github.com/feranick/gasket-driver), then `sudo modprobe apex`",
)
USB_2 = Problem(
    id="accelerator.usb_2",
    level=Level.WARNING,
    title="The accelerator is in a slow USB port",
    meaning="On USB 2, an answer of a large model takes several times as long.",
    remedy="plug it into a blue USB 3 port, with the cable that came with it",
)
NO_RULE = Problem(
    id="accelerator.no_rule",
    level=Level.FAILURE,
    title="No udev rule opens the accelerator",
    meaning="Without a rule for it, only root may use it. It has two USB ids, before and after "
    "its first use, and needs a rule for both.",
    remedy="`sudo cp systemd/71-edgeclassifier.rules /etc/udev/rules.d/`, `sudo udevadm control "
    "--reload`, `sudo udevadm trigger`, then plug it in again",
)
PERMISSION = Problem(
    id="accelerator.permission",
    level=Level.FAILURE,
    title="The accelerator is not open to the daemon's user",
    meaning="It belongs to a group, plugdev or apex, of which the user that runs the daemon is no "
    "member.",
    remedy="`sudo usermod -aG {group} {user}`, then log out and in again, or `sudo systemctl "
    "restart edgeclassifier`",
)
NO_LIBRARY = Problem(
    id="accelerator.no_library",
    level=Level.FAILURE,
    title="The accelerator's library cannot be loaded",
    meaning="For an Edge TPU it is libedgetpu.so.1, which neither Debian nor Raspberry Pi OS has.",
    remedy=f"for an Edge TPU: {_LIBRARY_REMEDY}",
)
MISMATCH = Problem(
    id="accelerator.library_mismatch",
    level=Level.FAILURE,
    title="The accelerator's library crashes with this runtime",
    meaning="A libedgetpu of 2021 (version 14, from Coral's package source) does not work with "
    "today's runtimes. The daemon goes on with the CPU.",
    remedy=f"`sudo apt purge libedgetpu1-std libedgetpu1-max`, then {_LIBRARY_REMEDY}",
)
NO_MODEL = Problem(
    id="accelerator.no_model",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="There is no model for the accelerator",
    meaning="It needs the same network as the CPU, compiled for it. Until then the CPU does its "
    "work.",
    remedy="`edgeclassifier models fetch inception_v3_299_quant` and `edgeclassifier models fetch "
    "inception_v3_299_quant_edgetpu`, or set `accelerator.model`",
)
UNFIT = Problem(
    id="accelerator.unfit",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The accelerator's model does not suit",
    meaning="It differs from the model for the CPU in size, labels or quantization, or the "
    "library is no TFLite delegate.",
    remedy="set `model.name` and `accelerator.model` to two builds of the same network",
)
NO_DEVICE = Problem(
    id="accelerator.unavailable",
    level=Level.FAILURE,
    title="The accelerator does not open",
    meaning="The library finds no device that it may use: another program has it, or it lacks "
    "power.",
    remedy="unplug it, wait, plug it in; end what else uses it (Frigate, CodeProject.AI); use a "
    "stronger power supply",
)
FAILS = Problem(
    id="accelerator.fails",
    level=Level.FAILURE,
    title="The accelerator does not work",
    meaning="It hangs, is too slow, or reports an error. The daemon goes on with the CPU and "
    "tries it again.",
    remedy="unplug it, wait, plug it in; check heat and power (it takes up to 900 mA); `sudo "
    "dmesg | grep -iE 'usb|apex' | tail`",
)
HOT = Problem(
    id="accelerator.hot",
    level=Level.WARNING,
    title="The accelerator is too hot",
    meaning="It slows itself down, and switches itself off when that is not enough.",
    remedy="a heat sink or a fan for it; `cat /sys/class/apex/apex_0/temp` shows whether it helps",
)


def check_accelerator(subject: Subject) -> Iterator[Finding]:
    """Look for it, then try it, unless a daemon may use it."""
    machine, delegate = subject.machine, subject.config.accelerator.delegate
    of_edge_tpu = delegate in {"auto", "edgetpu"}
    if delegate == "none":
        yield fine("accelerator", "none is configured")
        return
    devices = find_edge_tpus(root=machine.root) if of_edge_tpu else []
    if of_edge_tpu and not devices:
        if _without_driver(subject):
            yield NO_DRIVER.found("a Coral accelerator is on PCIe, but there is no /dev/apex_0")
        elif delegate == "auto":
            yield fine("accelerator", "auto: no Edge TPU is plugged in, the CPU runs the model")
        else:
            trial = subject.trial("accelerator")
            if problem := _without_model(trial, delegate, must_work=True):
                yield problem
            yield ABSENT.found("no Edge TPU is plugged in")
        return
    nodes = [node for each in devices if (node := _node(subject, each))]
    barred = list(_barred(subject, devices, nodes))
    yield from barred
    yield from _condition(subject, devices)
    if barred:
        return
    where = ", ".join(f"{each.kind} {each.path}" for each in devices) or delegate
    users = subject.daemons if devices else _users(machine, delegate)
    if users:
        said = f"a daemon runs ({users[0].pid}), so it is not tried beside it"
        yield fine("accelerator", f"{where}: {said}")
        return
    yield _judged(subject.trial("accelerator"), where, must_work=delegate != "auto")


def _users(machine: Machine, library: str) -> list[Process]:
    """List those of a daemon's processes that may have a library loaded."""
    return [
        each
        for each in machine.processes()
        if each.is_ours and machine.may_have_loaded(each, library)
    ]


def _judged(trial: Trial, where: str, *, must_work: bool) -> Finding:
    results = trial.results
    library = str(results.get("library", "the library"))
    what = f"{library} ({results['version']})" if results.get("version") else library
    reason = results.get("reason") or results.get("error") or trial.outcome.last_words
    said = f"{what}: {reason or 'no answer'}"
    if "library_error" in results:
        return NO_LIBRARY.found(str(results["library_error"]))
    if problem := _without_model(trial, where, must_work=must_work):
        return problem
    fault = results.get("fault")
    if results.get("state") == "ready":
        device = "" if where == library else f"{where}, "
        return fine("accelerator", f"{device}{what}: runs {results.get('model')}")
    at_once = "model" in results and "version" not in results and trial.outcome.signal
    if (fault == "crashed" or at_once) and "edgetpu" in library:
        return MISMATCH.found(said)
    kinds = {"absent": NO_DEVICE, "unfit": UNFIT}
    return kinds.get(str(fault), FAILS).found(said)


def _without_model(trial: Trial, where: str, *, must_work: bool) -> Finding | None:
    """Say why the accelerator has no model to run; None if it has one."""
    results, reason = trial.results, trial.results.get("error")
    if reason and "engine" not in results:
        said = f"{where}: it needs a model that runs on the CPU as well: {reason}"
        return NOT_TRIED.found(said, check="accelerator")
    if reason and "model" not in results:
        # As the daemon has it: with "auto", a device without a model is not used.
        return NO_MODEL.found(f"{where}: {reason}", level=None if must_work else Level.WARNING)
    return None


def _without_driver(subject: Subject) -> bool:
    machine = subject.machine
    return any(
        (machine.text(name), machine.text(name.replace("/vendor", "/device"))) == _PCI_ID
        for name in machine.names("/sys/bus/pci/devices/*/vendor")
    )


def _node(subject: Subject, device: Device) -> str | None:
    """Return the file in /dev that a device is opened by."""
    if device.kind == "pci":
        return device.path
    bus, device_number = (
        number(subject.machine.text(f"{device.path}/{name}")) for name in ("busnum", "devnum")
    )
    if -1 in {bus, device_number}:
        return None
    return f"/dev/bus/usb/{bus:03d}/{device_number:03d}"


def _barred(subject: Subject, devices: Sequence[Device], nodes: Sequence[str]) -> Iterator[Finding]:
    machine, user = subject.machine, subject.machine.user()
    closed = [each for each in nodes if not machine.may_use(user, each)]
    if not closed:
        return
    group = machine.group_of(closed[0])
    said = f"{', '.join(closed)}: open to the group {group}, not to {user.name}"
    if any(each.kind == "usb" for each in devices) and not _has_rule(subject):
        yield NO_RULE.found(said)
    else:
        wanted = "apex" if devices[0].kind == "pci" else "plugdev"
        yield PERMISSION.found(said, group=wanted if group == "root" else group, user=user.name)


def _has_rule(subject: Subject) -> bool:
    machine = subject.machine
    texts = [machine.text(name) or "" for pattern in _RULES for name in machine.names(pattern)]
    return any("1a6e" in each and "18d1" in each for each in texts)


def _condition(subject: Subject, devices: Sequence[Device]) -> Iterator[Finding]:
    for device in devices:
        speed = number(subject.machine.text(f"{device.path}/speed"))
        if device.kind == "usb" and 0 < speed <= _USB_2_MBIT:
            yield USB_2.found(f"{device.path}: {speed} Mbit/s")
        if device.temperature_c is not None and device.temperature_c >= _TOO_HOT_C:
            yield HOT.found(f"{device.path}: {device.temperature_c:.0f} °C")
