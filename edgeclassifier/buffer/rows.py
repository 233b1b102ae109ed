"""How a message becomes a row, how large it is then, and whether it is still what it was."""

import re
import sys
import zlib
from typing import Any

from edgeclassifier.buffer.memory import memory_bytes
from edgeclassifier.buffer.memory import picture_bytes as picture_memory_bytes
from edgeclassifier.contract.messages import Message

PAGE_BYTES = 4096
_MAX_LOCAL_BYTES = 4061
"""A larger row does not fit into one page, and begins new ones."""
_ROW_OVERHEAD_BYTES = 48
_CONTENT_TYPE = re.compile("[ -~]{0,255}")

TABLE = """
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    content_type TEXT,
    size_bytes INTEGER NOT NULL,
    checksum INTEGER NOT NULL
)
"""
INSERT = """
INSERT OR REPLACE INTO messages
(number, topic, payload, retain, content_type, size_bytes, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
DELETE = "DELETE FROM messages WHERE number >= ? AND number < ?"
PICTURES = """
CREATE TABLE pictures (
    number INTEGER PRIMARY KEY,
    jpeg BLOB NOT NULL
)
"""
"""Made when the first picture is written: until then the file is as it was in version 0.1.0."""
INSERT_PICTURE = "INSERT OR REPLACE INTO pictures (number, jpeg) VALUES (?, ?)"
SELECT_PICTURE = "SELECT jpeg FROM pictures WHERE number = ?"
DELETE_PICTURES = "DELETE FROM pictures WHERE number >= ? AND number < ?"
SELECT = """
SELECT number, topic, payload, retain, content_type, checksum FROM messages ORDER BY number DESC
"""


def disk_bytes(message: Message) -> int:
    """Return what a message occupies in the file, at most."""
    content_type = len(message.content_type or "")
    row = len(message.topic.encode()) + len(message.payload) + content_type + _ROW_OVERHEAD_BYTES
    if row > _MAX_LOCAL_BYTES:
        return row + 2 * PAGE_BYTES
    return -(-PAGE_BYTES // (_MAX_LOCAL_BYTES // row))


def size_bytes(message: Message) -> int:
    """Return what counts against the limit, so that neither memory nor the file exceeds it."""
    return max(memory_bytes(message), disk_bytes(message))


def picture_bytes(message: Message) -> int:
    """Return what counts against the limit of pictures; 0 if the message has none."""
    jpeg = message.picture
    if jpeg is None:
        return 0
    return max(picture_memory_bytes(message), len(jpeg) + _ROW_OVERHEAD_BYTES + 2 * PAGE_BYTES)


def _checksum(topic: str, payload: bytes, retain: int, content_type: str | None) -> int:
    head = f"{topic}\0{retain}\0{content_type}"
    return zlib.crc32(payload, zlib.crc32(head.encode(errors="replace")))


def encode(number: int, message: Message) -> tuple[Any, ...]:
    """Return the values for INSERT."""
    fields = (message.topic, message.payload, int(message.retain), message.content_type)
    return number, *fields, disk_bytes(message), _checksum(*fields)


def decode(
    topic: Any, payload: Any, retain: Any, content_type: Any, checksum: Any
) -> Message | None:
    """Read what SELECT returns beside the number; None if it is not a message as encoded."""
    is_sound = (
        isinstance(topic, str)
        and isinstance(payload, bytes)
        and isinstance(retain, int)
        and (content_type is None or isinstance(content_type, str))
        and _CONTENT_TYPE.fullmatch(content_type or "")
        and _checksum(topic, payload, retain, content_type) == checksum
    )
    if not is_sound:
        return None
    fields = {"payload": payload, "retain": bool(retain), "content_type": content_type}
    try:
        return Message(topic=sys.intern(topic), keep=True, **fields)
    except ValueError:
        return None
