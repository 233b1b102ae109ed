"""The page and the file of the metrics: what the daemon reads and writes for them."""

from collections.abc import Iterator
from pathlib import Path

from edgeclassifier.doctor.access import closed_folder
from edgeclassifier.doctor.findings import Finding, Level, Problem, fine
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.errors import ConfigError

PASSWORD = Problem(
    id="web.password",
    level=Level.FAILURE,
    title="The page's password cannot be used",
    meaning="The file that `web.password_file` names is absent, empty, open to others, or not "
    "text. The daemon ends with exit code 78.",
    remedy="put it right as the finding says; `sudo install -o {user} -m 600 /dev/stdin {file}` "
    "takes a new one, up to Ctrl-D",
)
NAME = Problem(
    id="metrics.name",
    level=Level.FAILURE,
    title="The node exporter would not read the file of the metrics",
    meaning="It reads files that end in `.prom`. The daemon ends with exit code 78.",
    remedy="name it so in `metrics.textfile`",
)
FOLDER = Problem(
    id="metrics.folder",
    level=Level.WARNING,
    title="The metrics cannot be written",
    meaning="The folder of `metrics.textfile` is absent, or closed to the user that runs the "
    "daemon, who tries it again and again.",
    remedy="`sudo install -d -o {user} {folder}`; for the service `ReadWritePaths={folder}` below "
    "`[Service]` in `sudo systemctl edit edgeclassifier`, and `sudo systemctl restart "
    "edgeclassifier`",
)


def check_web(subject: Subject) -> Iterator[Finding]:
    """Whether its password can be used."""
    from edgeclassifier.host.credentials import read_password

    web, machine = subject.config.web, subject.machine
    if not web.enabled:
        yield fine("web", "the page is off")
        return
    said = f"the page is at {web.host}, port {web.port}"
    if not web.password_file:
        yield fine("web", f"{said}, without a password")
        return
    file = Path(web.password_file).absolute()
    try:
        read_password(machine.path(str(file)))
    except ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            yield fine("web", f"{said}; its password is not open to this user")
            return
        for problem in error.problems:
            yield PASSWORD.found(problem, file=file, user=machine.user().name)
    else:
        yield fine("web", f"{said}, with a password")


def check_metrics(subject: Subject) -> Iterator[Finding]:
    """Whether their file has a name that is read, and a folder that can be written."""
    from edgeclassifier.metrics.textfile import name_problem

    file = subject.config.metrics.textfile
    if not file:
        yield fine("metrics", "no file is configured")
    elif problem := name_problem(Path(file)):
        yield NAME.found(problem)
    elif problem := closed_folder(file, subject.machine):
        user = subject.machine.user().name
        yield FOLDER.found(problem, folder=Path(file).absolute().parent, user=user)
    else:
        yield fine("metrics", file)
