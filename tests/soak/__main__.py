"""Soaks the daemon: `PYTHONPATH=tests python -m soak --minutes 5`."""

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

from soak.report import table
from soak.run import soak
from soak.trends import warm_up_s

_INTERRUPTED = 130


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that talks to a person


def main() -> int:
    """Run, print the table and the verdict, and return the exit code: 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rate-hz", type=float, default=60.0, help="of the camera")
    parser.add_argument("--seed", type=int, default=None, help="of the faults")
    parser.add_argument(
        "--only", default="", help="faults whose names match, such as 'camera|kill'"
    )
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    run_s = 60 * arguments.minutes
    _say(
        f"{arguments.minutes:g} minutes at {arguments.rate_hz:g} frames a second, seed {seed}; "
        f"the first {warm_up_s(run_s) / 60:.1f} minutes are the warm-up"
    )
    # Ended from outside, it leaves no daemon behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="edgeclassifier-soak-") as folder:
            outcome = soak(
                Path(folder),
                run_s=run_s,
                rate_hz=arguments.rate_hz,
                seed=seed,
                only=arguments.only,
                say=_say,
            )
    except KeyboardInterrupt:
        _say("interrupted: nothing is judged")
        return _INTERRUPTED
    _say("")
    if outcome.trends:
        for line in table([each for each in outcome.samples if each.quiet], outcome.trends):
            _say(line)
    _say("")
    for criterion in outcome.criteria:
        _say(f"{'ok    ' if criterion.ok else 'FAILED'}  {criterion.text}")
    _say("")
    _say(f"{outcome.faults} faults: {'passed' if outcome.ok else 'FAILED'}")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
