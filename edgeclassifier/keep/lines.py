"""The lines of a folder of kept pictures: what is known of each, and what a person said since."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeclassifier.contract.kept import KINDS, KeptPicture, is_id, is_label
from edgeclassifier.contract.plain import Plain, plain_data

_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "id": str,
    "kind": str,
    "view": str,
    "name": str,
    "score": (int, float),
    "timestamp": str,
    "clock_synchronized": bool,
    "bytes": int,
    "sha256": str,
    "kernel_boot": str,
    "monotonic_s": (int, float),
    "prediction": dict,
}


@plain_data
class Lines(Plain):
    """What a file of lines says."""

    pictures: Mapping[int, KeptPicture]
    """By number, in the order in which they were kept, those included that have gone since."""
    damaged: int
    """Lines that say nothing that can be understood."""


def picture_line(picture: KeptPicture) -> bytes:
    """Render what is known of a picture as one line."""
    fields = {name: getattr(picture, name) for name in _FIELDS}
    if picture.label is not None:
        fields["label"] = picture.label
    return _line(fields)


def label_line(number: int, label: str | None) -> bytes:
    """Render what a person says of an earlier picture; None takes that back."""
    return _line({"id": str(number), "label": label})


def read(content: bytes) -> Lines:
    """Read lines; those that are torn or damaged are counted, and the others stand."""
    pictures: dict[int, KeptPicture] = {}
    damaged = 0
    for line in content.split(b"\n"):
        if not line:
            continue
        fields = _fields(line)
        if fields is None:
            damaged += 1
        elif "kind" in fields:
            if (picture := _picture(fields)) is None:
                damaged += 1
            else:
                pictures[picture.number] = picture
        elif _says_label(fields) and int(fields["id"]) in pictures:
            number = int(fields["id"])
            pictures[number] = replace(pictures[number], label=fields["label"])
        else:
            damaged += 1
    return Lines(pictures=pictures, damaged=damaged)


def _line(fields: Mapping[str, Any]) -> bytes:
    # ASCII has a form for every character, half of a pair included.
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def _fields(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _picture(fields: dict[str, Any]) -> KeptPicture | None:
    known: dict[str, Any] = {name: fields.get(name) for name in _FIELDS}
    for name, kind in _FIELDS.items():
        value = known[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            return None
    sound = (
        is_id(known["id"])
        and known["kind"] in KINDS
        and 0 <= known["score"] <= 1
        and math.isfinite(known["monotonic_s"])
    )
    label = fields.get("label")
    if not (sound and (label is None or is_label(label))):
        return None
    return KeptPicture(**known, label=label)


def _says_label(fields: Mapping[str, Any]) -> bool:
    label = fields.get("label", 0)
    return is_id(fields.get("id")) and (label is None or is_label(label))
