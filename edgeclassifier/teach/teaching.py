"""Teaches a base model classes of one's own, from a few pictures of each."""

import dataclasses
import hashlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from edgeclassifier.compose.engine import Engine, build_engine
from edgeclassifier.compose.golden import SAMPLES
from edgeclassifier.compose.model import ModelFile, find_model
from edgeclassifier.config import Config
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.engine.pictures import load_picture, scale
from edgeclassifier.errors import ModelError, PictureError, TeachingError
from edgeclassifier.host.files import open_regular
from edgeclassifier.models.metadata import read_metadata
from edgeclassifier.models.records import Teaching
from edgeclassifier.teach.described import metadata, with_labels
from edgeclassifier.teach.examples import Examples, label_file
from edgeclassifier.teach.features import Extractor, Lesson, in_memory, study
from edgeclassifier.teach.judgement import Judgement, judge
from edgeclassifier.teach.logistic import Regression
from edgeclassifier.teach.network import Head, Network

_MOST_GOLDEN = 8


@plain_data
class Taught(Plain):
    """A new model, and all that is known of it."""

    content: bytes
    """The TFLite file."""
    labels: tuple[str, ...]
    lesson: Lesson
    judgement: Judgement
    golden: tuple[tuple[str, bytes], ...]
    """Label and JPEG of some pictures that were answered right before they had been seen."""
    base: str
    base_sha256: str
    seconds: float

    def teaching(self) -> Teaching:
        """Return what is recorded of it."""
        found = self.judgement
        return Teaching(
            base=self.base,
            base_sha256=self.base_sha256,
            taught=datetime.now(UTC).isoformat(timespec="seconds"),
            classes=len(self.labels),
            examples=len(self.lesson.pictures),
            judged=found.judged,
            accuracy=round(found.accuracy, 4),
            interval=(round(found.interval[0], 4), round(found.interval[1], 4)),
            calibration_error=round(found.calibration_error, 4),
        )


def sample_pictures() -> list[Path]:
    """List the pictures that come with the package: things that are in no camera's view."""
    return sorted(SAMPLES.glob("*.*g"))


def teach(
    config: Config,
    examples: Examples,
    *,
    name: str,
    varying: bool = True,
    seconds: float = float("inf"),
    advance: Callable[[int], object] = lambda _: None,
) -> Taught:
    """Learn `examples` with the network of `config.model`, for a model that is called `name`.

    `varying` adds brighter, warmer and shifted variants of few pictures. `advance` is told of each
    picture. Raises ModelError if the base cannot be used, and TeachingError if the examples
    cannot, or if it takes more than `seconds`.
    """
    started_s = time.monotonic()

    def check() -> None:
        if time.monotonic() - started_s > seconds:
            raise TeachingError(
                f"not done within {seconds / 60:.3g} minutes: use fewer pictures, or a larger "
                "--minutes"
            )

    labels = label_file(examples.labels)
    model = find_model(config.model)
    content = _read(model.path)
    network = Network(content, path=model.path)
    with ExitStack() as stack:
        engine = _base(config, model, network.classes, stack)
        extract = Extractor(
            stack.enter_context(in_memory(network.features())),
            engine,
            input_size=config.model.input_size,
        )
        normalization = engine.pixels.normalization
        short_side = 2 * max(engine.preprocessor.spec.width, engine.preprocessor.spec.height)
        del engine
        lesson = study(
            examples,
            extract,
            others=sample_pictures(),
            varying=varying,
            advance=advance,
            check=check,
        )
    del extract
    head, judgement = learn(lesson, examples.labels, check=check)
    whole = network.with_head(head, metadata=metadata(name, normalization))
    digest = hashlib.sha256(content).hexdigest()
    if model.sha256() != digest:
        raise ModelError(f"{model.path}: it was changed while its features were learned: try again")
    return Taught(
        content=with_labels(whole, labels),
        labels=examples.labels,
        lesson=lesson,
        judgement=judgement,
        golden=tuple(_golden(lesson, judgement, examples.labels, short_side=short_side)),
        base=model.name,
        base_sha256=digest,
        seconds=time.monotonic() - started_s,
    )


def learn(
    lesson: Lesson, labels: Sequence[str], *, check: Callable[[], None] = lambda: None
) -> tuple[Head, Judgement]:
    """Cross-validate, then learn from all examples; the scores of the head are calibrated."""
    regression = Regression(lesson.features, lesson.classes, count=len(labels))
    judgement = judge(lesson, regression, labels, check=check)
    weights, bias = regression.learn(np.ones(len(lesson.classes), np.bool_))
    degrees = np.float32(judgement.temperature)
    head = Head(
        weights=weights / degrees,
        bias=bias / degrees,
        of_roots=lesson.of_roots,
        of_directions=lesson.of_directions,
    )
    return head, judgement


def check_taught(path: Path, labels: Sequence[str]) -> None:
    """Raise ModelError if the labels of the file in `path` are not read back as they are."""
    if read_metadata(path).labels != tuple(labels):
        raise ModelError(f"{path}: its labels cannot be read back: rename the classes")


def _golden(
    lesson: Lesson, judgement: Judgement, labels: Sequence[str], *, short_side: int
) -> Iterator[tuple[str, bytes]]:
    """Make small JPEGs of the best pictures, of as many classes as are enough to try a model."""
    for index in judgement.golden[:_MOST_GOLDEN]:
        example = lesson.pictures[index]
        try:
            pixels = load_picture(example.path)
        except PictureError:
            continue  # gone since
        if min(pixels.shape[:2]) > short_side:
            pixels = scale(pixels, short_side)
        jpeg = io.BytesIO()
        Image.fromarray(pixels).save(jpeg, "JPEG", quality=90)
        yield labels[example.class_id], jpeg.getvalue()


def _base(config: Config, model: ModelFile, classes: int, stack: ExitStack) -> Engine:
    """Load the base as it is, which may be without labels: it needs none."""
    known = model.labels or (model.known and model.known.labels)
    if not known and read_metadata(model.path).labels is None:
        numbers = "".join(f"class {each}\n" for each in range(max(2, classes)))
        model = dataclasses.replace(model, labels=stack.enter_context(in_memory(numbers.encode())))
    return build_engine(config, model)


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise ModelError(f"{path}: model file cannot be read: {error.strerror}") from None
