"""Builds the virtual Pi's image and boots it: `PYTHONPATH=tests python -m system --arch arm64`."""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from system.image import image
from system.machine import Machine, MachineError
from system.proof import ProofError, prove
from system.selfcheck import SelfCheckError, self_check
from system.shell import ShellError
from system.tools import ARCHITECTURES, ToolMissingError, require


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that talks to a person


def main() -> int:
    """Build the image if need be, and see that the machine comes up."""
    parser = argparse.ArgumentParser(prog="system", description=__doc__)
    parser.add_argument("--arch", choices=ARCHITECTURES, default="amd64")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--build-only", action="store_true", help="do not boot it")
    what.add_argument(
        "--check", action="store_true", help="reboot, power cuts, what is on the disk"
    )
    what.add_argument("--prove", action="store_true", help="the daemon by hand on both cameras")
    what.add_argument("--keep", action="store_true", help="keep it running until Enter is pressed")
    arguments = parser.parse_args()
    try:
        require(arguments.arch)
        built = image(arguments.arch, say=_say)
        with tempfile.TemporaryDirectory(prefix="virtual-pi-") as name:
            folder = Path(name)
            if arguments.check:
                self_check(built, folder, say=_say)
            elif arguments.prove:
                prove(built, folder, say=_say)
            elif not arguments.build_only:
                _boot(Machine(built, folder, say=_say, memory_mib=arguments.memory), arguments.keep)
    except (ToolMissingError, MachineError, ProofError, SelfCheckError, ShellError) as error:
        _say(str(error))
        return 1
    except subprocess.CalledProcessError as error:
        _say(f"{error}:\n{error.output}")
        return 1
    return 0


def _boot(machine: Machine, keep: bool) -> None:
    with machine:
        machine.start()
        _say(machine.shell.output("systemd-analyze; free -m"))
        if keep:
            _say(shlex.join(["ssh", *machine.shell.options, *machine.shell.destination]))
            input()
        machine.stop()


if __name__ == "__main__":
    sys.exit(main())
