"""What one key of the configuration may hold: its default, its range, its form."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

T = TypeVar("T")

ControlValue = bool | float | str | tuple[float, ...]
"""What a control of libcamera may be set to."""

Check = Callable[[Any], str | None]
"""Returns what was expected where a value is not acceptable, else None."""


Place = Literal["camera", "model", "idle", "session", "publishing", "views", "log", "start"]
"""Where a key acts when its value changes while the daemon runs."""
CAMERA: Final = "camera"
"""The camera is opened again."""
MODEL: Final = "model"
"""The model is loaded again, with what prepares pictures for it."""
IDLE: Final = "idle"
"""Another part of the frame is looked at, or still scenes are told by other rules."""
SESSION: Final = "session"
"""The device connects to the broker again."""
PUBLISHING: Final = "publishing"
"""What is published, and how often, changes with the next result."""
VIEWS: Final = "views"
"""Views come and go, look elsewhere, or go by other rules, from the next frame on."""
LOG: Final = "log"
START: Final = "start"
"""Nothing happens until the daemon is started again."""


def option(
    default: T,
    *checks: Check,
    applies: Place | tuple[Place, ...],
    path: bool | Callable[[str], bool] = False,
) -> T:
    """Declare a key with its default, and say where it `applies` when it changes.

    `path` marks file names, relative to the file they are in; a function tells them from others.
    """
    field: T = dataclasses.field(default=default, metadata=_metadata(checks, applies, path))
    return field


def _metadata(
    checks: tuple[Check, ...],
    applies: Place | tuple[Place, ...],
    path: bool | Callable[[str], bool] = False,
) -> dict[str, Any]:
    places = (applies,) if isinstance(applies, str) else applies
    return {"checks": checks, "applies": places, "path": path}


def is_path(field: dataclasses.Field[Any], value: str) -> bool:
    """Tell whether what a key holds is a file's name, relative to the file that it is in."""
    path = field.metadata["path"]
    return bool(value and (path(value) if callable(path) else path))


def model_file(value: str) -> bool:
    """Tell the file of a model from the name of one that is installed, which has no slash."""
    return "/" in value or value.lower().endswith((".tflite", ".lite"))


def local_file(value: str) -> bool:
    """Tell a file or a device from a URL."""
    return "://" not in value


def string_table(*, applies: Place | tuple[Place, ...]) -> dict[str, str]:
    """Declare a key that holds a table of strings, empty by default."""
    field: dict[str, str] = dataclasses.field(default_factory=dict, metadata=_metadata((), applies))
    return field


def number_table(check: Check, *, applies: Place | tuple[Place, ...]) -> dict[str, float]:
    """Declare a key that holds a table of numbers, each as `check` has it; empty by default."""
    field: dict[str, float] = dataclasses.field(
        default_factory=dict, metadata=_metadata((each_number(check),), applies)
    )
    return field


def each_number(check: Check) -> Check:
    """Accept a table by labels, each value as `check` has it."""

    def check_all(table: dict[str, float]) -> str | None:
        said = next((said for value in table.values() if (said := check(value))), None)
        return said and f"for each label {said}"

    return check_all


def tables(kind: type[T], *, applies: Place) -> dict[str, T]:
    """Declare a key that holds tables by names that may stand in a topic, none by default."""
    field: dict[str, T] = dataclasses.field(
        default_factory=dict, metadata={**_metadata((), applies), "tables": kind}
    )
    return field


def control_table(*, applies: Place | tuple[Place, ...]) -> dict[str, ControlValue]:
    """Declare a key that holds a table of a camera's controls, empty by default."""
    field: dict[str, ControlValue] = dataclasses.field(
        default_factory=dict, metadata=_metadata((), applies)
    )
    return field


def at_least(minimum: float) -> Check:
    """Accept numbers from `minimum` up."""
    return lambda value: None if value >= minimum else f"a number of at least {minimum:g}"


def between(minimum: float, maximum: float) -> Check:
    """Accept numbers from `minimum` to `maximum`, both included."""
    return lambda value: (
        None if minimum <= value <= maximum else f"a number from {minimum:g} to {maximum:g}"
    )


def above(limit: float) -> Check:
    """Accept numbers greater than `limit`."""
    return lambda value: None if value > limit else f"a number greater than {limit:g}"


def one_of(*choices: str) -> Check:
    """Accept one of the words."""
    expected = "one of " + ", ".join(f'"{choice}"' for choice in choices)
    return lambda value: None if value in choices else expected


def one_of_numbers(*choices: int) -> Check:
    """Accept one of the numbers."""
    expected = "one of " + ", ".join(map(str, choices))
    return lambda value: None if value in choices else expected


def focus(value: float | str) -> str | None:
    """Accept how a lens finds its distance, or the distance in dioptres."""
    words = ("continuous", "auto", "manual")
    fits = value in words if isinstance(value, str) else value >= 0
    return None if fits else '"continuous", "auto", "manual", or a number of dioptres from 0 up'


def words_of(*choices: str) -> Check:
    """Accept a list of some of the words."""
    expected = "a list of some of " + ", ".join(f'"{choice}"' for choice in choices)
    return lambda value: None if set(value) <= set(choices) else expected


def matching(pattern: str, expected: str) -> Check:
    """Accept strings that match the whole `pattern`, described to people as `expected`."""
    compiled = re.compile(pattern)
    return lambda value: None if compiled.fullmatch(value) else expected


def each(check: Check) -> Check:
    """Accept a list of what `check` accepts."""

    def check_all(values: Any) -> str | None:
        said = next((said for value in values if (said := check(value))), None)
        return said and f"a list of which each is {said}"

    return check_all


def time_zone(value: str) -> str | None:
    """Accept nothing, or the name of a time zone that this machine knows."""
    if not value:
        return None
    from edgeclassifier.host.zones import zone, zone_problem

    return None if zone(value) is not None else zone_problem(value)


def region(value: tuple[float, ...]) -> str | None:
    """Accept nothing, or [x, y, width, height] as fractions of the frame that lie inside it."""
    if not value:
        return None
    expected = "[] or [x, y, width, height] as fractions of the frame, inside it"
    if len(value) != 4:  # noqa: PLR2004 - the four members named above
        return expected
    x, y, width, height = value
    tolerance = 1e-9
    inside = x >= 0 and y >= 0 and x + width <= 1 + tolerance and y + height <= 1 + tolerance
    return None if inside and width > 0 and height > 0 else expected


_LEAST_SIDE = 0.01
"""Of a view's region, of the frame's side: 6 pixels of 640. One pixel shows nothing."""


def view_region(value: tuple[float, ...]) -> str | None:
    """Accept a region that is large enough to show something."""
    if (expected := region(value)) or not value:
        return expected
    large = min(value[2:]) >= _LEAST_SIDE
    return None if large else f"a region at least {_LEAST_SIDE:g} wide and high"


def channels(value: tuple[float, ...]) -> str | None:
    """Accept no number, one for all channels, or one for each of R, G, B."""
    return None if len(value) in {0, 1, 3} else "[], one number, or one number each for R, G and B"


def non_zero_channels(value: tuple[float, ...]) -> str | None:
    """Accept divisors: as `channels`, but every number greater than 0."""
    return channels(value) or (
        None if all(x > 0 for x in value) else "numbers greater than 0 (they are divided by)"
    )


def finite(value: float) -> bool:
    """Tell whether a number is neither nan nor infinite, nor too large to calculate with."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False  # a whole number that no float can hold


topic_id = matching(
    r"[a-zA-Z0-9_-]+", "letters, digits, '_' and '-' only, because it is part of a topic"
)
topic_filter = matching(
    r"(?!\$)(([^#+\x00/]*|\+)/)*([^#+\x00/]+|\+|#)",
    "a topic filter, such as 'answers/#', that does not begin with '$'",
)
topic_root = matching(
    r"[^#+/\s\x00$][^#+\s\x00]*(?<!/)",
    "a topic without '#', '+' and spaces, and no '/' at its ends",
)
alpn_protocol = matching(r"[!-~]{1,255}", 'the name of a protocol, such as "mqtt"')
url_path = matching(r"/[!-~]*", 'a path of a URL, such as "/mqtt"')
frame_ancestor = matching(
    r"self|https?://[^\s/;,'\"]+", '"self" or an origin such as "http://homeassistant.local:8123"'
)
