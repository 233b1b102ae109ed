"""The accelerator."""

import signal

from support.doctor_cases.registry import case, fine, warns
from support.doctor_device import LATE, Device, lines

LIBRARY = {"library": "libedgetpu.so.1"}
LOADED = LIBRARY, {"engine": "x"}, {"model": "x_edgetpu"}, {"version": "BuildLabel(14)"}
KILLED = signal.SIGSEGV


@fine
def no_accelerator_is_wanted(device: Device) -> None:
    device.settings["accelerator.delegate"] = "none"
    device.plug()


@fine
def an_accelerator_that_works(device: Device) -> None:
    device.plug()


@fine
def an_accelerator_that_the_daemon_uses(device: Device) -> None:
    device.plug(vendor="1a6e")
    device.start(812, "/opt/x/bin/edgeclassifier", "run")
    device.trials["accelerator"] = LATE


@case("accelerator.absent")
def an_accelerator_that_is_not_plugged_in(device: Device) -> None:
    device.settings["accelerator.delegate"] = "edgetpu"


@case("accelerator.no_driver")
def an_accelerator_without_its_driver(device: Device) -> None:
    for name, text in {"vendor": "0x1ac1", "device": "0x089a"}.items():
        device.write(f"/sys/bus/pci/devices/0000:01:00.0/{name}", f"{text}\n")


@case("accelerator.usb_2", level=warns)
def an_accelerator_in_a_slow_port(device: Device) -> None:
    device.plug(speed="480")


@case("accelerator.no_rule")
def an_accelerator_without_a_udev_rule(device: Device) -> None:
    device.plug(mode=0o600)


@case("accelerator.permission")
def a_user_outside_the_group_plugdev(device: Device) -> None:
    device.plug(mode=0o600)
    device.write("/etc/udev/rules.d/71-x.rules", 'ATTR{idVendor}=="1a6e", "18d1"\n')


def plug_pci(device: Device, *, temperature: str = "50000", mode: int = 0o666) -> None:
    device.write("/sys/class/apex/apex_0/temp", temperature)
    device.write("/dev/apex_0", "", mode=mode)


@fine
def an_accelerator_on_pcie(device: Device) -> None:
    plug_pci(device)


@case("accelerator.permission")
def a_user_outside_the_group_apex(device: Device) -> None:
    plug_pci(device, mode=0o600)


@case("accelerator.hot", level=warns)
def an_accelerator_that_is_too_hot(device: Device) -> None:
    plug_pci(device, temperature="104000")


@case("accelerator.no_library")
def an_accelerator_without_its_library(device: Device) -> None:
    device.plug()
    device.trials["accelerator"] = lines(*LOADED[:3], {"library_error": "cannot open object"})


@case("accelerator.library_mismatch")
def an_old_library_that_crashes_at_work(device: Device) -> None:
    device.plug()
    reason = {"state": "waiting", "fault": "crashed", "reason": "its process was killed by SIGSEGV"}
    device.trials["accelerator"] = lines(*LOADED, reason)


@case("accelerator.library_mismatch")
def an_old_library_that_crashes_at_once(device: Device) -> None:
    device.plug()
    device.trials["accelerator"] = lines(*LOADED[:3], crash=KILLED)


@case("accelerator.fails")
def another_delegate_that_crashes(device: Device) -> None:
    device.settings["accelerator.delegate"] = "/opt/libother.so"
    reason = {"state": "waiting", "fault": "crashed", "reason": "its process was killed by SIGSEGV"}
    device.trials["accelerator"] = lines({"library": "/opt/libother.so"}, *LOADED[1:], reason)


@case("accelerator.no_model", level=warns)
def an_accelerator_without_a_model_that_nobody_asked_for(device: Device) -> None:
    device.plug()
    device.trials["accelerator"] = lines(*LOADED[:2], {"error": "accelerator.model: …"})


@case("accelerator.no_model")
def an_accelerator_without_a_model(device: Device) -> None:
    an_accelerator_without_a_model_that_nobody_asked_for(device)
    device.settings["accelerator.delegate"] = "edgetpu"


@case("accelerator.absent", "accelerator.no_model")
def neither_an_accelerator_nor_a_model_for_it(device: Device) -> None:
    device.settings["accelerator.delegate"] = "edgetpu"
    device.trials["accelerator"] = lines(*LOADED[:2], {"error": "accelerator.model: …"})


@case("doctor.not_tried", level=warns)
def an_accelerator_whose_model_does_not_run_on_the_cpu(device: Device) -> None:
    device.plug()
    device.trials["accelerator"] = lines(LIBRARY, {"error": "x.tflite: damaged"})


@case("accelerator.unfit")
def an_accelerator_with_another_model(device: Device) -> None:
    device.plug()
    device.trials["accelerator"] = lines(
        *LOADED, {"state": "waiting", "fault": "unfit", "reason": "x"}
    )


@case("accelerator.unavailable")
def an_accelerator_that_another_program_has(device: Device) -> None:
    device.plug()
    reason = {"state": "waiting", "fault": "absent", "reason": "finds no device"}
    device.trials["accelerator"] = lines(*LOADED, reason)


@case("accelerator.fails")
def an_accelerator_that_hangs(device: Device) -> None:
    device.plug()
    device.trials["accelerator"] = LATE
