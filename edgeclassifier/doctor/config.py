"""The configuration: whether it is valid, and as much of it as can be used if it is not."""

import dataclasses
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeclassifier.compose.identity import NO_FOLDER, NO_KEEP_FOLDER
from edgeclassifier.config import Config, load_config, to_toml
from edgeclassifier.config.loader import config_files
from edgeclassifier.config.options import is_path
from edgeclassifier.config.render import quoted_key
from edgeclassifier.doctor.findings import Finding, Level, Problem, fine
from edgeclassifier.doctor.machine import is_closed
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.errors import EXIT_CONFIG, ConfigError
from edgeclassifier.host.files import open_regular

_LARGEST_FILE_BYTES = 1 << 20

INVALID = Problem(
    id="config.invalid",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The configuration is not valid",
    meaning="The daemon ends with exit code 78, or goes on with the one before at a reload. The "
    "other findings are about what is valid of it, and the defaults.",
    remedy="correct what the finding names, then `edgeclassifier check --config {file}`; "
    "`config.toml` of the project shows every key",
)
UNREADABLE = Problem(
    id="config.unreadable",
    level=Level.WARNING,
    exit_code=EXIT_CONFIG,
    title="The configuration is not open to this user",
    meaning="On an installed device root and the service alone read it. What depends on it is not "
    "examined.",
    remedy="`sudo edgeclassifier doctor`",
)


OVERRIDDEN = Problem(
    id="config.overridden",
    level=Level.NOTE,
    title="A key was changed on request",
    meaning="A client, the page or Home Assistant changed it. That outlives a restart of the "
    "daemon, until it is taken back or the key is changed in the configuration. The other findings "
    "are about the configuration as its files have it.",
    remedy="nothing if that is meant; otherwise send the request that the finding names with "
    "`null`, or change the key in the configuration",
)
OVERRIDES_CLOSED = Problem(
    id="config.overrides_closed",
    level=Level.NOTE,
    title="What was changed on request is not open to this user",
    meaning="The service keeps it in its state directory, which root and the service alone read.",
    remedy="`sudo edgeclassifier doctor`",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A configuration, and what is wrong with its files."""

    config: Config
    problems: tuple[str, ...] = ()
    closed: tuple[Path, ...] = ()
    """Files that this user may not read."""
    is_known: bool = True
    """Whether it is the daemon's, but for what the problems name, and not just the defaults."""


def read_config(file: Path | None, overrides: Sequence[str]) -> Reading:
    """Read the configuration, or what is usable of it."""
    try:
        return Reading(config=load_config(file, overrides=overrides))
    except ConfigError as error:
        closed = tuple(each for each in config_files(file) if is_closed(each))
        return Reading(
            config=_usable(file, overrides),
            problems=error.problems,
            closed=closed,
            is_known=not closed and (file is None or _content(file) is not None),
        )


def report_config(reading: Reading, subject: Subject) -> Iterator[Finding]:
    """Report what is wrong, each in a finding."""
    file = subject.config_file
    if reading.closed:
        # Without these files the rest may seem to be wrong.
        for each in reading.closed:
            level = Level.FAILURE if subject.as_daemon else None
            yield UNREADABLE.found(f"{each}: permission denied", level=level)
        return
    problems = [*reading.problems, *_of_the_place(reading.config, subject)]
    for problem in problems:
        yield INVALID.found(problem, file=file or "FILE")
    if not problems:
        yield fine("config", f"{file or 'no file, the defaults'}: valid")
        yield from _changed_on_request(reading.config, subject)


def _of_the_place(config: Config, subject: Subject) -> Iterator[str]:
    """Name what is wrong with it at this place alone."""
    if config.buffer.storage == "disk" and not config.buffer.path and not subject.state_directory:
        yield NO_FOLDER
    if config.keep.kinds and not config.keep.path and not subject.state_directory:
        yield NO_KEEP_FOLDER


def _changed_on_request(config: Config, subject: Subject) -> Iterator[Finding]:
    from edgeclassifier.compose.clients import take_back_command
    from edgeclassifier.config.overrides import kept_changes

    try:
        changes = kept_changes(subject.state_directory, config)
    except PermissionError:
        yield OVERRIDES_CLOSED.found(f"{subject.state_directory}: permission denied")
        return
    for each in changes:
        finding = OVERRIDDEN.found(str(each))
        if command := take_back_command(config, each):
            remedy = f"nothing if that is meant; otherwise take it back: `{command}`"
            finding = dataclasses.replace(finding, remedy=remedy)
        yield finding


def _usable(file: Path | None, overrides: Sequence[str]) -> Config:
    """Take the tables that are valid as they are and, of the others, the keys that are."""
    config, kept = Config(), list[str]()
    groups = [*_tables(file), *([each] for each in overrides)]
    # Then key by key, again for those that others have to be there for.
    before = None
    while groups != before:
        before, groups = groups, []
        for group in before:
            try:
                config = load_config(None, overrides=[*kept, *group])
                kept += group
            except ConfigError:
                groups += [[each] for each in group]
    return config


def _content(file: Path) -> Mapping[str, Any] | None:
    """Read one file; None if that is not possible, which is among the problems already."""
    try:
        with open_regular(file) as opened:
            return tomllib.loads(opened.read(_LARGEST_FILE_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def _tables(file: Path | None) -> Iterator[list[str]]:
    """Read the file and its drop-ins as overrides, those of one table together."""
    for each in config_files(file):
        for name, table in (_content(each) or {}).items():
            try:
                group = list(_overrides(Config, {name: table}, folder=each.parent))
            except (ValueError, RecursionError):
                continue  # too deep, or a number of thousands of digits: a problem already
            if group:
                yield group


def _overrides(
    schema: type[Any], table: Mapping[str, Any], *, folder: Path, prefix: str = ""
) -> Iterator[str]:
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        value = table.get(field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            if isinstance(value, Mapping):
                kind = typing.cast("type[Any]", hints[field.name])
                yield from _overrides(kind, value, folder=folder, prefix=f"{prefix}{field.name}.")
        elif value is not None:
            if isinstance(value, str) and is_path(field, value):
                value = str((folder / value).absolute()) if value[0] != "~" else value
            yield f"{prefix}{field.name}={_as_toml(value)}"


def _as_toml(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{quoted_key(key)} = {_as_toml(each)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    return to_toml({"x": value}).partition("=")[2].strip()
