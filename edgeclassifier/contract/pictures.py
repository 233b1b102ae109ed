"""A picture and the message that names it: one unit, delivered one after the other.

The message says which picture is its own, by topic, hash and size. The picture carries the same
(`boot_id`, `seq`), as user properties of MQTT 5 and in the JPEG's comment.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from edgeclassifier.contract.messages import Message, encode

JPEG = "image/jpeg"

PictureMissing = Literal["buffer", "too_large", "refused", "closed", "damaged"]
"""buffer: gave way to newer pictures, or has never fitted; damaged: on the disk of the buffer; the
others as for a dropped message, of which the picture is one."""
_NAMES_IT = b'"picture":{'
"""No text in a payload contains this: its quotes would be escaped."""
_LONGEST_TEXT = 200
_EXPIRES_LATER_S = 60
"""A picture must not expire before the message that names it, which follows it within this."""


def identity(payload: Mapping[str, Any]) -> dict[str, str]:
    """Name a message in words that its picture can carry: its number, view, label and time."""
    found = payload
    if "label" not in payload:
        found = next(iter(payload.get("predictions", ())), {})
    return {
        "boot_id": _printable(payload["boot_id"]),
        "seq": _printable(payload["seq"]),
        "view": _printable(payload.get("view", payload["camera"])),
        "name": _printable(found.get("name", "")),
        "label": _printable(found.get("label", "")),
        "timestamp": _printable(payload["timestamp"]),
    }


def _printable(value: object) -> str:
    """Return what MQTT allows in a string: brokers close connections over anything else."""
    return "".join(each if each.isprintable() else "?" for each in str(value)[:_LONGEST_TEXT])


def comment(payload: Mapping[str, Any]) -> bytes:
    """Render the same for the comment of a JPEG."""
    return encode(identity(payload))


def described(jpeg: bytes, *, topic: str, width: int, height: int) -> dict[str, Any]:
    """Say which picture it is: what a message has as its `picture`."""
    sha256 = hashlib.sha256(jpeg).hexdigest()
    return {"topic": topic, "sha256": sha256, "bytes": len(jpeg), "width": width, "height": height}


def named(message: Message) -> Mapping[str, Any] | None:
    """Return the picture that a message names, with or without having it.

    None also if the payload, which may come from a file, makes no sense.
    """
    if _NAMES_IT not in message.payload:
        return None
    try:
        ahead_of(message)
        picture: Mapping[str, Any] = json.loads(message.payload)["picture"]
        return picture if isinstance(picture["sha256"], str) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def with_picture(message: Message, jpeg: bytes) -> Message | None:
    """Give a message the picture that it names; None if it names another one."""
    picture = named(message)
    differs = picture is None or hashlib.sha256(jpeg).hexdigest() != picture["sha256"]
    if differs or message.retain:
        return None
    return replace(message, picture=jpeg)


def without_picture(message: Message, reason: PictureMissing) -> Message:
    """Say that the picture will not come, and why."""
    payload = json.loads(message.payload) | {"picture": None, "picture_missing": reason}
    return replace(message, payload=encode(payload), picture=None)


def ahead_of(message: Message) -> Message:
    """Return the picture of a message that has one, as a message that is sent before it."""
    payload = json.loads(message.payload)
    return Message(
        topic=payload["picture"]["topic"],
        payload=message.picture or b"",
        content_type=JPEG,
        user_properties=tuple(identity(payload).items()),
        expiry_s=message.expiry_s and message.expiry_s + _EXPIRES_LATER_S,
    )
