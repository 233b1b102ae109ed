"""A buffer that outlives the process, for a disk that is slow, wears out, fills up and fails."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from edgeclassifier.buffer.journal import Journal
from edgeclassifier.buffer.ledger import Ledger
from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.buffer.rows import disk_bytes
from edgeclassifier.buffer.writer import CHUNK_BYTES, Writer
from edgeclassifier.contract.status import BufferStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeclassifier.contract.message import Message

logger = logging.getLogger(__name__)

_MAX_MEMORY_BYTES = 8 * 1024 * 1024
"""Of messages in memory, while the disk is slow or fails."""


class DiskBuffer:
    """Keeps messages in memory, and writes those that are not acknowledged soon.

    A message is written when it has waited for `write_interval_s`, together with all others; with
    an interval of 0 it is written before take() returns it. Only a written message outlives the
    process. About 1 MiB of messages is in memory, the rest on disk alone. Messages of earlier
    runs come first.

    One thread does all that touches the disk. Where that fails, messages are kept in memory, up
    to 8 MiB or the limit of the buffer, and the disk is tried again every minute. Messages that
    only a failing disk has are given up when it cannot be opened then.
    """

    def __init__(
        self, *, path: Path, max_bytes: int, write_interval_s: float, retry_s: float = 60.0
    ) -> None:
        """Keep the file within `max_bytes` (at least 256 KiB), and its journal within 2 MiB."""
        if max_bytes < 1 or write_interval_s < 0 or retry_s <= 0:
            raise ValueError(f"not a buffer: {max_bytes} bytes, {write_interval_s} s, {retry_s} s")
        self._write_interval_s = write_interval_s
        self._path = path
        journal = Journal(path=path, max_bytes=max_bytes)
        self._max_bytes = journal.capacity_bytes
        self._queue = Ledger(
            max_bytes=self._max_bytes,
            max_memory_bytes=min(_MAX_MEMORY_BYTES, self._max_bytes),
            write_interval_s=write_interval_s,
            max_unwritten_bytes=CHUNK_BYTES,
        )
        self._changed = threading.Condition()
        self._writer = Writer(
            journal=journal,
            ledger=self._queue,
            changed=self._changed,
            retry_s=retry_s,
        )
        self._thread = threading.Thread(target=self._writer.run, name="buffer", daemon=True)

    def start(self, *, on_ready: Callable[[], None]) -> None:
        """Open the file in the background; take() waits for what it holds."""
        self._writer.on_ready = on_ready
        self._thread.start()

    def add(self, message: Message) -> int:
        """Keep a message and return its number; the oldest give way."""
        size = disk_bytes(message)
        with self._changed:
            number = self._queue.next_number
            if size > self._max_bytes:
                self._queue.skip()
                self._queue.dropped += 1
                return number
            was_due_s = self._queue.write_due_s
            due_s = time.monotonic() + self._write_interval_s
            self._queue.append(Kept(message, number=number, size_bytes=size, due_s=due_s))
            if self._queue.write_due_s < was_due_s:
                self._changed.notify_all()
            return number

    def take(self) -> Kept | None:
        """Return the oldest message that is not under way; it is under way then."""
        with self._changed:
            first = self._queue.peek()
            if not self._writer.tried or first is None:
                return None
            if not first.written and not self._write_interval_s and self._writer.problem is None:
                return None
            self._queue.take()
            if self._writer.wants_more():
                self._changed.notify_all()
            return first

    def passed(self, number: int) -> bool:
        """Whether neither this message nor an older one is still to be taken."""
        with self._changed:
            return self._queue.passed(number)

    def put_back(self) -> None:
        """Let everything under way be taken again, in order."""
        with self._changed:
            self._put_back()

    def remove(self, kept: Kept) -> None:
        """Forget a message."""
        with self._changed:
            was_due_s = self._queue.write_due_s
            self._queue.remove(kept)
            if self._queue.write_due_s < was_due_s:
                self._changed.notify_all()

    def close(self, *, timeout_s: float) -> None:
        """Write what is not acknowledged, and let go of the file, within `timeout_s`."""
        with self._changed:
            # What was sent too early is written only when it waits again.
            self._put_back()
            self._writer.closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                logger.warning("%s: the disk did not answer in time", self._path)

    def _put_back(self) -> None:
        was_due_s = self._queue.write_due_s
        self._queue.put_back()
        if self._queue.write_due_s < was_due_s:
            self._changed.notify_all()

    def status(self) -> BufferStatus:
        """Return counts since the start, and what is wrong."""
        with self._changed:
            return BufferStatus(
                pending=len(self._queue),
                pending_bytes=self._queue.bytes,
                dropped=self._queue.dropped,
                storage="disk" if self._writer.tried and self._writer.problem is None else "memory",
                problem=self._writer.problem,
                written_messages=self._writer.written_messages,
                written_bytes=self._writer.written_bytes,
                commits=self._writer.commits,
            )
