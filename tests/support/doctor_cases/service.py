"""The service, how the daemon ended, and the doctor itself."""

import json
import os
from typing import Any

from edgeclassifier.host.children import Outcome
from edgeclassifier.host.system import System
from support.daemon import PATIENCE_S
from support.doctor_cases.registry import case, fine, warns
from support.doctor_device import LATE, Device


# Service and crash
@fine
def a_service_that_runs(device: Device) -> None:
    device.install()


@fine
def a_machine_without_systemd(device: Device) -> None:
    device.commands["systemctl"] = Outcome(
        end="answered", code=1, errors="not booted with systemd\n"
    )
    (device.root / "run/systemd/system/x").unlink()
    (device.root / "run/systemd/system").rmdir()


@case("service.unknown", level=warns)
def a_systemd_that_does_not_answer(device: Device) -> None:
    device.commands["systemctl"] = LATE


@case("service.rejected")
def a_service_whose_configuration_was_refused(device: Device) -> None:
    device.install(ActiveState="failed", SubState="failed", ExecMainStatus="78")


@case("service.failed")
def a_service_that_has_failed(device: Device) -> None:
    device.install(ActiveState="failed", SubState="failed", Result="resources")


@case("service.restarting")
def a_service_that_ends_again_and_again(device: Device) -> None:
    device.install(ActiveState="activating", SubState="auto-restart", NRestarts="41")


@case("service.starting", level=warns)
def a_service_that_is_starting(device: Device) -> None:
    device.install(ActiveState="activating", SubState="start")


@case("service.stopped", level=warns)
def a_service_that_was_stopped(device: Device) -> None:
    device.install(ActiveState="inactive", SubState="dead")


@case("service.disabled", level=warns)
def a_service_that_is_not_enabled(device: Device) -> None:
    device.install(UnitFileState="disabled")


@case("service.masked")
def a_service_that_is_masked(device: Device) -> None:
    device.install(LoadState="masked", ActiveState="inactive")


@case("service.stale", level=warns)
def a_unit_that_was_edited(device: Device) -> None:
    device.install(NeedDaemonReload="yes")


@case("service.restarted", level=warns)
def a_service_that_was_killed_once(device: Device) -> None:
    device.install(NRestarts="1")


def note_exit(device: Device, record: object, fault: str = "") -> None:
    folder = device.folder / "state"
    folder.mkdir()
    (folder / "last-exit.json").write_text(
        record if isinstance(record, str) else json.dumps(record)
    )
    (folder / "fault.txt").write_text(fault)


@fine
def an_end_in_order(device: Device) -> None:
    note_exit(device, {"state": "ended", "reason": "", "exit_code": 0, "timestamp": "…"})


@case("crash.last_exit", level=warns)
def a_failure_that_was_noted(device: Device) -> None:
    note_exit(device, {"state": "ended", "reason": "the camera is gone", "exit_code": 1})


@case("crash.last_exit", level=warns)
def a_crash_of_native_code(device: Device) -> None:
    note_exit(device, {"state": "running"}, fault="Fatal Python error: Segmentation fault\n")


@fine
def the_note_of_the_daemon_that_runs(device: Device) -> None:
    note_exit(device, {"state": "running"})
    device.start(812, "/opt/x/bin/edgeclassifier", "run")


@fine
def a_note_that_is_damaged(device: Device) -> None:
    note_exit(device, "[" * 100_000)


@case("crash.unreadable", level=warns)
def a_note_that_cannot_be_read(device: Device) -> None:
    (device.folder / "state/last-exit.json").mkdir(parents=True)


# The doctor itself
@case("doctor.defect")
def a_check_that_fails_itself(device: Device) -> None:
    device.monkeypatch.setattr(System, "cpu_temperature_c", lambda _self: 1 / 0)


@case("doctor.hangs")
def a_file_that_keeps_one_waiting(device: Device) -> None:
    """Only the check that meets it is held up. The disk of the file does not answer."""
    note = device.folder / "state/last-exit.json"
    opened = os.open

    def wait(file: Any, *arguments: Any, **more: Any) -> int:
        if file == note:
            device.released.wait(PATIENCE_S)
        return opened(file, *arguments, **more)

    device.monkeypatch.setattr(os, "open", wait)
