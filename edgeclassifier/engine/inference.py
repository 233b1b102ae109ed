"""From a frame to predictions: on the accelerator while that serves, else on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.results import CPU, Backend, ModelIdentity, Prediction
from edgeclassifier.contract.status import AcceleratorStatus
from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.preprocess import Area, Preprocessor

_STOP_S = 1.0


class Unavailable(Exception):  # noqa: N818 - a state that passes, not a mistake
    """The accelerator does not answer this request; its status says why."""


class Accelerator(Protocol):
    """Runs the same network as the CPU."""

    name: str
    """What predictions call it."""

    @property
    def status(self) -> AcceleratorStatus:
        """Whether it serves, and if not, why."""

    def start(self) -> None:
        """Begin to open the device."""

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Answer as Classifier.run() does. Raises Unavailable if it does not serve."""

    def stop(self, *, timeout_s: float) -> None:
        """Let go of the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model's output stores for one tensor, and what ran it."""

    stored: NDArray[Any]
    backend: Backend


class Inference:
    """Prepares frames for one model and runs it. run() belongs to one thread."""

    def __init__(
        self,
        *,
        preprocessor: Preprocessor,
        classifier: Classifier,
        model: Callable[[], ModelIdentity],
        accelerator: Accelerator | None = None,
        accelerated_model: Callable[[], ModelIdentity] | None = None,
    ) -> None:
        """Take the identities of both models as functions, which may have to hash a file first."""
        self._preprocessor = preprocessor
        self.classifier = classifier
        self.accelerator = accelerator
        self._identify = {CPU.name: model}
        if accelerator is not None:
            self._identify[accelerator.name] = accelerated_model or model
        self._identities: dict[str, ModelIdentity] = {}
        self.source: object = None
        """What it was built from: two of which this is equal are the same."""

    def start(self) -> None:
        """Begin to open the accelerator, where there is one; the CPU serves meanwhile."""
        if self.accelerator is not None:
            self.accelerator.start()

    def close(self) -> None:
        """Let go of the accelerator."""
        if self.accelerator is not None:
            self.accelerator.stop(timeout_s=_STOP_S)

    @property
    def backend(self) -> Backend:
        """What would run the model now."""
        if self.accelerator is None:
            return CPU
        status = self.accelerator.status
        if status.state == "ready":
            return Backend(name=self.accelerator.name)
        return _stand_in(status)

    def prepare(self, pixels: Pixels, area: Area | None = None) -> tuple[Pixels, NDArray[Any]]:
        """Return the crop and the tensor for a frame of H x W x 3; None: of the configured area."""
        return self._preprocessor(pixels, area)

    def run(self, tensor: NDArray[Any]) -> Answer:
        """Run the model. Raises InferenceError if the CPU fails, too."""
        if self.accelerator is None:
            return Answer(stored=self.classifier.run(tensor), backend=CPU)
        try:
            stored = self.accelerator.run(tensor)
        except Unavailable:
            # The reason is asked for before the CPU takes its time: it may be back after it.
            backend = _stand_in(self.accelerator.status)
            return Answer(stored=self.classifier.run(tensor), backend=backend)
        return Answer(stored=stored, backend=Backend(name=self.accelerator.name))

    def predictions(self, answer: Answer) -> tuple[Prediction, ...]:
        """Return the best labels."""
        return self.classifier.top(self.classifier.scores(answer.stored))

    def model(self, backend: Backend) -> ModelIdentity:
        """Name the file that `backend` ran."""
        identity = self._identities.get(backend.name)
        if identity is None:
            identity = self._identities[backend.name] = self._identify[backend.name]()
        return identity


def _stand_in(status: AcceleratorStatus) -> Backend:
    # It notices a fault a moment before it knows the reason.
    reason = "it has just failed" if status.state == "ready" else status.state
    return Backend(name=CPU.name, degraded=True, reason=status.reason or reason)
