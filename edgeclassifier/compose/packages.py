"""The packages that only some configurations need: one table for the daemon and for `check`."""

import pkgutil
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeclassifier.config import Config
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import ConfigError

RELEASES = Path("/opt/edgeclassifier")
"""Where deploy/ installs. There is no pip in a release."""
REINSTALL = "sudo deploy/install.sh --reinstall"

Try = Callable[[str], str | None]
"""Says why a module, or MODULE:NAME in it, cannot be imported; None if it can."""


@plain_data
class Package(Plain):
    """One that pip installs."""

    requirement: str
    """As pip takes it."""
    module: str
    """What shows that it is there, and new enough if that can be seen."""

    @property
    def name(self) -> str:
        """What pip knows it by."""
        return self.requirement.partition(">=")[0]


@plain_data
class Use(Plain):
    """What makes the daemon need packages."""

    check: str
    """The check of the doctor that finds them missing."""
    key: str
    """What in the configuration asks for it."""
    wanted: Callable[[Config], bool]
    packages: tuple[Package, ...]
    part: str = ""
    """Our module that imports them at its top, which shows whether they are new enough."""


@plain_data
class Missing(Plain):
    """What one use lacks."""

    use: Use
    packages: tuple[Package, ...]
    reason: str
    """Why the first of them cannot be imported."""

    def __str__(self) -> str:
        return f"{self.use.key} needs {listed([each.name for each in self.packages])}"


_PROMETHEUS = Package(requirement="prometheus-client>=0.21", module="prometheus_client.core")
USES = (
    Use(
        check="camera",
        key='camera.source = "stream"',
        wanted=lambda config: config.camera.source == "stream",
        # Debian 12 has an older one, which lacks this.
        packages=(Package(requirement="av>=14", module="av.video.reformatter:ColorRange"),),
    ),
    Use(
        check="web",
        key="web.enabled = true",
        wanted=lambda config: config.web.enabled,
        packages=(
            Package(requirement="starlette>=1.0", module="starlette.applications"),
            Package(requirement="uvicorn>=0.40,<0.55", module="uvicorn.server"),
            _PROMETHEUS,
        ),
        part="edgeclassifier.web.server",
    ),
    Use(
        check="metrics",
        key="metrics.textfile",
        wanted=lambda config: bool(config.metrics.textfile),
        packages=(_PROMETHEUS,),
    ),
)


def import_problem(name: str) -> str | None:
    """Say why a module, or MODULE:NAME in it, cannot be imported; None if it can."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError) as error:
        return str(error)
    return None


def missing(config: Config, *, check: str = "", attempt: Try = import_problem) -> list[Missing]:
    """Try the packages that a configuration needs, all or those of one check of the doctor.

    Returns those that cannot be imported, in the order of the table.
    """
    found = []
    for use in USES:
        if not use.wanted(config) or check not in {"", use.check}:
            continue
        reasons = {each: attempt(each.module) for each in use.packages}
        lacking = tuple(each for each, reason in reasons.items() if reason)
        if lacking:
            found.append(Missing(use=use, packages=lacking, reason=str(reasons[lacking[0]])))
        elif use.part and (reason := attempt(use.part)):
            found.append(Missing(use=use, packages=use.packages, reason=reason))
    return found


def require_packages(config: Config) -> None:
    """Raise ConfigError with every package that is missing and the command that installs all."""
    if lacking := missing(config):
        needs = "; ".join(f"{each} ({each.reason})" for each in lacking)
        raise ConfigError([f"packages are missing: {needs}: {remedy(lacking)}"])


def requirements(lacking: Sequence[Missing]) -> list[str]:
    """List what pip has to install, each once."""
    return list(dict.fromkeys(each.requirement for one in lacking for each in one.packages))


def remedy(lacking: Sequence[Missing]) -> str:
    """Say how this environment gets them."""
    if Path(sys.prefix).is_relative_to(RELEASES):
        return f"{REINSTALL}, in a clone"
    return shlex.join([sys.executable, "-m", "pip", "install", *requirements(lacking)])


def listed(names: Sequence[str]) -> str:
    """Join names as in a sentence."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
