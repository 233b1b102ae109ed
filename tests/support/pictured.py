"""Events with pictures, and who matches the two."""

import hashlib
import json
from typing import Any

from edgeclassifier.contract import pictures
from edgeclassifier.contract.messages import JSON, Message, encode

BOOT_ID = "0f0c5b1e7a6d4c3f9b8e2d1a0c9f8e7d"


def jpeg_of(number: int, size: int = 2000) -> bytes:
    """Return what is no JPEG, but like one: of some size, and not like another one."""
    return b"\xff\xd8%d " % number + bytes(size)


def pictured(
    number: int, *, size: int = 2000, label: str = "tabby", base: str = "home/porch/cam0"
) -> Message:
    """Make an event with a picture of about `size` bytes."""
    jpeg = jpeg_of(number, size)
    payload = {
        "timestamp": "2026-01-02T03:04:05.678Z",
        "boot_id": BOOT_ID,
        "seq": number,
        "camera": "cam0",
        "name": label,
        "label": label,
        "picture": pictures.described(jpeg, topic=f"{base}/image", width=2, height=1),
    }
    return Message(
        topic=f"{base}/event", payload=encode(payload), content_type=JSON, keep=True, picture=jpeg
    )


def plain(number: int, *, base: str = "home/porch/cam0") -> Message:
    """Make an event that never had a picture."""
    return Message(topic=f"{base}/event", payload=encode({"seq": number}), keep=True)


class Matcher:
    """Takes events and pictures in the order in which they come."""

    def __init__(self) -> None:
        self.pictures: set[str] = set()
        self.seen: dict[tuple[str, int], str] = {}
        """What each event said, in the order of first arrival: "picture", or why it has none."""
        self.unmatched: list[tuple[str, int]] = []
        """Events that named a picture that had not come."""

    def take(self, topic: str, payload: bytes) -> None:
        """Take a message of one of the two kinds, or any other."""
        kind = topic.rpartition("/")[2]
        if kind == "image":
            self.pictures.add(hashlib.sha256(payload).hexdigest())
        elif kind == "event":
            event: dict[str, Any] = json.loads(payload)
            number = event.get("boot_id", ""), event["seq"]
            if (picture := event.get("picture")) is None:
                self.seen[number] = event.get("picture_missing", "none")
                return
            self.seen[number] = "picture"
            if picture["sha256"] not in self.pictures:
                self.unmatched.append(number)

    @property
    def numbers(self) -> list[int]:
        """The seq of each event, in the order of first arrival."""
        return [seq for _, seq in self.seen]

    @property
    def outcomes(self) -> dict[int, str]:
        """What each event said, by its seq."""
        return {seq: said for (_, seq), said in self.seen.items()}
