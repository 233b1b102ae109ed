"""From pictures to features: each is decoded, prepared and run once, and only features are kept."""

import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeclassifier.compose.engine import Engine
from edgeclassifier.contract.frame import Pixels
from edgeclassifier.engine.pictures import load_picture, time_taken
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import PictureError, TeachingError
from edgeclassifier.teach.examples import Example, Examples
from edgeclassifier.teach.variants import variants_for, varied

_MANY_FEATURES = 32
"""With fewer, the length of their row says too much to be left out."""
THUMBNAIL = 16
"""Side of what near-duplicates are told by."""


@contextmanager
def in_memory(content: bytes) -> Iterator[Path]:
    """Give a file of this content a path while the context lasts, without a disk.

    Raises TeachingError if there is too little memory.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(os.fdopen(os.memfd_create("model"), "w+b", buffering=0))
            file.write(content)
        except OSError as error:
            raise TeachingError(f"no memory for a model: {error.strerror}") from None
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")


Extract = Callable[[Pixels], tuple[Pixels, NDArray[np.float32]]]
"""What an Extractor does."""


class Extractor:
    """Runs a base model without its last layer."""

    def __init__(self, path: Path, base: Engine, *, input_size: int = 0) -> None:
        """Load the cut model in `path`; `base` prepares the pictures. Raises ModelError."""
        loaded = load_model(
            path,
            runtime=base.classifier.runtime.name,
            threads=base.classifier.threads,
            input_size=input_size,
        )
        self._interpreter = loaded.interpreter
        self._prepare = base.preprocessor
        self._input: int = loaded.interpreter.get_input_details()[0]["index"]
        output = loaded.interpreter.get_output_details()[0]
        self._output: int = output["index"]
        self.width = int(np.prod(output["shape"]))
        scale, zero_point = output["quantization"]
        self._scale, self._zero_point = float(scale), int(zero_point)

    def __call__(self, pixels: Pixels) -> tuple[Pixels, NDArray[np.float32]]:
        """Return the crop that is looked at, and the features of a picture of H x W x 3."""
        crop, tensor = self._prepare(pixels)
        self._interpreter.set_tensor(self._input, tensor)
        self._interpreter.invoke()
        stored = self._interpreter.get_tensor(self._output).reshape(-1)
        real: NDArray[np.float32] = stored.astype(np.float32)
        if stored.dtype.kind != "f":
            real = (real - self._zero_point) * np.float32(self._scale or 1.0)
        return crop, np.nan_to_num(real)


@dataclass(slots=True)
class Lesson:
    """What is kept of the examples."""

    pictures: list[Example] = field(default_factory=list)
    features: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """Rows x features: the pictures, then their variants."""
    source: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    """The picture of each row; one above them for what is never judged by."""
    classes: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    """The class of each row."""
    thumbnails: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    times: list[tuple[float, bool]] = field(default_factory=list)
    """When each picture was taken, and whether EXIF says so, not the file."""
    of_roots: bool = False
    """Whether `features` are square roots of what the network gives."""
    of_directions: bool = False
    """Whether each row of them has the length 1."""
    unreadable: list[str] = field(default_factory=list)
    repeated: list[Path] = field(default_factory=list)
    """The same picture in the same class again."""
    contradicting: list[tuple[Path, ...]] = field(default_factory=list)
    """The same picture in several classes."""


def study(
    examples: Examples,
    extract: Extract,
    *,
    others: Sequence[Path],
    varying: bool,
    advance: Callable[[int], object],
    check: Callable[[], None],
) -> Lesson:
    """Run the network on all examples; `others` are more of the class that is none of the rest.

    `advance` is told of each picture, `check` is called before each. Broken pictures, repeated
    ones, and those that are in several classes are left out. Raises TeachingError if a class has
    none left.
    """
    lesson = Lesson()
    extras = others if examples.other is not None else ()
    variants = variants_for(len(examples.pictures) + len(extras)) if varying else 0
    rows: list[NDArray[np.float32]] = []
    thumbnails: list[NDArray[np.float32]] = []
    digests: list[bytes] = []
    seen: dict[bytes, list[Example]] = defaultdict(list)
    for each in examples.pictures:
        check()
        advance(1)
        try:
            pixels = load_picture(each.path)
        except PictureError as error:
            lesson.unreadable.append(str(error))
            continue
        crop, first = extract(pixels)
        digest = hashlib.sha256(crop.tobytes()).digest()
        same = seen[digest]
        same.append(each)
        if len(same) > 1:
            if same[0].class_id == each.class_id:
                lesson.repeated.append(each.path)
            continue
        lesson.pictures.append(each)
        lesson.times.append(time_taken(each.path))
        digests.append(digest)
        thumbnails.append(_thumbnail(crop))
        rows.append(np.stack([first, *_rest(extract, pixels, variants)]))
    contradicting = {
        digest for digest, same in seen.items() if len({each.class_id for each in same}) > 1
    }
    lesson.contradicting = [tuple(each.path for each in seen[digest]) for digest in contradicting]
    kept = [index for index, digest in enumerate(digests) if digest not in contradicting]
    lesson.pictures = [lesson.pictures[index] for index in kept]
    lesson.times = [lesson.times[index] for index in kept]
    rows = [rows[index] for index in kept]
    _check_classes(examples, lesson, extras)
    lesson.thumbnails = np.array([thumbnails[index] for index in kept], np.float32)
    source = [index for index, each in enumerate(rows) for _ in each]
    classes = [lesson.pictures[index].class_id for index in source]
    for path in extras:
        extra = np.stack([extract(each)[1] for each in varied(load_picture(path), variants)])
        rows.append(extra)
        source += [len(kept)] * len(extra)
        classes += [examples.other or 0] * len(extra)
    lesson.source, lesson.classes = np.array(source, np.intp), np.array(classes, np.intp)
    lesson.features = np.concatenate(rows)
    _transform(lesson)
    return lesson


def _transform(lesson: Lesson) -> None:
    """Bring the features, in their place, into the form that tells classes apart best.

    A few features are much larger than all others, and some pictures have more of all.
    """
    features = lesson.features
    lesson.of_roots = bool(features.min() >= 0)
    if lesson.of_roots:
        np.sqrt(features, out=features)
    lesson.of_directions = features.shape[1] >= _MANY_FEATURES
    if lesson.of_directions:
        features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)


def _rest(extract: Extract, pixels: Pixels, variants: int) -> list[NDArray[np.float32]]:
    shown = varied(pixels, variants)
    next(shown)
    return [extract(each)[1] for each in shown]


def _thumbnail(crop: Pixels) -> NDArray[np.float32]:
    small: Any = Image.fromarray(crop).convert("L").resize((THUMBNAIL, THUMBNAIL))
    return np.asarray(small, np.float32).reshape(-1)


def _check_classes(examples: Examples, lesson: Lesson, extras: Sequence[Path]) -> None:
    left = {each.class_id for each in lesson.pictures}
    for class_id, label in enumerate(examples.labels):
        if class_id in left or (class_id == examples.other and extras):
            continue
        in_class = {each.path for each in examples.pictures if each.class_id == class_id}
        broken = len(lesson.unreadable)
        shared = any(in_class & set(paths) for paths in lesson.contradicting)
        reason = (
            "all its pictures are in another class, too"
            if shared
            else f"none of its pictures can be read, such as {lesson.unreadable[0]}"
            if broken
            else "it has no picture"
        )
        raise TeachingError(f"the class {label!r} has nothing to learn from: {reason}")
