"""Carries out all checks, one after the other, so that none can hold up or hide the others."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from edgeclassifier.doctor import (
    accelerator,
    broker,
    camera,
    camera_problems,
    config,
    hardware,
    model,
    pixels,
    python,
    service,
    web,
)
from edgeclassifier.doctor.findings import (
    NOT_TRIED,
    REINSTALL,
    Finding,
    Level,
    Problem,
    as_installed,
)
from edgeclassifier.doctor.machine import Machine
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.host import threads

HANGS = Problem(
    id="doctor.hangs",
    level=Level.FAILURE,
    title="A check does not come to an end",
    meaning="A file, a device or the network keeps it waiting; it was left behind, and what it "
    "would have found is not known.",
    remedy="`sudo dmesg | tail -n 50` shows devices and storage that do not answer; then `sudo "
    "reboot`",
)
DEFECT = Problem(
    id="doctor.defect",
    level=Level.FAILURE,
    title="A check has failed itself",
    meaning="A defect of this program, a Python package that is damaged, or a machine unlike "
    "any other.",
    remedy="report the finding to the project, with the output of `edgeclassifier doctor --json`; "
    "if it names a module, install the daemon again, in a new environment",
    remedy_of_release="report the finding to the project, with the output of `sudo edgeclassifier "
    f"doctor --json`; if it names a module: {REINSTALL}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One subject of the examination."""

    name: str
    look: Callable[[Subject], Iterator[Finding]]
    limit_s: float = 30.0
    needs_config: bool = True
    needs_numpy: bool = False
    """Whether it imports NumPy into this process, which would not survive a broken one."""


CHECKS = (
    Check(name="python", look=python.check_python, needs_config=False),
    Check(name="numpy", look=python.check_numpy, limit_s=75.0),
    Check(name="runtime", look=python.check_runtime, limit_s=75.0),
    Check(name="model", look=model.check_model, limit_s=120.0, needs_numpy=True),
    Check(name="labels", look=model.check_labels, limit_s=120.0),
    Check(name="camera", look=camera.check_camera, limit_s=80.0),
    Check(name="accelerator", look=accelerator.check_accelerator, limit_s=90.0),
    Check(name="broker", look=broker.check_broker, limit_s=60.0, needs_numpy=True),
    Check(name="web", look=web.check_web),
    Check(name="metrics", look=web.check_metrics),
    Check(name="clock", look=hardware.check_clock, needs_config=False),
    Check(name="disk", look=hardware.check_disk, needs_numpy=True),
    Check(name="power", look=hardware.check_power, needs_config=False),
    Check(name="throttling", look=hardware.check_throttling, needs_config=False),
    Check(name="temperature", look=hardware.check_temperature, needs_config=False),
    Check(name="service", look=service.check_service, needs_config=False),
    Check(name="crash", look=service.check_crash, needs_numpy=True),
)
_OF_CONFIG = {"model", "labels", "accelerator", "camera", "broker", "web", "metrics"}
CHECKS_OF_CONFIG = (
    *(each for each in CHECKS if each.name in _OF_CONFIG),
    Check(name="service", look=service.check_secrets),
)
"""What the configuration names: `edgeclassifier check`."""
_CONFIG_LIMIT_S = 20.0
_MODULES: Sequence[ModuleType] = (
    config,
    python,
    pixels,
    model,
    camera_problems,
    accelerator,
    broker,
    web,
    hardware,
    service,
)


def problems() -> list[Problem]:
    """List every problem that can be found, in the order of the checks."""
    of_checks = [each for module in _MODULES for each in vars(module).values()]
    found = [each for each in of_checks if isinstance(each, Problem) and each is not NOT_TRIED]
    return [*found, HANGS, DEFECT, NOT_TRIED]


def examine(
    machine: Machine,
    *,
    config_file: Path | None,
    overrides: Sequence[str],
    checks: Sequence[Check] = CHECKS,
    as_daemon: bool = False,
    online: bool = True,
) -> Iterator[Finding]:
    """Carry out the checks; give each finding as soon as it is there.

    `as_daemon` examines as the daemon would start, as this user: what is closed to this user is a
    failure, and a configuration that is not valid ends it. `online` lets it connect to the broker.
    """
    subject = Subject(machine=machine, config_file=config_file, as_daemon=as_daemon, online=online)
    for finding in _examine(subject, overrides, checks):
        yield as_installed(finding, is_release=machine.python.is_of_release)


def _examine(
    subject: Subject, overrides: Sequence[str], checks: Sequence[Check]
) -> Iterator[Finding]:
    is_known = False

    def read() -> Iterator[Finding]:
        nonlocal is_known
        reading = config.read_config(subject.config_file, overrides)
        subject.config, is_known = reading.config, reading.is_known
        yield from config.report_config(reading, subject)

    found = list(_carry_out("config", read, limit_s=_CONFIG_LIMIT_S))
    yield from found
    if subject.as_daemon and any(each.level is Level.FAILURE for each in found):
        return
    numpy_works = True
    for check in checks:
        if check.needs_config and not is_known:
            yield NOT_TRIED.found("the configuration is not known", check=check.name)
            continue
        if check.needs_numpy and not numpy_works:
            yield NOT_TRIED.found("NumPy does not work", check=check.name)
            continue
        found = list(_carry_out(check.name, _bound(check, subject), limit_s=check.limit_s))
        yield from found
        if check.name == "numpy" and any(each.problem is python.NUMPY_BROKEN for each in found):
            numpy_works = False


def _bound(check: Check, subject: Subject) -> Callable[[], Iterator[Finding]]:
    return lambda: check.look(subject)


def _carry_out(
    name: str, look: Callable[[], Iterator[Finding]], *, limit_s: float
) -> Iterator[Finding]:
    """Carry out one check in a thread that is left behind if it hangs."""
    found: list[Finding] = []
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            # One by one: what was found before it hangs or fails, counts.
            found.extend(look())
        except BaseException as error:  # noqa: BLE001 - reported as a finding below
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    threads.start(work, name=f"doctor-{name}")
    try:
        error = outcome.exception(limit_s)
    except TimeoutError:
        yield from list(found)
        yield HANGS.found(f"no end after {limit_s:g} s", check=name)
        return
    yield from found
    if error is not None:
        yield DEFECT.found(f"{type(error).__name__}: {error}", check=name)
