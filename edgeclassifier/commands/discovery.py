"""`edgeclassifier discovery`: what Home Assistant is told of this device."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from edgeclassifier.commands.common import (
    Subparsers,
    add_config_options,
    add_model_option,
    read_config,
    report,
)

if TYPE_CHECKING:
    from edgeclassifier.config import Config


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "discovery",
        help="show or remove what Home Assistant knows of this device",
        description="Print the MQTT discovery message that the daemon publishes for Home Assistant "
        "if homeassistant.enabled is true. The daemon need not run.",
    )
    parser.add_argument(
        "--remove",
        action="store_true",
        help="take the device and its entities out of Home Assistant, through the broker of the "
        "configuration, and all that this one retains of the device unless the daemon runs; set "
        "homeassistant.enabled = false before, or the daemon brings it back",
    )
    add_model_option(parser)
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the message, or remove it from the broker."""
    config = read_config(args)
    if args.remove:
        _remove(config)
        return 0
    from edgeclassifier.compose.publisher import discovery

    document = json.loads(discovery(config).payload)
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 0


def _remove(config: "Config") -> None:
    from edgeclassifier.compose.identity import device_id
    from edgeclassifier.compose.probes import deliver, make_probe
    from edgeclassifier.compose.publisher import discovery_removal, retained_topics
    from edgeclassifier.daemon.announced import emptied, forget_announced, read_announced
    from edgeclassifier.doctor.machine import Machine
    from edgeclassifier.doctor.subject import Subject

    subject = Subject(machine=Machine(), config=config)
    probe = make_probe(
        config.mqtt, device=device_id(config.device.id), daemon_runs=subject.daemon_runs
    )
    recorded = read_announced(subject.state_directory)
    if subject.daemon_runs:
        recorded = tuple(each for each in recorded if each not in retained_topics(config))
    topics = dict.fromkeys((discovery_removal(config).topic, *recorded))
    deliver(probe, [emptied(topic) for topic in topics])
    access = probe.access
    for topic in topics:
        sys.stdout.write(f"removed {topic} from {access.host}:{access.port}\n")
    if not subject.daemon_runs:
        forget_announced(subject.state_directory)
    if config.homeassistant.enabled:
        report("homeassistant.enabled is true: a daemon that runs brings it back")
