"""`edgeclassifier check`: whether everything that the configuration names is usable."""

import argparse

from edgeclassifier.commands.common import (
    Subparsers,
    add_config_options,
    add_model_option,
    config_overrides,
    config_path,
)
from edgeclassifier.commands.doctor import show


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "check",
        help="validate configuration, model, labels, accelerator, camera, broker, page and metrics",
        description="Try everything that the configuration names, as this user, and say what to do "
        "about each problem.",
        epilog="The exit code is 0 if there is no failure, or that of the first one: 78 for the "
        "configuration or the model, 1 for anything else. --json prints the same list of findings "
        "as `edgeclassifier doctor --json`.",
    )
    parser.add_argument("--online", action="store_true", help="connect to the broker as well")
    parser.add_argument("--no-camera", action="store_true", help="leave the camera alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_model_option(parser)
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the doctor's checks of what the configuration names."""
    from edgeclassifier.doctor import machine
    from edgeclassifier.doctor.examination import CHECKS_OF_CONFIG, examine

    left_out = {"camera"} if args.no_camera else set()
    checks = [each for each in CHECKS_OF_CONFIG if each.name not in left_out]
    findings = examine(
        machine.Machine(),
        config_file=config_path(args),
        overrides=config_overrides(args),
        checks=checks,
        as_daemon=True,
        online=args.online,
    )
    failures = show(findings, as_json=args.json)
    return failures[0].exit_code if failures else 0
