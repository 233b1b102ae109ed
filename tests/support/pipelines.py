"""A pipeline around a scripted camera and a real model."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.results import ModelIdentity, Result
from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.inference import Inference
from edgeclassifier.engine.preprocess import Normalization, Preprocessor
from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.pipeline.capture import CameraSettings
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.pipeline import EndOfFrames, Pipeline
from support.tiny_models import LABELS

PATIENCE_S = 20.0


CLASSES = len(LABELS)


Step = int | BaseException | Callable[[float], object] | None
"""A frame with that brightest value, an error to raise, something to do, or the end."""


class ScriptedCamera:
    """Does what its script says, one step at each read()."""

    unreadable = 0

    def __init__(self, script: Sequence[Step] | Iterator[Step], *, live: bool = False) -> None:
        self.live = live
        self.closed = threading.Event()
        self.on_open: Callable[[], object] = lambda: None
        self.on_close: Callable[[], object] = lambda: None
        self._script = iter(script)
        self._frames = FrameFactory(camera_id="cam0")
        self._threads: set[int] = set()

    def open(self) -> None:
        self._threads.add(threading.get_ident())
        self.on_open()

    def read(self, timeout_s: float) -> Frame | None:
        self._threads.add(threading.get_ident())
        while True:
            step = next(self._script, None)
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, int):
                return self._frames.frame(picture(step), origin=str(step))
            if step is None:
                return None
            step(timeout_s)

    def close(self) -> None:
        self._threads.add(threading.get_ident())
        assert len(self._threads) == 1, "a camera belongs to one thread"
        self.closed.set()
        self.on_close()


def picture(number: int) -> NDArray[np.uint8]:
    """Make a picture of 2 x 2 pixels that is of the class `number` modulo CLASSES."""
    values = np.zeros(CLASSES, np.uint8)
    values[number % CLASSES] = 200
    return values.reshape(2, 2, 3)


def inference(engine: Classifier, *, name: str = "tiny") -> Inference:
    straight = Normalization(mean=(0.0,), std=(256.0,))
    return Inference(
        preprocessor=Preprocessor(spec=engine.input, normalization=straight),
        classifier=engine,
        model=lambda: ModelIdentity(name=name, sha256="0" * 64),
    )


def settings(*cameras: ScriptedCamera, deadline_s: float = PATIENCE_S) -> CameraSettings:
    """One camera after the other: each attempt to open it again takes the next one."""
    given = iter(cameras)
    return CameraSettings(
        make=lambda: next(given), deadline_s=deadline_s, max_recoveries=len(cameras) - 1
    )


def loaded(model: Inference) -> ModelSlot:
    """A slot with a model in it."""
    models = ModelSlot()
    models.load(model)
    return models


def slot(engine: Classifier | None) -> ModelSlot:
    """The same for a classifier, or an empty slot."""
    return ModelSlot() if engine is None else loaded(inference(engine))


def results_of(
    pipeline: Pipeline, *, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Result]:
    """Give out results until there are no more, or until `stopped`; then close."""
    with closing(pipeline), suppress(EndOfFrames):
        try:
            while not stopped():
                result = pipeline.next(POLL_S)
                if result is not None:
                    yield result
        except EdgeclassifierError:
            if not stopped():
                raise
