"""`edgeclassifier doctor`: what keeps this device from working, and what to do about it."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from edgeclassifier.commands.common import Subparsers, add_config_options, config_path
from edgeclassifier.errors import EXIT_FAILURE
from edgeclassifier.host.terminal import lines

if TYPE_CHECKING:
    from edgeclassifier.doctor.findings import Finding, Problem

_WORDS = {"ok": "OK", "note": "note", "warning": "warning", "failure": "FAILURE"}
_COLOURS = {"ok": "32", "note": "36", "warning": "33", "failure": "1;31"}
_LEVEL_WIDTH, _CHECK_WIDTH = 7, 11


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="examine the device, and say what to do about each problem",
        description="Examine Python, runtime, model, camera, accelerator, broker, page, "
        "metrics, clock, disk, power, temperature, service and the last crash. The daemon may run "
        "meanwhile. As root, it sees more.",
        epilog="The exit code is 1 if there is a failure, 0 otherwise. --json prints a list of "
        "findings, each with check, level (ok, note, warning, failure), id, title, detail and "
        "remedy; doctor/findings.schema.json in the package describes it.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine everything."""
    from edgeclassifier.doctor import machine
    from edgeclassifier.doctor.examination import examine

    findings = examine(machine.Machine(), config_file=config_path(args), overrides=args.set)
    failures = show(findings, as_json=args.json)
    return EXIT_FAILURE if failures else 0


def show(findings: "Iterable[Finding]", *, as_json: bool) -> "list[Problem]":
    """Print each finding as soon as it is there, or all as JSON; return those that are failures."""
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            sys.stdout.writelines(f"{line}\n" for line in _lines(finding, colour=_in_colour()))
            sys.stdout.flush()
    if as_json:
        listed = [each.as_data() for each in found]
        sys.stdout.write(lines(json.dumps(listed, indent=2, ensure_ascii=False)) + "\n")
    levels = [each.level.value for each in found]
    if not as_json:
        sys.stdout.write(f"\n{_count(levels, 'failure')}, {_count(levels, 'warning')}\n")
    return [each.problem for each in found if each.problem and each.level.value == "failure"]


def _lines(finding: "Finding", *, colour: bool) -> Iterator[str]:
    level = finding.level.value
    word = f"{_WORDS[level]:<{_LEVEL_WIDTH}}"
    if colour:
        word = f"\x1b[{_COLOURS[level]}m{word}\x1b[0m"
    title = f"{finding.problem.title}: " if finding.problem else ""
    yield f"{word}  {finding.check:<{_CHECK_WIDTH}}  {title}{finding.detail}"
    if finding.remedy:
        yield f"{' ' * (_LEVEL_WIDTH + _CHECK_WIDTH + 4)}{finding.remedy}"


def _in_colour() -> bool:
    told_not_to = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not told_not_to


def _count(levels: list[str], kind: str) -> str:
    count = levels.count(kind)
    return f"{count or 'no'} {kind}{'' if count == 1 else 's'}"
