"""`edgeclassifier classify`: the labels of some pictures."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from edgeclassifier.commands.common import (
    Subparsers,
    add_config_options,
    add_model_option,
    read_config,
    report,
)
from edgeclassifier.errors import EXIT_FAILURE, PictureError
from edgeclassifier.host.terminal import lines, one_line


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "classify",
        help="classify picture files",
        description="Print the most likely labels of each picture: those of a folder by name, "
        "without its subfolders and hidden files.",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="PATH",
        help='a picture, a folder of pictures, or a glob such as "holiday/*.jpg"',
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    # A model that has not run here may take the process with it: that is what the trial is for.
    parser.add_argument("--untried", action="store_true", help=argparse.SUPPRESS)
    add_model_option(parser)
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Classify one picture after the other; those that cannot be read do not stop the rest."""
    config = read_config(args)
    from edgeclassifier.compose.engine import build_engine
    from edgeclassifier.compose.golden import try_new
    from edgeclassifier.engine.pictures import load_picture

    if not args.untried:
        try_new(config)
    engine = build_engine(config)
    if engine.pixels.reason:
        report(f"{engine.model.path}: {engine.pixels.reason}")
    answers: list[dict[str, Any]] = []
    failed = 0
    paths: list[Path] = []
    for each in args.images:
        try:
            paths += _pictures(each)
        except PictureError as error:
            failed += 1
            report(str(error))
    for path in paths:
        try:
            pixels = load_picture(path)
        except PictureError as error:
            failed += 1
            report(str(error))
            continue
        started_s = time.monotonic()
        predictions = engine.classify(pixels)
        answer = {
            "file": str(path),
            "model": engine.model.name,
            "latency_ms": round((time.monotonic() - started_s) * 1000, 1),
            "predictions": [
                {
                    "rank": p.rank,
                    "class_id": p.class_id,
                    "name": p.name,
                    "label": p.label,
                    "score": round(p.score, 5),
                }
                for p in predictions
            ],
        }
        answers.append(answer)
        if not args.json:
            _print_table(answer)
    if args.json:
        sys.stdout.write(lines(json.dumps(answers, indent=2, ensure_ascii=False)) + "\n")
    return EXIT_FAILURE if failed else 0


def _pictures(name: str) -> list[Path]:
    """List what a name stands for. Raises PictureError if there is no picture."""
    from edgeclassifier.engine.pictures import find_pictures

    path = Path(name)
    # Whatever it is called: there may be a * in the name of a file.
    if path.exists() and not path.is_dir():
        return [path]
    return find_pictures(name)


def _print_table(answer: dict[str, Any]) -> None:
    from edgeclassifier.engine.names import further_synonyms

    name = one_line(f"{answer['file']}  ({answer['model']}")
    sys.stdout.write(f"{name}, {answer['latency_ms']:.1f} ms)\n")
    for each in answer["predictions"]:
        further = further_synonyms(each["name"], each["label"])
        shown = f"{each['name']}  ({further})" if further else each["name"]
        sys.stdout.write(f"  {each['score']:6.1%}  {one_line(shown)}\n")
    if not answer["predictions"]:
        sys.stdout.write("  no label reaches the threshold\n")
