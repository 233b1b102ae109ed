"""A picture that is kept because it is worth a look, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeclassifier.contract.plain import Plain, plain_data

KINDS = ("uncertain", "changed", "random")
"""uncertain: the model was not sure; changed: the frame that decided a change of the stable label;
random: one of a few each day, whatever they show."""
LONGEST_LABEL = 500
LONGEST_ID = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPicture:
    """What is known of one kept picture."""

    id: str
    """A decimal number; later pictures have higher ones, whatever the clock says."""
    kind: str
    view: str
    name: str
    """What it was taken for; of a change, the name of the new state."""
    score: float
    label: str | None = None
    """What a person says it shows; None if no person has said."""
    timestamp: str
    clock_synchronized: bool
    bytes: int
    """Size of the JPEG."""
    sha256: str
    """Of the JPEG."""
    prediction: Mapping[str, Any]
    """The payload of its prediction."""
    kernel_boot: str
    """During which run of the kernel it was kept."""
    monotonic_s: float
    """When, on the monotonic clock of that run."""

    @property
    def number(self) -> int:
        """The id as a number."""
        return int(self.id)

    def row(self) -> dict[str, Any]:
        """Render it for a list."""
        names = ("id", "kind", "view", "name", "score", "label", "timestamp")
        row = {name: getattr(self, name) for name in names}
        return row | {
            "clock_synchronized": self.clock_synchronized,
            "bytes": self.bytes,
            "sha256": self.sha256,
        }


@plain_data
class Wanted(Plain):
    """Which of the kept pictures are meant; None: whatever it is."""

    view: str | None = None
    kind: str | None = None
    label: str | None = None
    """What a person said or, if no person has, what it was taken for."""
    labelled: bool | None = None
    """Whether a person has said."""

    def fits(self, picture: KeptPicture) -> bool:
        """Tell whether a picture is meant."""
        shown = picture.name if picture.label is None else picture.label
        return (
            self.view in (None, picture.view)
            and self.kind in (None, picture.kind)
            and self.label in (None, shown)
            and self.labelled in (None, picture.label is not None)
        )


def is_id(value: Any) -> bool:
    """Tell whether a value can be the id of a kept picture."""
    return (
        isinstance(value, str)
        and len(value) <= LONGEST_ID
        and value.isascii()
        and value.isdecimal()
    )


def is_label(value: Any) -> bool:
    """Tell whether a person may call a picture that: text with something in it."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_LABEL:
        return False
    return "\0" not in value and _encodes(value)


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
