"""Small bases and pictures to teach with, which take no time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.tiny_models import Operation, Tensor, colours, model, with_files

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (30, 60, 190)}
CODED = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])


def base(folder: Path, **options: Any) -> Path:
    """Write a base that knows three colours: MEAN, FULLY_CONNECTED, SOFTMAX."""
    path = folder / "base.tflite"
    content = colours(CODED, (0, 0, 0), before=[("MUL", 1 / 255)], **options)
    path.write_bytes(with_files(content, {"labels.txt": b"r\ng\nb\n"}))
    return path


def convolved(*, kernel: int = 1, side: int = 1) -> bytes:
    """Write a base that ends in CONV_2D, RESHAPE and SOFTMAX, on features of side x side x 3."""
    size = 8
    weights = np.zeros((4, kernel, kernel, 3))
    tensors = [
        Tensor(shape=(1, size, size, 3), dtype="float32"),
        Tensor(shape=(2,), dtype="int32", values=(1, 2)),
        Tensor(shape=(1, 3), dtype="float32"),
        Tensor(shape=(1, side, side, 3), dtype="float32"),
        Tensor(shape=weights.shape, dtype="float32", values=tuple(weights.reshape(-1) + 0.1)),
        Tensor(shape=(4,), dtype="float32", values=(0.1, 0.2, 0.3, 0.4)),
        Tensor(shape=(1, side, side, 4), dtype="float32"),
        Tensor(shape=(1, 4 * side * side), dtype="float32"),
        Tensor(shape=(1, 4 * side * side), dtype="float32"),
    ]
    operations = [
        Operation(name="MEAN", input=0, output=2, constants=(1,)),
        Operation(name="RESHAPE", input=2, output=3),
        Operation(name="CONV_2D", input=3, output=6, constants=(4, 5)),
        Operation(name="RESHAPE", input=6, output=7),
        Operation(name="SOFTMAX", input=7, output=8),
    ]
    return model(tensors, operations)


def coloured(
    colour: Sequence[float], seed: int, *, size: int = 24, spread: float = 12
) -> Image.Image:
    """Make a picture of nearly one colour, another one for each seed."""
    random = np.random.default_rng(seed)
    middle = np.array(colour) + random.normal(0, spread, 3)
    noise = random.normal(0, 10, (size, size, 3))
    return Image.fromarray((middle + noise).clip(0, 255).astype(np.uint8))


def folders(root: Path, counts: dict[str, int], *, spread: float = 12) -> Path:
    """Make a folder of pictures for each class; a name of a colour has that colour."""
    for number, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True)
        colour = COLOURS.get(name, (60 * number + 20, 200 - 50 * number, 40 + 30 * number))
        for each in range(count):
            picture = coloured(colour, 1000 * number + each, spread=spread)
            picture.save(folder / f"{each:05}.png")
    return root
