"""`edgeclassifier config`: the effective configuration."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeclassifier.commands.common import (
    SYSTEM_CONFIG,
    Subparsers,
    add_config_options,
    config_path,
    read_config,
    report,
)

if TYPE_CHECKING:
    from edgeclassifier.config import Config
    from edgeclassifier.config.overrides import Change

_UNIT = Path("/etc/systemd/system/edgeclassifier.service")
_STATE_OF_SERVICE = Path("/var/lib/edgeclassifier")


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "config",
        help="show the effective configuration",
        description="Show the configuration with all defaults and drop-ins, secrets masked. What "
        "was changed on request, and outlives a restart, is in it and marked: by a comment, or in "
        "JSON by the key overrides.",
    )
    add_config_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of TOML")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from edgeclassifier.config import masked, to_toml
    from edgeclassifier.config.overrides import with_changes

    configured = read_config(args)
    changes = _changes(configured, config_path(args))
    shown = masked(with_changes(configured, changes))
    if args.json:
        if changes:
            shown["overrides"] = {
                each.key: {"value": each.value, "configured": each.configured} for each in changes
            }
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    else:
        sys.stdout.write(to_toml(shown, _comments(masked(configured), shown, changes)))
    return 0


def _changes(configured: "Config", file: Path | None) -> "tuple[Change, ...]":
    from edgeclassifier.compose.identity import state_directory
    from edgeclassifier.config.overrides import kept_changes

    directory = state_directory(configured.device, os.environ)
    # The service's own environment has it, that of a person at a shell has not.
    of_service = file is not None and file.absolute() == SYSTEM_CONFIG and _UNIT.exists()
    if of_service and not configured.device.state_directory:
        directory = _STATE_OF_SERVICE
    try:
        return kept_changes(directory, configured)
    except PermissionError:
        report(f"{directory} cannot be read by this user: what was changed on request is not shown")
        return ()


def _comments(
    configured: Mapping[str, Any], shown: Mapping[str, Any], changes: "tuple[Change, ...]"
) -> dict[str, str]:
    """Mark the keys that were changed, and those that are set aside with them."""
    said = {each.key: each.origin for each in changes}
    for table, values in shown.items():
        for name, value in values.items():
            key, before = f"{table}.{name}", configured[table][name]
            if value != before:
                was = json.dumps(before, ensure_ascii=False)
                said.setdefault(key, f"{was} of the configuration is for the configured model")
    return said
