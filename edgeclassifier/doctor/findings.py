"""What an examination finds: problems that are known beforehand, and findings of this time."""

import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from edgeclassifier.errors import EXIT_FAILURE
from edgeclassifier.host.terminal import one_line

REINSTALL = (
    "`sudo deploy/install.sh --reinstall`, in a clone and with the options of the first time"
)
"""Makes a release of deploy/ again as a whole. It has no pip that could repair a part of it."""
_LONGEST_DETAIL = 500


class Level(StrEnum):
    """How bad it is. Only a failure keeps the daemon from doing what it is configured to do."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, but it is something that a person may have forgotten."""
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check has found: that all is well, or one problem."""

    check: str
    level: Level
    detail: str
    """What was seen, on one line."""
    problem: "Problem | None" = None
    remedy: str | None = None
    """What to do, with the commands in backticks."""

    def as_data(self) -> dict[str, Any]:
        """Return what `--json` shows; findings.schema.json describes it."""
        return {
            "check": self.check,
            "level": self.level.value,
            "id": self.problem and self.problem.id,
            "title": self.problem and self.problem.title,
            "detail": self.detail,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that goes wrong on devices. The README's table shows every one."""

    id: str
    """CHECK.WHAT; it stays the same from version to version."""
    level: Level
    title: str
    meaning: str
    remedy: str
    """With {names} in braces for what is only known where the problem is found."""
    exit_code: int = EXIT_FAILURE
    """What `edgeclassifier check` ends with if this is the first failure; as a rule, the daemon."""
    remedy_of_release: str = ""
    """The remedy if deploy/ has installed the daemon, if that is another one. Without names."""

    @property
    def check(self) -> str:
        """The check that finds it."""
        return self.id.partition(".")[0]

    @property
    def general_remedy(self) -> str:
        """The remedy with NAMES for what differs from device to device."""
        general = self.remedy.format_map(_Names())
        if not self.remedy_of_release:
            return general
        return f"{general}. Installed by `deploy/`: {self.remedy_of_release}"

    def found(
        self, detail: str, *, level: Level | None = None, check: str = "", **names: object
    ) -> Finding:
        """Report it, as seen in `detail`; `names` go into the remedy, quoted for a shell.

        A list among them becomes several words. `level` is for when it matters less, or more, than
        usual; `check` for another check than its own.
        """
        quoted = {
            name: shlex.join(one_line(str(each)) for each in _as_list(value))
            for name, value in names.items()
        }
        return Finding(
            check=check or self.check,
            level=level or self.level,
            detail=_shown(detail),
            problem=self,
            remedy=self.remedy.format(**quoted),
        )


def as_installed(finding: Finding, *, is_release: bool) -> Finding:
    """Give a finding the remedy for how the daemon was installed: by deploy/, or otherwise."""
    if is_release and finding.problem and finding.problem.remedy_of_release:
        return replace(finding, remedy=finding.problem.remedy_of_release)
    return finding


def fine(check: str, detail: str) -> Finding:
    """Report that all is well."""
    return Finding(check=check, level=Level.OK, detail=_shown(detail))


NOT_TRIED = Problem(
    id="doctor.not_tried",
    level=Level.WARNING,
    title="A check could not be carried out",
    meaning="It needs something that does not work.",
    remedy="do first what the other findings say, then `edgeclassifier doctor` again",
)


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def _shown(text: str) -> str:
    text = one_line(" ".join(text.split())) or "no reason given"
    return text if len(text) <= _LONGEST_DETAIL else text[:_LONGEST_DETAIL] + "…"


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return name.upper()
