"""Deploys to the virtual Pi and tries it: PYTHONPATH=tests python -m system.deploy --arch arm64."""

import argparse
import math
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from system import steps, trouble
from system.image import cache_folder, image
from system.machine import MachineError
from system.pi import Pi, ScenarioError
from system.playbook import DeploymentError
from system.shell import ShellError
from system.tools import ARCHITECTURES, ToolMissingError, require

STEPS: dict[str, Callable[[Pi], str]] = {
    "deploy": steps.deploys_from_nothing,
    "again": steps.changes_nothing_in_the_second_run,
    "reboot": steps.comes_back_after_a_reboot,
    "kill": steps.comes_back_after_a_kill,
    "hang": steps.comes_back_after_a_hang,
    "broker": steps.loses_nothing_while_the_broker_is_away,
    "sandbox": steps.holds_its_sandbox,
    "limits": steps.needs_no_more_than_it_may_have,
    "upgrade": steps.upgrades,
    "reinstall": trouble.makes_a_damaged_release_anew,
    "broken": trouble.goes_back_from_a_broken_release,
    "power": trouble.survives_power_cuts,
    "v4l2": steps.reads_a_v4l2_device,
    "uninstall": steps.leaves_nothing_behind,
}
_STEPS_OF_ARM = ("deploy", "again", "reboot")
"""Emulating another architecture takes several times as long."""

_INTERRUPTED = 130


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that talks to a person


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in STEPS]:
        raise argparse.ArgumentTypeError(f"no step {', '.join(unknown)}: {', '.join(STEPS)}")
    return names


def main() -> int:
    """Run the steps on a fresh machine, or on one that was kept."""
    parser = argparse.ArgumentParser(prog="system.deploy", description=__doc__)
    parser.add_argument("--arch", choices=ARCHITECTURES, default="amd64")
    parser.add_argument(
        "--steps", type=_names, metavar="NAME,…", help=f"some of: {', '.join(STEPS)}"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the device as it is after the step deploy; without that step, begin there",
    )
    parser.add_argument("--stay", action="store_true", help="at the end, leave it on until Enter")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no step later than after so many"
    )
    parser.add_argument(
        "--if-possible", action="store_true", help="no failure where programs are missing"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1000), help="of the moments")
    arguments = parser.parse_args()
    names = arguments.steps or (list(STEPS) if arguments.arch == "amd64" else _STEPS_OF_ARM)
    if "deploy" not in names and not arguments.keep:
        parser.error("without the step deploy it takes a device that --keep has kept")
    # Ended from outside, it leaves no emulator behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started_s = time.monotonic()
    try:
        require(arguments.arch)
        built = image(arguments.arch, say=_say)
        kept = cache_folder() / f"kept-{arguments.arch}" if arguments.keep else None
        with (
            tempfile.TemporaryDirectory(prefix="virtual-pi-", ignore_cleanup_errors=True) as folder,
            Pi(built, Path(folder), kept=kept, seed=arguments.seed, say=_say) as pi,
        ):
            _say(f"seed {arguments.seed}")
            try:
                left_out = _run(pi, names, until_s=started_s + 60 * arguments.minutes)
            finally:
                if arguments.stay and pi.machine.running:
                    shell = pi.machine.shell
                    _say(shlex.join(["ssh", *shell.options, *shell.destination]))
                    input()
    except ToolMissingError as error:
        _say(f"NOT TESTED on the virtual Pi: {error}")
        return 0 if arguments.if_possible else 1
    except (MachineError, DeploymentError, ScenarioError, ShellError) as error:
        _say(f"FAILED: {error}")
        return 1
    except subprocess.CalledProcessError as error:
        _say(f"FAILED: {error}:\n{error.output}")
        return 1
    except subprocess.TimeoutExpired as error:
        _say(f"FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return _INTERRUPTED
    minutes = (time.monotonic() - started_s) / 60
    if left_out:
        _say(f"NOT TESTED for lack of time: {', '.join(left_out)}")
    _say(f"{'the rest' if left_out else 'all of it'} held, in {minutes:.0f} minutes")
    return 0


def _run(pi: Pi, names: Sequence[str], *, until_s: float) -> list[str]:
    """Do steps in their order; return those for which there was no time."""
    if "deploy" in names:
        pi.switch_on_empty()
    else:
        pi.switch_on_kept()
    wanted = [name for name in STEPS if name in names]
    for name in wanted:
        if time.monotonic() > until_s:
            return wanted[wanted.index(name) :]
        step = STEPS[name]
        slowness = pi.take_the_time()
        began_s = time.monotonic()
        figure = step(pi)
        took_s = time.monotonic() - began_s
        title = step.__name__.replace("_", " ")
        _say(f"{name}: {title}: {figure} ({took_s:.0f} s; {slowness:.1f} times the usual)")
    return []


if __name__ == "__main__":
    sys.exit(main())
