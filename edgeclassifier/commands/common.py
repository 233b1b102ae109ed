"""What several commands share."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.host.terminal import one_line

if TYPE_CHECKING:
    from edgeclassifier.config import Config

Subparsers = argparse._SubParsersAction

SYSTEM_CONFIG = Path("/etc/edgeclassifier/config.toml")


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add --config and --set."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration (default: $EDGECLASSIFIER_CONFIG, else {SYSTEM_CONFIG} if it exists)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one key, such as --set model.threads=2; may be given several times",
    )


def read_config(args: argparse.Namespace) -> "Config":
    """Load the configuration that the options ask for. Raises ConfigError."""
    from edgeclassifier.config import load_config

    return load_config(config_path(args), overrides=config_overrides(args))


def config_overrides(args: argparse.Namespace) -> list[str]:
    """List what --set and --model override."""
    overrides = list(args.set)
    if getattr(args, "model", None) is not None:
        overrides.append(f"model.name={json.dumps(args.model, ensure_ascii=False)}")
    return overrides


def config_path(args: argparse.Namespace) -> Path | None:
    """Return the file that is read, None if there is none."""
    if args.config is not None:
        path: Path = args.config
        return path
    if told := os.environ.get("EDGECLASSIFIER_CONFIG"):
        return Path(told)
    return SYSTEM_CONFIG if SYSTEM_CONFIG.exists() else None


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Add --model, a shorthand for model.name."""
    parser.add_argument(
        "--model",
        metavar="NAME|FILE",
        help="model name from `edgeclassifier models list`, or a .tflite file",
    )


def examine_model(
    name: str, *, labels: str = "", settings: Sequence[str] = (), store: str = ""
) -> str | None:
    """Ask what `check` asks of a model; return a doubt. Raises ModelError, TrialError."""
    from edgeclassifier.config import load_config
    from edgeclassifier.doctor.admission import examine

    given = {"model.name": name, "model.labels": labels, "model.store": store}
    overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
    return examine(load_config(None, overrides=[*settings, *overrides]))


def report(problem: str) -> None:
    """Tell a person on stderr."""
    sys.stderr.write(f"edgeclassifier: {one_line(problem)}\n")


def frame_size(text: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT for argparse."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text}: expected WIDTHxHEIGHT, such as 640x480")
    return int(width), int(height)
