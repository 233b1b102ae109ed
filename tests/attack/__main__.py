"""Attacks the daemon: `PYTHONPATH=tests python -m attack --short`."""

import argparse
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from attack import brokers, cameras, clients, files, page
from attack.report import Figures, least_rate, table

_INTERRUPTED = 130
_SERIES: dict[str, Callable[..., Iterator[Figures]]] = {
    "clients": clients.attack,
    "brokers": brokers.attack,
    "cameras": cameras.attack,
    "page": page.attack,
    "buffer": files.attack_buffer,
    "models": files.attack_models,
}


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that talks to a person


def _run(folder: Path, only: str, *, short: bool) -> list[Figures]:
    rows: list[Figures] = []
    for name, attack in _SERIES.items():
        if not re.search(only, name):
            continue
        began_s = time.monotonic()
        (own := folder / name).mkdir()
        try:
            for row in attack(own, short=short):
                rows.append(row)
                _say(f"{time.monotonic() - began_s:5.0f} s  {row.name}: {row.inputs} inputs")
        except (OSError, RuntimeError, AssertionError) as error:
            rows.append(Figures(name=name, remarks=[f"broke off: {error}"]))
    return rows


def main() -> int:
    """Run, print the table and the verdict, and return the exit code: 1 if a bound is broken."""
    parser = argparse.ArgumentParser(prog="attack", description=__doc__)
    parser.add_argument("--short", action="store_true", help="seconds for each scenario")
    parser.add_argument("--only", default="", help="series whose names match: clients|page")
    arguments = parser.parse_args()
    rate = least_rate()
    # Ended from outside, it leaves no daemon behind either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began_s = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="edgeclassifier-attack-") as folder:
            rows = _run(Path(folder), arguments.only, short=arguments.short)
    except KeyboardInterrupt:
        _say("interrupted: nothing is judged")
        return _INTERRUPTED
    _say("")
    for line in table(rows, least_rate=rate):
        _say(line)
    _say("")
    broken = [(row.name, row.broken(least_rate=rate)) for row in rows]
    for name, what in broken:
        for each in what:
            _say(f"FAILED  {name}: {each}")
    ok = bool(rows) and not any(what for _, what in broken)
    inputs, minutes = sum(row.inputs for row in rows), (time.monotonic() - began_s) / 60
    verdict = "passed" if ok else "FAILED"
    _say(f"{len(rows)} scenarios, {inputs} inputs, {minutes:.1f} minutes: {verdict}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
