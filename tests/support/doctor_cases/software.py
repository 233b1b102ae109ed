"""Configuration, Python, NumPy and the runtime."""

import errno
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeclassifier.doctor.findings import Level
from support.doctor_cases.registry import case, fine, warns
from support.doctor_device import ABSENT, Device, lines

APT = "/usr/lib/python3/dist-packages"


# Configuration
@case("config.invalid")
def a_value_out_of_range_and_an_unknown_key(device: Device) -> None:
    device.config_file = device.folder / "my config.toml"
    device.config_file.write_text('[mqtt]\nport = 99999\n[mqqt]\nhost = "x"\n')


@case("config.invalid", "doctor.not_tried")
def a_configuration_that_is_not_there(device: Device) -> None:
    device.config_file = device.folder / "absent.toml"


@case("config.invalid", "doctor.not_tried")
def a_configuration_that_breaks_off(device: Device) -> None:
    device.config_file = device.write("/etc/edgeclassifier/config.toml", '[mqtt]\nhost = "192.0')


def configure_for_root(device: Device, closed: str) -> None:
    """Have a configuration of which this user may not read the file `closed`."""
    folder = "/etc/edgeclassifier"
    device.config_file = device.write(f"{folder}/config.toml", '[mqtt]\nhost = "192.0.2.1"\n')
    device.write(f"{folder}/conf.d/site.toml", '[camera]\nsource = "stream"\n')
    secret = device.root / "etc/edgeclassifier" / closed
    refuse_to_open(device, secret)


def refuse_to_open(device: Device, closed: Path) -> None:
    """Keep this user from one file."""
    opened = os.open

    def refuse(file: Any, *arguments: Any, **more: Any) -> Any:
        if file == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return opened(file, *arguments, **more)

    device.monkeypatch.setattr(os, "open", refuse)


@case("config.unreadable", "doctor.not_tried", level=warns)
def a_configuration_that_is_the_service_s(device: Device) -> None:
    configure_for_root(device, "config.toml")


@case("config.unreadable", "doctor.not_tried", level=warns)
def a_drop_in_that_is_root_s_alone(device: Device) -> None:
    configure_for_root(device, "conf.d/site.toml")


@case("config.invalid")
def an_override_that_is_none(device: Device) -> None:
    device.overrides = ["mqtt.keepalive_s"]


def keep_a_change(device: Device) -> Path:
    """Have a service that keeps a change of state.threshold in the folder from systemd."""
    device.install()
    device.settings["device.state_directory"] = ""
    kept = '{"state.threshold": {"value": 0.75, "instead_of": 0.3}}'
    return device.write("/var/lib/edgeclassifier/overrides.json", kept)


@case("config.overridden", level=Level.NOTE)
def a_threshold_that_was_set_at_the_page(device: Device) -> None:
    keep_a_change(device)


@case("config.overridden", level=Level.NOTE)
def a_threshold_that_no_request_takes_back(device: Device) -> None:
    device.settings["commands.allow"] = ["health"]
    keep_a_change(device)


@fine
def a_threshold_that_was_set_before_the_configuration_was_edited(device: Device) -> None:
    device.settings["state.threshold"] = 0.4
    keep_a_change(device)


@case("config.overrides_closed", level=Level.NOTE)
def a_state_directory_that_is_the_service_s(device: Device) -> None:
    refuse_to_open(device, keep_a_change(device))


# Python, NumPy, runtime
@case("python.too_old")
def python_3_10(device: Device) -> None:
    device.python = replace(device.python, version=(3, 10, 13))


@case("python.32_bit", level=warns)
def python_of_32_bits(device: Device) -> None:
    device.python = replace(device.python, bits=32, machine="armv7l")


@case("numpy.broken", "runtime.absent", "doctor.not_tried")
def numpy_is_not_there(device: Device) -> None:
    device.trials["runtime"] = lines({"numpy_error": "No module named 'numpy'"})


@case("numpy.broken", "runtime.crashes", "doctor.not_tried")
def numpy_crashes(device: Device) -> None:
    device.trials["runtime"] = lines(crash=signal.SIGILL)


@case("numpy.broken", "runtime.hangs", "doctor.not_tried")
def python_cannot_be_started(device: Device) -> None:
    device.trials["runtime"] = ABSENT


@case("numpy.clash", "runtime.absent")
def the_older_runtime_with_numpy_2(device: Device) -> None:
    error = "no TFLite runtime: tflite-runtime does not work with NumPy 2.2.4: use NumPy 1"
    device.trials["runtime"] = lines({"numpy": "2.2.4", "numpy_file": "/x"}, {"error": error})


def two_numpys(device: Device, *, of_apt: str, environment: str) -> None:
    device.write(f"{APT}/numpy/version.py", f'version = "{of_apt}"\n')
    device.write(
        "/opt/x/pyvenv.cfg", f"home = /usr/bin\ninclude-system-site-packages = {environment}\n"
    )


@case("numpy.twice")
def a_numpy_in_front_of_the_system_s(device: Device) -> None:
    two_numpys(device, of_apt="1.24.2", environment="true")


@case("numpy.twice")
def a_numpy_in_front_of_the_system_s_known_by_its_folder(device: Device) -> None:
    two_numpys(device, of_apt="?", environment="true")
    device.write(f"{APT}/numpy-1.24.2.egg-info/x", "")


@fine
def a_numpy_that_the_environment_keeps_apart(device: Device) -> None:
    two_numpys(device, of_apt="1.24.2", environment="false")


@fine
def two_numpys_of_the_same_kind(device: Device) -> None:
    two_numpys(device, of_apt="2.1.0", environment="true")


@case("runtime.absent")
def no_runtime(device: Device) -> None:
    device.trials["runtime"] = lines(
        {"numpy": "2.2.4", "numpy_file": "/x"}, {"error": "no TFLite runtime: …"}
    )


@case("runtime.crashes")
def a_runtime_for_another_cpu(device: Device) -> None:
    device.trials["runtime"] = lines(
        {"numpy": "2.2.4", "numpy_file": "/x"}, {"module": "m"}, crash=signal.SIGILL
    )


@case("runtime.hangs")
def a_runtime_that_hangs(device: Device) -> None:
    said = lines({"numpy": "2.2.4", "numpy_file": "/x"}, {"runtime": "litert 2.3.0"})
    device.trials["runtime"] = replace(said, end="late")


@case("runtime.fails")
def a_runtime_that_fails(device: Device) -> None:
    said = {"numpy": "2.2.4", "numpy_file": "/x", "runtime": "litert 2.3.0"}
    device.trials["runtime"] = lines(said, code=1, errors="Traceback:\nRuntimeError: no\n")


@case("runtime.no_xnnpack", level=warns)
def a_runtime_without_xnnpack(device: Device) -> None:
    said = {"numpy": "1.26.4", "numpy_file": "/x", "runtime": "tflite-runtime 2.14.0"}
    device.trials["runtime"] = lines(said, {"ran": True, "xnnpack": False})
