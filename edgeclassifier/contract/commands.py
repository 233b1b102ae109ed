"""What may be asked of a device: one row a command. `v1.schema.json` has the formal half."""

from collections.abc import Callable, Mapping
from typing import Any

from edgeclassifier.contract.kept import KINDS, LONGEST_LABEL, is_id, is_label
from edgeclassifier.contract.plain import Plain, plain_data

MOST_ROWS = 100
"""Of kept pictures in one answer."""
_LONGEST_NAME = 100
_LEAST_SIDE = 0.01
"""Of a region, of the frame's side."""
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
    by_default: bool = True
    """Whether it may be asked for unless the configuration says otherwise."""
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


def _is_view(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME


def _is_region(value: Any) -> bool:
    if value is None:
        return True
    numbers = isinstance(value, list) and all(map(_is_threshold, value)) and None not in value
    if not numbers or len(value) != 4:  # noqa: PLR2004 - x, y, width, height
        return False
    x, y, width, height = value
    least, most = _LEAST_SIDE, 1 + 1e-9
    return bool(min(width, height) >= least and max(x + width, y + height) <= most)


_VIEW = Argument(name="view", accepts=_is_view, expected="the name of a view", optional=True)


def _is_limit(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 1 <= value <= MOST_ROWS


_ROWS = (
    Command(
        name="classify",
        does="answers with the predictions of the next frame, also while paused",
        arguments=(_VIEW,),
        example='{"view": "gate"}',
        within_s=_FRAME_S,
    ),
    Command(
        name="snapshot",
        does="as `classify`, and publishes the crop on `<view>/image`, if `image.enabled` or "
        "`image.on_request` is set",
        arguments=(_VIEW,),
        example='{"view": "gate"}',
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
            _VIEW,
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
            _VIEW,
        ),
        example='{"model": "mobilenet_v2"}',
        within_s=_CHANGE_S,
    ),
    Command(
        name="set_region",
        does="changes the part of the frame that a view looks at; `null` returns to the "
        "configured one",
        arguments=(
            Argument(
                name="region",
                accepts=_is_region,
                expected="[x, y, width, height] as fractions of the frame, inside it and at least "
                f"{_LEAST_SIDE:g} wide and high, or null for the configured one",
            ),
            _VIEW,
        ),
        example='{"region": [0.1, 0.2, 0.3, 0.4]}',
        within_s=_CHANGE_S,
    ),
    Command(
        name="reload",
        does="reads the configuration again, and answers what changed, or why nothing did",
        within_s=_CHANGE_S,
    ),
    Command(
        name="kept",
        does="lists the [kept pictures](kept.md), the newest first; `before` continues a list",
        arguments=(
            Argument(
                name="view",
                accepts=lambda value: isinstance(value, str),
                expected="the id of a view",
                optional=True,
            ),
            Argument(
                name="kind",
                accepts=lambda value: isinstance(value, str) and value in KINDS,
                expected=f"one of {', '.join(KINDS)}",
                optional=True,
            ),
            Argument(
                name="label",
                accepts=is_label,
                expected="what a person said or, if no person has, what it was taken for",
                optional=True,
            ),
            Argument(
                name="labelled",
                accepts=lambda value: isinstance(value, bool),
                expected="true or false: whether a person has said what it shows",
                optional=True,
            ),
            Argument(
                name="limit",
                accepts=_is_limit,
                expected=f"a whole number from 1 to {MOST_ROWS}",
                optional=True,
            ),
            Argument(
                name="before",
                accepts=is_id,
                expected="the field `before` of an earlier answer",
                optional=True,
            ),
        ),
        example='{"kind": "uncertain", "limit": 20}',
    ),
    Command(
        name="label",
        does="notes what a kept picture really shows; `null` takes that back. Only if "
        "`commands.allow` names it",
        arguments=(
            Argument(name="id", accepts=is_id, expected='the id of a kept picture, such as "1204"'),
            Argument(
                name="label",
                accepts=lambda value: value is None or is_label(value),
                expected=f"a text of 1 to {LONGEST_LABEL} characters, or null to take it back",
            ),
        ),
        example='{"id": "1204", "label": "house finch"}',
        # It writes to the disk, and what a device is taught with should not come from everybody.
        by_default=False,
    ),
    Command(name="restart", does="ends the daemon, and systemd starts it again"),
    Command(name="health", does="answers with the health message"),
)
COMMANDS: Mapping[str, Command] = {row.name: row for row in _ROWS}
"""By name, in the order in which they are listed for people."""
BY_DEFAULT: tuple[str, ...] = tuple(row.name for row in _ROWS if row.by_default)
"""What may be asked for unless the configuration says otherwise."""
