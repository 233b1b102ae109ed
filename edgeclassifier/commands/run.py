"""`edgeclassifier run`: the daemon."""

import argparse

from edgeclassifier.commands.common import Subparsers, add_config_options, read_config
from edgeclassifier.errors import EXIT_FAILURE
from edgeclassifier.host.signals import StopSignal


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the daemon",
        description="Classify frames and publish predictions until SIGTERM, Ctrl-C or the end of "
        "the pictures.",
    )
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the daemon."""
    stop = StopSignal()
    stop.install()
    from edgeclassifier.host.log import set_up_logging
    from edgeclassifier.host.memory import share_arenas

    share_arenas()
    config = read_config(args)
    set_up_logging(config.log.level)
    if stop.is_set():
        return 0
    from edgeclassifier.service import run_service

    run_service(config, stop=stop, reread=lambda: read_config(args))
    return EXIT_FAILURE if stop.restart_wanted else 0
