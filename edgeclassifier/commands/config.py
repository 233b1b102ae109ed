"""`edgeclassifier config`: the effective configuration."""

import argparse
import json
import sys

from edgeclassifier.commands.common import Subparsers, add_config_options, read_config


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "config",
        help="show the effective configuration",
        description="Show the configuration with all defaults and drop-ins, secrets masked.",
    )
    add_config_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of TOML")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from edgeclassifier.config import masked, to_toml

    shown = masked(read_config(args))
    sys.stdout.write(json.dumps(shown, indent=2) + "\n" if args.json else to_toml(shown))
    return 0
