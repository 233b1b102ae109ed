"""How a message becomes a row, how large it is then, and whether it is still what it was."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeclassifier.contract.message import Message

PAGE_BYTES = 4096
_MAX_LOCAL_BYTES = 4061
"""A larger row does not fit into one page, and begins pages of its own."""
_ROW_OVERHEAD_BYTES = 48

TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    content_type TEXT,
    size_bytes INTEGER NOT NULL,
    checksum INTEGER NOT NULL
)
"""
INSERT = "INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One message in the file. Numbers are those of this run, see Journal."""

    number: int
    message: Message | None
    """None where the content was damaged."""
    size_bytes: int


def disk_bytes(message: Message) -> int:
    """Return what a message occupies in the file, at most."""
    content_type = len(message.content_type or "")
    row = len(message.topic.encode()) + len(message.payload) + content_type + _ROW_OVERHEAD_BYTES
    if row > _MAX_LOCAL_BYTES:
        return row + 2 * PAGE_BYTES
    return -(-PAGE_BYTES // (_MAX_LOCAL_BYTES // row))


def _checksum(topic: str, payload: bytes, retain: int, content_type: str | None) -> int:
    head = f"{topic}\0{retain}\0{content_type}"
    return zlib.crc32(payload, zlib.crc32(head.encode(errors="replace")))


def encode(number: int, message: Message, size_bytes: int) -> tuple[Any, ...]:
    """Return the values for INSERT."""
    fields = (message.topic, message.payload, int(message.retain), message.content_type)
    return number, *fields, size_bytes, _checksum(*fields)


def decode(number: int, fields: Sequence[Any]) -> Row:
    """Read the columns behind the number, which may hold anything where the disk is bad."""
    topic, payload, retain, content_type, size_bytes, checksum = fields
    message = None
    sound = isinstance(topic, str) and isinstance(payload, bytes)
    if sound and _checksum(topic, payload, retain, content_type) == checksum:
        message = Message(
            topic=topic, payload=payload, retain=bool(retain), content_type=content_type, keep=True
        )
    size = size_bytes if isinstance(size_bytes, int) and size_bytes > 0 else 0
    return Row(number=number, message=message, size_bytes=size)
