"""`edgeclassifier evaluate`: accuracy on pictures whose class is known."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeclassifier.commands.common import (
    Subparsers,
    add_config_options,
    add_model_option,
    read_config,
    report,
)
from edgeclassifier.errors import EXIT_FAILURE
from edgeclassifier.host.terminal import one_line

if TYPE_CHECKING:
    from edgeclassifier.engine.evaluation import Evaluation
    from edgeclassifier.engine.names import Names

_WORST = 10


def add_parser(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model's accuracy on labelled pictures",
        description="Classify all pictures that a CSV file lists, and tell how often the model is "
        "right.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the pictures are")
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="CSV",
        help="lines of FILE,CLASS; a class is an index from 0, without a background, or its "
        "name, its label, or a synonym",
    )
    parser.add_argument(
        "--short-side",
        type=int,
        metavar="PIXELS",
        help="scale each picture first, as a camera of that height would have seen it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_model_option(parser)
    add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Classify all, then print the figures."""
    config = read_config(args)
    from edgeclassifier.compose.engine import build_engine
    from edgeclassifier.compose.golden import try_new
    from edgeclassifier.contract.results import Prediction
    from edgeclassifier.engine.evaluation import class_ids, evaluate, read_truth
    from edgeclassifier.engine.pictures import load_picture, scale
    from edgeclassifier.host.progress import progress

    truth = read_truth(args.labels)
    try_new(config)
    engine = build_engine(config)
    if engine.pixels.reason:
        report(f"{engine.model.path}: {engine.pixels.reason}")
    names = engine.classifier.names
    expected = class_ids(truth, names, source=str(args.labels))

    def classify(path: Path) -> tuple[Prediction, ...]:
        pixels = load_picture(path)
        return engine.classify(scale(pixels, args.short_side) if args.short_side else pixels)

    with progress(len(expected), label=engine.model.name, unit="pictures") as advance:
        found = evaluate(
            args.folder,
            expected,
            names=names,
            classify=classify,
            advance=advance,
        )
    for problem in found.unreadable:
        report(problem)
    if args.json:
        sys.stdout.write(json.dumps(_as_data(engine.model.name, found, names), indent=2) + "\n")
    else:
        _print_figures(engine.model.name, found)
    return EXIT_FAILURE if found.unreadable or not found.pictures else 0


def _as_data(model: str, found: "Evaluation", names: "Names") -> dict[str, Any]:
    labels = dict(zip(names.all, names.labels, strict=True))
    return {
        "model": model,
        "pictures": found.pictures,
        "unreadable": len(found.unreadable),
        "top1": round(found.top1_accuracy, 4),
        "top3": round(found.top3_accuracy, 4),
        "confusions": [
            {
                "name": right,
                "label": labels[right],
                "instead_name": instead,
                "instead": labels.get(instead, instead),
                "count": count,
            }
            for (right, instead), count in found.confusions.most_common()
        ],
    }


def _print_figures(model: str, found: "Evaluation") -> None:
    sys.stdout.write(
        f"model     {model}\n"
        f"pictures  {found.pictures}\n"
        f"top-1     {found.top1_accuracy:.3f}\n"
        f"top-3     {found.top3_accuracy:.3f}\n"
    )
    for (right, instead), count in found.confusions.most_common(_WORST):
        sys.stdout.write(one_line(f"  {count} x {right}  taken for  {instead}") + "\n")
