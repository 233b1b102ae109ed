"""What may be asked of a device: one row a command. `v1.schema.json` has the formal half."""

from collections.abc import Callable, Mapping
from typing import Any

from edgeclassifier.contract.plain import Plain, plain_data

_LONGEST_NAME = 100
_FRAME_S = 30.0
_CHANGE_S = 180.0
"""A new model is tried in a process of its own first."""


@plain_data
class Argument(Plain):
    """One value that a command takes."""

    name: str
    accepts: Callable[[Any], bool]
    expected: str
    """What it accepts, for people."""
    optional: bool = False


@plain_data
class Command(Plain):
    """One thing that a device can be asked to do."""

    name: str
    does: str
    """For people: a line of the documentation."""
    arguments: tuple[Argument, ...] = ()
    example: str = ""
    """What a request with arguments looks like."""
    within_s: float = 0.0
    """The longest that it waits for a frame, or for a change; 0: not at all."""

    @property
    def schema(self) -> str:
        """Name its definition in the JSON Schema."""
        return f"request_{self.name}" if self.arguments else "request"

    def problem(self, given: Mapping[str, Any]) -> str | None:
        """Say what is wrong with the arguments of a request; None if nothing is."""
        known = {argument.name: argument for argument in self.arguments}
        if unknown := [name for name in given if name not in known]:
            takes = ", ".join(known) or "none"
            return f"{self.name} takes no {unknown[0][:40]!r}: it takes {takes}"
        for name, argument in known.items():
            if name not in given:
                if not argument.optional:
                    return f"{self.name} needs {name!r}"
            elif not argument.accepts(given[name]):
                return f"{self.name}: {name}: expected {argument.expected}"
        return None


def _is_threshold(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and 0 <= value <= 1)


def _is_model(value: Any) -> bool:
    return value is None or (isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME)


_ROWS = (
    Command(
        name="classify",
        does="answers with the predictions of the next frame, also while paused",
        within_s=_FRAME_S,
    ),
    Command(
        name="snapshot",
        does="as `classify`, and publishes the crop on `<camera>/image`, if `image.enabled` or "
        "`image.on_request` is set",
        within_s=_FRAME_S,
    ),
    Command(
        name="pause",
        does="stops classifying, the camera stays open; `false` is `resume`",
        arguments=(
            Argument(
                name="paused",
                accepts=lambda value: isinstance(value, bool),
                expected="true or false",
                optional=True,
            ),
        ),
        example='{"paused": true}',
    ),
    Command(name="resume", does="classifies again"),
    Command(
        name="set_threshold",
        does="changes `state.threshold`; `null` returns to the configured one",
        arguments=(
            Argument(
                name="threshold",
                accepts=_is_threshold,
                expected="a number from 0 to 1, or null for the configured one",
            ),
        ),
        example='{"threshold": 0.6}',
        within_s=_CHANGE_S,
    ),
    Command(
        name="set_model",
        does="tries an installed model, then swaps it in between two frames; `null` returns to the "
        "configured one",
        arguments=(
            Argument(
                name="model",
                accepts=_is_model,
                expected="the name of an installed model, or null for the configured one",
            ),
        ),
        example='{"model": "mobilenet_v2"}',
        within_s=_CHANGE_S,
    ),
    Command(
        name="reload",
        does="reads the configuration again, and answers what changed, or why nothing did",
        within_s=_CHANGE_S,
    ),
    Command(name="restart", does="ends the daemon, and systemd starts it again"),
    Command(name="health", does="answers with the health message"),
)
COMMANDS: Mapping[str, Command] = {row.name: row for row in _ROWS}
"""By name, in the order in which they are listed for people."""
