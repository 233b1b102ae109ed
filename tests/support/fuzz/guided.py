"""Mutations that follow the coverage, by atheris.

`PYTHONPATH=.:tests python -m support.fuzz.guided TARGET`

Ends with 0 where no input broke a promise; else the input is saved in --folder.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

_LARGEST_INPUT_BYTES = 1 << 13
_CASE_TIMEOUT_S = 20
_MEMORY_MB = 2048


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    # Has no type information, and no wheel for ARM.
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["edgeclassifier", "tomllib", "csv", "zipfile"]):
        targets = importlib.import_module("support.fuzz.targets")
    target = targets.TARGETS[args.target]
    corpus, work = args.folder / "corpus", args.folder / "work"
    for each in (corpus, work):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)

    def once(data: bytes) -> None:
        target.read(data, work)

    options = [
        f"-runs={args.cases}",
        f"-seed={args.seed}",
        f"-max_len={_LARGEST_INPUT_BYTES}",
        f"-timeout={_CASE_TIMEOUT_S}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-artifact_prefix={args.folder}/",
        "-print_final_stats=1",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
