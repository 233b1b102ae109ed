"""Random damage, in a process of its own, as the memory of a test run is anybody's.

`PYTHONPATH=.:tests python -m support.fuzz.at_random TARGET` prints counts as JSON, and ends with
0 where no input broke a promise; else the input is saved in --folder.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
from pathlib import Path

from edgeclassifier.host.memory import trim
from edgeclassifier.host.system import System
from support.fuzz.targets import TARGETS, random_input
from support.open_files import open_files

_WARM_UP = 0.25
"""The share of the cases that may grow the process: lazy imports and caches."""


def resident_kib() -> int:
    """Return what is in use: glibc keeps up to 64 MiB that large blocks have left free."""
    trim()
    memory_bytes = System().memory_rss_bytes()
    assert memory_bytes is not None
    return memory_bytes >> 10


def run(name: str, *, cases: int, seed: int, folder: Path) -> dict[str, int]:
    """Feed a target with `cases` damaged files; count those it took, and what it kept of them."""
    target, chance = TARGETS[name], random.Random(seed)
    seeds = target.seeds()
    accepted = files = memory_kib = 0
    for number in range(cases):
        if number == int(cases * _WARM_UP):
            memory_kib, files = resident_kib(), open_files()
        data = random_input(seeds, chance)
        try:
            accepted += target.read(data, folder)
        except BaseException as error:
            saved = folder / f"crash-{name}-{number}"
            saved.write_bytes(data)
            error.add_note(f"case {number}, saved as {saved}")
            raise
    return {
        "accepted": accepted,
        "memory_kib": resident_kib() - memory_kib,
        "files": open_files() - files,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    logging.disable()
    counts = run(args.target, cases=args.cases, seed=args.seed, folder=args.folder)
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
