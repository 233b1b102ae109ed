"""Deploys to the virtual Pi and tries it: PYTHONPATH=tests python -m system.deploy --arch arm64."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from system.image import image
from system.machine import MachineError
from system.playbook import DeploymentError
from system.scenario import Scenario, ScenarioError
from system.shell import ShellError
from system.tools import ARCHITECTURES, ToolMissingError, require

_STEPS_OF_ARM = 3
"""Emulating another architecture takes several times as long."""


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that talks to a person


def main() -> int:
    """Run the scenario on a fresh machine."""
    parser = argparse.ArgumentParser(prog="system.deploy", description=__doc__)
    parser.add_argument("--arch", choices=ARCHITECTURES, default="amd64")
    parser.add_argument("--steps", type=int, help="only the first few")
    arguments = parser.parse_args()
    steps = arguments.steps or (None if arguments.arch == "amd64" else _STEPS_OF_ARM)
    started_s = time.monotonic()
    try:
        require(arguments.arch)
        built = image(arguments.arch, say=_say)
        with tempfile.TemporaryDirectory(prefix="virtual-pi-") as folder:
            Scenario(built, Path(folder), say=_say).run(steps=steps)
    except (ToolMissingError, MachineError, DeploymentError, ScenarioError, ShellError) as error:
        _say(f"FAILED: {error}")
        return 1
    except subprocess.CalledProcessError as error:
        _say(f"FAILED: {error}:\n{error.output}")
        return 1
    _say(f"all of it held, in {(time.monotonic() - started_s) / 60:.0f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
