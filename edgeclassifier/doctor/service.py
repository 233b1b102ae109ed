"""The systemd service, and how the daemon ended last time."""

import os
from collections.abc import Iterator
from pathlib import Path

from edgeclassifier.config import Config
from edgeclassifier.doctor.findings import Finding, Level, Problem, fine
from edgeclassifier.doctor.machine import SERVICE_USER, Machine
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.errors import EXIT_CONFIG
from edgeclassifier.host.files import open_regular

_CREDENTIAL = "/etc/edgeclassifier/mqtt-password"
"""systemd reads it for the service (LoadCredential= of the unit), so it may be root's alone."""

REJECTED = Problem(
    id="service.rejected",
    level=Level.FAILURE,
    title="The service has ended for good",
    meaning="Its configuration or its model is not usable, so systemd does not start it again.",
    remedy="`sudo edgeclassifier check` says what is wrong; then `sudo systemctl restart "
    "edgeclassifier`",
)

FAILED = Problem(
    id="service.failed",
    level=Level.FAILURE,
    title="The service has failed",
    meaning="systemd could not start it, or gave it up.",
    remedy="`sudo journalctl -u edgeclassifier -n 50`; then `sudo systemctl restart "
    "edgeclassifier`",
)
RESTARTING = Problem(
    id="service.restarting",
    level=Level.FAILURE,
    title="The service keeps ending",
    meaning="systemd waits a while and starts it again; it does not come to classify anything, or "
    "not for long.",
    remedy="`sudo journalctl -u edgeclassifier -n 50` shows the reason, mostly that of another "
    "finding here",
)
STARTING = Problem(
    id="service.starting",
    level=Level.WARNING,
    title="The service has not classified anything yet",
    meaning="It is starting: READY comes with the first classified frame.",
    remedy="wait a minute and run `edgeclassifier doctor` again; `sudo journalctl -u "
    "edgeclassifier -f` shows what it waits for",
)
STOPPED = Problem(
    id="service.stopped",
    level=Level.WARNING,
    title="The service is installed, but does not run",
    meaning="It was stopped, or it was never started.",
    remedy="`sudo systemctl start edgeclassifier`",
)
DISABLED = Problem(
    id="service.disabled",
    level=Level.WARNING,
    title="The service will not start with the device",
    meaning="It runs now, but is not enabled.",
    remedy="`sudo systemctl enable edgeclassifier`",
)
MASKED = Problem(
    id="service.masked",
    level=Level.FAILURE,
    title="The service is masked",
    meaning="systemd was told never to start it.",
    remedy="`sudo systemctl unmask edgeclassifier` and `sudo systemctl start edgeclassifier`",
)
STALE = Problem(
    id="service.stale",
    level=Level.WARNING,
    title="systemd has not read the newest unit",
    meaning="A unit file or a drop-in was changed since.",
    remedy="`sudo systemctl daemon-reload` and `sudo systemctl restart edgeclassifier`",
)
RESTARTED = Problem(
    id="service.restarted",
    level=Level.WARNING,
    title="The service had to be started again",
    meaning="It runs, but has ended unasked since it was first started.",
    remedy="`sudo journalctl -u edgeclassifier | grep -iE 'error|failed|watchdog|killed' | tail`",
)
BUS = Problem(
    id="service.unknown",
    level=Level.WARNING,
    title="systemd does not answer",
    meaning="It runs this machine, but its state cannot be asked for.",
    remedy="`sudo edgeclassifier doctor`; if that does not help, `sudo reboot`",
)
SECRET = Problem(
    id="service.closed_secret",
    level=Level.WARNING,
    title="The service's user may not read a secret",
    meaning="root, who tries the configuration, can; the service ends with exit code 78. systemd "
    "hands it /etc/edgeclassifier/mqtt-password, and others only by a drop-in (`LoadCredential=`).",
    remedy="`sudo chown {user} {file}`; if a folder above it is closed as well, `sudo install "
    "-o {user} -m 600 {file} /etc/edgeclassifier/`, and name that one",
)
CRASHED = Problem(
    id="crash.last_exit",
    level=Level.WARNING,
    title="The daemon ended unasked last time",
    meaning="The reason is what it could note; the end of its journal tells more.",
    remedy="`sudo journalctl -u edgeclassifier -n 100` or, after a restart of the device, `sudo "
    "journalctl -b -1 -u edgeclassifier -n 100`; for lack of memory `sudo journalctl -k | grep -i "
    "'out of memory'`",
)
HIDDEN = Problem(
    id="crash.unreadable",
    level=Level.WARNING,
    title="The note of the last exit cannot be read",
    meaning="It is in the service's own folder, which other users cannot look into.",
    remedy="`sudo edgeclassifier doctor`",
)


def check_service(subject: Subject) -> Iterator[Finding]:
    """How it is, as systemd sees it, and whether its user can read what it has to."""
    yield from _state(subject)
    yield from check_secrets(subject)


def check_secrets(subject: Subject) -> Iterator[Finding]:
    """Report the secrets that the service's user may not read, although this one may."""
    for key, file in closed_secrets(subject.config, subject.machine):
        yield SECRET.found(f"{key}: {file}", file=file, user=SERVICE_USER)


def closed_secrets(config: Config, machine: Machine) -> Iterator[tuple[str, str]]:
    """Give key and file of each secret that the service's user may not read, if there is one."""
    stream, mqtt, web = config.camera.stream, config.mqtt, config.web
    named = (
        ("camera.stream.password_file", stream.password_file, config.camera.source == "stream"),
        ("mqtt.password_file", mqtt.password_file, True),
        ("mqtt.tls.key_file", mqtt.tls.key_file, mqtt.tls.enabled),
        ("web.password_file", web.password_file, web.enabled),
    )
    user = machine.service_user()
    for key, file, is_used in named:
        path = os.fspath(Path(file).absolute())
        wanted = bool(file) and is_used and path != _CREDENTIAL
        if user is not None and wanted and not machine.may_reach(user, path, os.R_OK):
            yield key, path


def _state(subject: Subject) -> Iterator[Finding]:
    unit, machine = subject.unit, subject.machine
    by_hand = ", ".join(str(each.pid) for each in subject.daemons)
    if not unit:
        if machine.exists("/run/systemd/system"):
            yield BUS.found("systemctl show edgeclassifier.service: no answer")
        else:
            said = f"a daemon runs (process {by_hand})" if by_hand else "no daemon runs"
            yield fine("service", f"systemd does not run this machine; {said}")
        return
    load, active, sub = (unit.get(key, "") for key in ("LoadState", "ActiveState", "SubState"))
    code, restarts = unit.get("ExecMainStatus", "0"), unit.get("NRestarts", "0")
    how = f"{active} ({sub}), {unit.get('Result', '?')}, exit code {code}, {restarts} restarts"
    if load == "masked":
        yield MASKED.found(how)
    elif load != "loaded":
        said = f"a daemon runs by hand (process {by_hand})" if by_hand else "no daemon runs"
        yield fine("service", f"not installed; {said}")
    elif active == "failed":
        yield (REJECTED if code == str(EXIT_CONFIG) else FAILED).found(how)
    elif sub == "auto-restart":
        yield RESTARTING.found(how)
    elif active in {"activating", "reloading"}:
        yield STARTING.found(how)
    elif active != "active":
        yield STOPPED.found(how)
    else:
        yield from _running(subject, how)
    if unit.get("NeedDaemonReload") == "yes":
        yield STALE.found("the unit was changed on disk")


def _running(subject: Subject, how: str) -> Iterator[Finding]:
    unit = subject.unit
    if unit.get("UnitFileState") in {"disabled", "indirect"}:
        yield DISABLED.found(how)
    if unit.get("NRestarts", "0") != "0":
        yield RESTARTED.found(how)
    since = unit.get("ActiveEnterTimestamp", "?")
    yield fine("service", f"runs since {since}, process {unit.get('MainPID', '?')}")


def check_crash(subject: Subject) -> Iterator[Finding]:
    """How the daemon ended last time."""
    from edgeclassifier.daemon.exit_record import RECORD, ExitRecord

    directory = subject.state_directory
    if directory is None:
        yield fine("crash", "not known: the daemon has no folder to note it in")
        return
    note = directory / RECORD
    try:
        with open_regular(note):
            pass
    except (FileNotFoundError, NotADirectoryError):
        yield fine("crash", f"none noted in {directory}")
        return
    except OSError as error:
        yield HIDDEN.found(f"{note}: {error.strerror}")
        return
    crash = ExitRecord(directory).previous()
    if crash is None:
        yield fine("crash", "the last exit was in order")
    elif crash.exit_code is None and subject.daemons:
        # The note of the daemon that runs: it says how it ended before in its own health.
        yield fine("crash", "a daemon runs; how it ended before is in its health (last_crash)")
    else:
        code = "" if crash.exit_code is None else f", exit code {crash.exit_code}"
        yield CRASHED.found(f"{crash.reason}{code} ({crash.timestamp or 'when is not known'})")
