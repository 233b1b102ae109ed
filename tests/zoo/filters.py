"""`python -m zoo.filters`: how right a model is with each of Pillow's filters, the plain way."""

import argparse
import csv
import sys
from pathlib import Path

from PIL import Image
from support.plain_loop import best, plain_scores
from support.shared_data import FOLDER

_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
_CLASSES = 1000


def main() -> int:
    """Print top-1 and top-3 of each model and filter, on pictures of ImageNet's classes."""
    parser = argparse.ArgumentParser(prog="zoo.filters", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="of uint8")
    parser.add_argument("--pictures", type=Path, default=FOLDER / "images")
    parser.add_argument("--mean", type=float, help="as in model.mean; left out: raw pixels")
    parser.add_argument("--std", type=float)
    options = parser.parse_args()
    with (options.pictures / "labels.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    files = [options.pictures / name for name, _class in rows]
    truth = [int(number) for _name, number in rows]
    normalization = None if options.mean is None else (options.mean, options.std)
    for model in options.models:
        for resample in _FILTERS:
            right = [0, 0]
            found = plain_scores(model, files, resample=resample, normalization=normalization)
            for number, scores in zip(truth, found, strict=True):
                first = len(scores) - _CLASSES
                classes = best(scores, 3)
                right[0] += classes[0] == number + first
                right[1] += number + first in classes
            top1, top3 = (count / len(truth) for count in right)
            sys.stdout.write(f"{model.stem}  {resample.name.lower()}  {top1:.3f}  {top3:.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
