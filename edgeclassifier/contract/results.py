"""What the daemon found in a frame: plain data, on its way out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeclassifier.contract.plain import Plain, plain_data

if TYPE_CHECKING:
    # The doctor reads statuses even if NumPy cannot be imported.
    from edgeclassifier.contract.frame import Frame, Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One class and how sure the model is of it."""

    rank: int
    """1 is the most likely class."""
    class_id: int
    """Index of the model's output."""
    name: str
    """What the class is called: the first synonym of its label."""
    label: str
    """What the model's labels say of the class, which may be a list of synonyms."""
    score: float
    """0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Where the time of one frame went, in seconds."""

    capture_s: float
    """From the time of capture until the frame was there."""
    preprocess_s: float
    inference_s: float
    total_s: float
    """From the time of capture until the predictions were there, waiting included."""


@plain_data
class ModelIdentity(Plain):
    """Which model gave the answers."""

    name: str
    sha256: str


@plain_data
class Backend(Plain):
    """What ran the model."""

    name: str
    """"cpu", or the name of the accelerator."""
    degraded: bool = False
    """Whether the CPU stands in for an accelerator."""
    reason: str | None = None
    """Why it does, for people."""


CPU = Backend(name="cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answer for one frame."""

    view: str = ""
    """Which view of the camera it is; empty: the camera's only one, which has its name."""
    frame: "Frame"
    crop: "Pixels"
    """What was classified: height x width x 3, RGB, before normalization; for a repeated answer it
    is of the earlier frame."""
    predictions: tuple[Prediction, ...]
    latency: Latency
    model: ModelIdentity
    backend: Backend
    answer_age_s: float = 0.0
    """Since the frame was captured whose answer this is; 0 if it is this frame's own, more than 0
    if the answer is repeated because this frame looks the same."""


UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The class that holds."""

    name: str
    """"unknown" if no class reached the threshold."""
    label: str
    class_id: int | None
    """None if no class reached the threshold."""
    score: float
    """The average of the class's score; of the best class if it is unknown."""
    previous_name: str | None
    """None for the first state."""
    previous_label: str | None
    since_s: float
    """When the label took over, on the monotonic clock."""
