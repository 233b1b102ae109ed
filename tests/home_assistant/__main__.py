"""Tries the device in Home Assistant itself: `PYTHONPATH=tests python -m home_assistant`."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from support.brokers import Mosquitto, Subscriber

from home_assistant.checks import Checks
from home_assistant.environment import VERSION, SetUpError, home_assistant
from home_assistant.instance import HomeAssistant
from home_assistant.scenario import scenario
from home_assistant.world import World


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that talks to a person


def main() -> int:
    """Run it all and return the exit code: 1 if anything was not as expected."""
    parser = argparse.ArgumentParser(prog="home_assistant", description=__doc__)
    parser.add_argument(
        "--version", default=VERSION, help="of Home Assistant (default: %(default)s)"
    )
    parser.add_argument("--python", help="the interpreter to install it for, if need be")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    arguments = parser.parse_args()
    try:
        program = home_assistant(_say, version=arguments.version, python=arguments.python)
    except SetUpError as error:
        _say(str(error))
        return 2
    folder = Path(tempfile.mkdtemp(prefix="edgeclassifier-homeassistant-"))
    checks = Checks(_say)
    try:
        _try(folder, program, checks)
    finally:
        if arguments.keep:
            _say(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _say(f"\n{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


def _try(folder: Path, program: Path, checks: Checks) -> None:
    site = folder / "device"
    site.mkdir()
    with (
        Mosquitto(folder) as broker,
        Subscriber(broker.port) as watching,
        HomeAssistant(program, folder / "homeassistant") as ha,
    ):
        ha.connect_to_broker(broker.port)
        _say(f"Home Assistant runs on port {ha.port}, the broker on {broker.port}")
        world = World(site, broker=broker, watching=watching, ha=ha, program=program, checks=checks)
        try:
            scenario(world)
        except AssertionError as error:
            checks.that(f"the scenario goes on: {error}", lambda: False, timeout_s=0)
            for line in world.daemon.lines[-20:]:
                _say(f"  daemon: {line}")
        finally:
            world.close()
            for line in ha.trouble():
                _say(f"  Home Assistant: {line}")


if __name__ == "__main__":
    sys.exit(main())
