"""Classifying the plain way: Pillow, NumPy and the interpreter, with nothing of this program."""

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CROP = 0.875


def plain_scores(
    model: Path,
    pictures: Iterable[Path],
    *,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
    normalization: tuple[float, float] | None = None,
    runtime: str = "ai_edge_litert",
) -> Iterator[NDArray[np.int64]]:
    """Give what a model of uint8 puts out for each picture, and nothing dequantized.

    The centre of the picture is scaled and stored as it is, or after (pixel - mean) / std.
    """
    interpreter = _interpreter(model, runtime)
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    _, height, width, _ = source["shape"]
    scale, zero_point = source["quantization"]
    for file in pictures:
        picture = Image.open(file).convert("RGB")
        side = min(picture.size) * CROP
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        box = (left, top, left + side, top + side)
        pixels = np.asarray(picture.resize((width, height), resample, box=box))
        if normalization is not None:
            mean, std = normalization
            stored = np.rint((pixels - mean) / std / scale) + zero_point
            pixels = stored.clip(0, 255).astype(np.uint8)
        interpreter.set_tensor(source["index"], pixels[np.newaxis])
        interpreter.invoke()
        yield interpreter.get_tensor(result["index"]).reshape(-1).astype(np.int64)


def best(scores: NDArray[np.int64], count: int) -> list[int]:
    """Return the classes with the best scores, ties in order of class id."""
    found: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return found


def _interpreter(model: Path, runtime: str) -> Any:
    module = importlib.import_module(f"{runtime}.interpreter")
    interpreter = module.Interpreter(model_path=str(model), num_threads=2)
    interpreter.allocate_tensors()
    return interpreter
