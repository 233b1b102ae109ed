"""What the page needs of the daemon."""

from collections.abc import Mapping
from typing import Any, Protocol

from edgeclassifier.contract.results import Result

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


class Device(Protocol):
    """The running daemon, asked from threads of the server, several at a time.

    What cannot be done raises EdgeclassifierError, whose text is shown to the visitor.
    """

    def info(self) -> Mapping[str, Any]:
        """Return the payload of the topic info."""

    def health(self) -> Mapping[str, Any]:
        """Return the payload of the topic health."""

    def request(self, command: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carry out a command as one that came over MQTT; return `status`, `data` or `error`.

        May take as long as a model takes to be loaded.
        """

    def take(self) -> Result:
        """Classify the next frame of the camera, also while paused."""

    def classify(self, picture: bytes) -> Mapping[str, Any]:
        """Classify a picture in a file's format; return the fields of a prediction."""

    def crop_box(self, height: int, width: int) -> Box:
        """Return which part of a frame of that size is classified."""
