"""The command line."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from edgeclassifier import __version__
from edgeclassifier.commands.common import report
from edgeclassifier.errors import ConfigError, EdgeclassifierError

_COMMANDS = (
    "run",
    "classify",
    "evaluate",
    "check",
    "doctor",
    "bench",
    "models",
    "config",
    "demo",
    "discovery",
)
_INTERRUPTED = 130


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
    parser = argparse.ArgumentParser(
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
