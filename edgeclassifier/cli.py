"""The command line."""

import argparse
import difflib
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from edgeclassifier import __version__
from edgeclassifier.commands.common import report
from edgeclassifier.errors import EXIT_USAGE, ConfigError, EdgeclassifierError

_COMMANDS = (
    "run",
    "classify",
    "evaluate",
    "check",
    "doctor",
    "bench",
    "models",
    "teach",
    "config",
    "demo",
    "discovery",
    "kept",
)
_INTERRUPTED = 130
_WRONG_CHOICE = re.compile(r"argument (.+): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)
"""How argparse says it, with the choices in quotes up to Python 3.11."""


class _Parser(argparse.ArgumentParser):
    """Suggests what was meant by a command, an option or a choice that is not there."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is left over here, where the options of the command are known."""
        parsed, surplus = super().parse_known_args(args, namespace)
        if surplus:
            options = re.findall(r"--[a-z][a-z-]+", self.format_help())
            close = difflib.get_close_matches(surplus[0].partition("=")[0], options, n=1)
            hint = f": did you mean {close[0]}?" if close else ""
            self.error(f"unrecognized arguments: {' '.join(surplus)}{hint}")
        return parsed, surplus

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        if wrong := _WRONG_CHOICE.fullmatch(message):
            what, given, listed = wrong.groups()
            choices = [each.strip("'") for each in listed.split(", ")]
            close = difflib.get_close_matches(given, choices, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(choices)}"
            kind = what.lower() if what.isupper() else f"value for {what}"
            message = f"{given!r} is no {kind}: {hint}"
        super().error(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The names of files and the letters of labels need not exist in the terminal's encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of stdout has seen enough; the interpreter must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _run(given: Sequence[str]) -> int:
    if not given:
        _parser(given).print_help()
        return EXIT_USAGE
    try:
        args = _parser(given[:1]).parse_args(given)
        code: int = args.run(args)
    except SystemExit as leaving:
        # How argparse ends after --help, --version and a usage error.
        return int(leaving.code or 0)
    except ConfigError as error:
        for problem in error.problems:
            report(problem)
        return error.exit_code
    except EdgeclassifierError as error:
        report(str(error))
        return error.exit_code
    return code


def _parser(first: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edgeclassifier",
        description="Classify what a camera sees and publish the top-3 predictions over MQTT.",
        epilog="Exit codes: 0 done, 1 failure, 2 usage, 78 bad configuration or model.",
    )
    parser.add_argument("--version", action="version", version=f"edgeclassifier {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # The daemon's start is not the place to import every other command.
    for name in [each for each in _COMMANDS if each in first] or _COMMANDS:
        importlib.import_module(f"edgeclassifier.commands.{name}").add_parser(subparsers)
    return parser
