"""`python -m zoo`: a table of models, what came of them, and what is wrong with that."""

import argparse
import sys
from pathlib import Path

from support.shared_data import FOLDER

from zoo.expectations import read_cases
from zoo.runs import run_case

_WIDTH = 150


def main() -> int:
    """Print a row for each case; the exit code is 1 if one is not as expected."""
    parser = argparse.ArgumentParser(prog="zoo", description=__doc__)
    parser.add_argument(
        "--models", type=Path, default=FOLDER / "cases" / "models", help="folder of the models"
    )
    parser.add_argument(
        "--expectations",
        type=Path,
        help="folder of the TOML files: that of the models if it has some, else those of the tests",
    )
    parser.add_argument("--python", default=sys.executable, help="whose runtime is used")
    parser.add_argument("--full", action="store_true", help="print what is said in full")
    options = parser.parse_args()
    beside = any(options.models.glob("*.toml"))
    expectations = options.expectations or (
        options.models if beside else Path(__file__).parent / "public"
    )
    cases = read_cases(expectations)
    if not cases:
        parser.error(f"no expectations in {expectations}")
    wrong = 0
    for case in cases:
        row = run_case(case, options.models.resolve(), python=options.python)
        wrong += bool(row.faults)
        outcome = row.outcome if options.full else row.outcome[:_WIDTH]
        sys.stdout.write(f"{'WRONG' if row.faults else 'ok':5}  {case}\n       {outcome}\n")
        for fault in row.faults:
            sys.stdout.write(f"       expected otherwise: {fault}\n")
    sys.stdout.write(f"{len(cases) - wrong} of {len(cases)} as expected\n")
    return 1 if wrong else 0


sys.exit(main())
