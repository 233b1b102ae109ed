"""The page and the file of the metrics: what the daemon reads and writes for them."""

import os
from collections.abc import Iterator
from pathlib import Path

from edgeclassifier.doctor.findings import REINSTALL, Finding, Level, Problem, fine
from edgeclassifier.doctor.machine import Machine, number
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.errors import EXIT_CONFIG, ConfigError

_LOWEST_OPEN_PORT = 1024

PASSWORD = Problem(
    id="web.password",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The page's password cannot be used",
    meaning="The file that `web.password_file` names is absent, empty, open to others, or not "
    "text. The daemon ends with exit code 78.",
    remedy="fix what the finding names; `sudo install -o {user} -m 600 /dev/stdin {file}` "
    "takes a new one, up to Ctrl-D",
)
PORT = Problem(
    id="web.port",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The page's port is for root only",
    meaning="Linux keeps the ports below 1024 for root, and the daemon does not run as root. It "
    "ends with exit code 78.",
    remedy="set `web.port` to one from 1024 on, such as 8080; a proxy can serve it on 80 or 443",
)
NO_PACKAGE = Problem(
    id="web.no_package",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The packages for the page are not installed",
    meaning="The page needs starlette and uvicorn, and prometheus-client for the metrics that it "
    "shows; the finding names those that are missing. The daemon ends with exit code 78.",
    remedy="`{python} -m pip install {packages}`",
    remedy_of_release=REINSTALL,
)
NAME = Problem(
    id="metrics.name",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The node exporter would not read the file of the metrics",
    meaning="It reads files that end in `.prom`. The daemon ends with exit code 78.",
    remedy="name it so in `metrics.textfile`",
)
NO_METRICS_PACKAGE = Problem(
    id="metrics.no_package",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The package for the metrics is not installed",
    meaning="`metrics.textfile` and the page need prometheus-client. The daemon ends with exit "
    "code 78.",
    remedy="`{python} -m pip install {packages}`",
    remedy_of_release=REINSTALL,
)
FOLDER = Problem(
    id="metrics.folder",
    level=Level.WARNING,
    title="The metrics cannot be written",
    meaning="The folder of `metrics.textfile` is absent, or closed to the user that runs the "
    "daemon. It tries again at each interval.",
    remedy="`sudo install -d -o {user} {folder}`; for the service `ReadWritePaths={folder}` below "
    "`[Service]` in `sudo systemctl edit edgeclassifier`, and `sudo systemctl restart "
    "edgeclassifier`",
)


def check_web(subject: Subject) -> Iterator[Finding]:
    """Whether its packages are installed, and its password can be used."""
    from edgeclassifier.host.credentials import read_password

    web, machine = subject.config.web, subject.machine
    if not web.enabled:
        yield fine("web", "the page is off")
        return
    yield from (barred := [*_missing(subject, NO_PACKAGE), *_closed_port(subject)])
    said = f"the page is at {web.host}, port {web.port}"
    if not web.password_file:
        if not barred:
            yield fine("web", f"{said}, without a password")
        return
    file = Path(web.password_file).absolute()
    try:
        read_password(machine.path(str(file)))
    except ConfigError as error:
        if isinstance(error.__cause__, PermissionError) and not subject.as_daemon:
            yield fine("web", f"{said}; its password is not open to this user")
            return
        for problem in error.problems:
            yield PASSWORD.found(problem, file=file, user=machine.user().name)
    else:
        if not barred:
            yield fine("web", f"{said}, with a password")


def check_metrics(subject: Subject) -> Iterator[Finding]:
    """Whether their package is installed, and their file has a name and a folder that will do."""
    from edgeclassifier.metrics.textfile import name_problem

    file, machine = subject.config.metrics.textfile, subject.machine
    if not file:
        yield fine("metrics", "no file is configured")
        return
    yield from (barred := list(_missing(subject, NO_METRICS_PACKAGE)))
    if problem := name_problem(Path(file)):
        yield NAME.found(problem)
    elif problem := _closed_folder(file, machine):
        user = machine.user().name
        yield FOLDER.found(problem, folder=Path(file).absolute().parent, user=user)
    elif not barred:
        yield fine("metrics", file)


def _closed_port(subject: Subject) -> Iterator[Finding]:
    machine, port = subject.machine, subject.config.web.port
    lowest = number(machine.text("/proc/sys/net/ipv4/ip_unprivileged_port_start"))
    if machine.user().uid and port < (_LOWEST_OPEN_PORT if lowest < 0 else lowest):
        yield PORT.found(f"web.port = {port}, as {machine.user().name}")


def _missing(subject: Subject, problem: Problem) -> Iterator[Finding]:
    """Report the packages that the daemon would miss, by the table that it goes by itself."""
    from edgeclassifier.compose.packages import missing, requirements

    machine = subject.machine
    for each in missing(subject.config, check=problem.check, attempt=machine.import_problem):
        yield problem.found(
            f"{each}: {each.reason}",
            python=machine.python.executable,
            packages=requirements([each]),
        )


def _closed_folder(file: str, machine: Machine) -> str | None:
    """Say why the user of the daemon cannot write `file` into its folder; None if that is open."""
    folder, user = os.fspath(Path(file).absolute().parent), machine.user()
    if not machine.exists(folder):
        return f"{folder} is not there"
    if not machine.may_reach(user, folder, os.W_OK | os.X_OK):
        return f"{folder} is not open to {user.name}, to write"
    return None
