"""A buffer that outlives the process, for a disk that is slow, wears out, fills up and fails."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

from edgeclassifier.buffer.journal import DamagedError, FullError, Journal, JournalError
from edgeclassifier.buffer.ledger import Ledger
from edgeclassifier.buffer.rows import picture_bytes, size_bytes
from edgeclassifier.contract.status import BufferStatus
from edgeclassifier.host import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from edgeclassifier.buffer.parcel import Kept
    from edgeclassifier.contract.messages import Message
    from edgeclassifier.contract.pictures import PictureMissing

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 256 * 1024
"""What is written at once."""


class DiskBuffer:
    """Keeps messages in memory, and writes those that are not acknowledged soon to a file.

    A message is written when it has waited for `write_interval_s`, together with all others; with
    an interval of 0 it is written before take() returns it. Only a written message outlives the
    process. The file is read once, at the start; messages of earlier runs come first.

    One thread does all that touches the disk. If that fails, the disk is tried again every
    minute, and what is in memory is written again.
    """

    def __init__(
        self,
        *,
        path: Path,
        max_bytes: int,
        max_picture_bytes: int = 0,
        write_interval_s: float,
        retry_s: float = 60.0,
    ) -> None:
        """Keep memory and file within `max_bytes` (at least 256 KiB); its log takes 2 MiB more.

        Pictures take up to `max_picture_bytes` beside that.
        """
        if max_bytes < 1 or write_interval_s < 0 or retry_s <= 0:
            raise ValueError(f"not a buffer: {max_bytes} bytes, {write_interval_s} s, {retry_s} s")
        self._write_interval_s = write_interval_s
        self._retry_s = retry_s
        self._on_ready: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        # The disk's thread alone has these.
        self._journal = Journal(path=path, max_bytes=max_bytes, max_picture_bytes=max_picture_bytes)
        self._retry_at_s = 0.0
        self._set_aside_at_s = -math.inf
        self._said: set[str] = set()
        # The others are shared, with this lock.
        self._changed = threading.Condition()
        self._queue = Ledger(
            max_bytes=self._journal.capacity_bytes,
            max_picture_bytes=self._journal.picture_capacity_bytes,
            write_interval_s=write_interval_s,
            chunk_bytes=_CHUNK_BYTES,
        )
        self._closing = self._was_read = False
        self._problem: str | None = None
        self._written_messages = self._written_bytes = self._commits = 0

    def start(self, *, on_ready: Callable[[], None]) -> None:
        """Open the file in the background; take() waits for what it holds."""
        self._on_ready = on_ready
        self._thread = threads.start(self._run, name="buffer")

    def add(self, message: Message) -> int:
        """Keep a message and return its number; the oldest give way."""
        with self._changed:
            was_due_s = self._queue.write_due_s
            number = self._queue.add(
                message, size_bytes=size_bytes(message), picture_bytes=picture_bytes(message)
            )
            self._notify_if_sooner(was_due_s)
            return number

    def begin(self, *, most_in_order: float) -> int:
        """Call what waits the backlog, and return the number of the first message after it."""
        with self._changed:
            return self._queue.begin(most_in_order=most_in_order)

    def take(self, *, held: Collection[str] = (), backlog: bool = True) -> Kept | None:
        """Return the oldest message that is not under way; it is under way then."""
        with self._changed:
            first = self._queue.peek(held=held, backlog=backlog)
            if first is None or not (self._was_read or self._problem):
                return None
            if not (self._write_interval_s or self._problem or self._queue.is_written(first)):
                return None
            return self._queue.take(held=held, backlog=backlog)

    def passed(self, number: int, *, topic: str) -> bool:
        """Whether neither this message of a topic nor an older one is still to be taken."""
        with self._changed:
            return self._queue.passed(number, topic=topic)

    def without_picture(self, kept: Kept, reason: PictureMissing) -> Kept:
        """Let a message under way say that its picture will not come; return it so."""
        with self._changed:
            was_due_s = self._queue.write_due_s
            other = self._queue.without_picture(kept, reason)
            self._notify_if_sooner(was_due_s)
            return other

    def put_back(self, kept: Kept | None = None) -> None:
        """Let everything under way, or one message, be taken again, in order."""
        with self._changed:
            self._queue.put_back(kept)

    def remove(self, kept: Kept) -> None:
        """Forget a message."""
        with self._changed:
            was_due_s = self._queue.write_due_s
            self._queue.remove(kept)
            self._notify_if_sooner(was_due_s)

    def close(self, *, timeout_s: float) -> None:
        """Write what is not acknowledged, and let go of the file, within `timeout_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                logger.warning("%s: the disk did not answer in time", self._journal.path)

    def status(self) -> BufferStatus:
        """Return counts since the start, and what is wrong."""
        with self._changed:
            return BufferStatus(
                pending=len(self._queue),
                pending_bytes=self._queue.bytes,
                dropped=self._queue.dropped,
                storage="disk" if self._was_read and self._problem is None else "memory",
                problem=self._problem,
                written_messages=self._written_messages,
                written_bytes=self._written_bytes,
                commits=self._commits,
                picture_bytes=self._queue.pictures.bytes,
                pictures_dropped=self._queue.pictures.dropped,
            )

    def _notify_if_sooner(self, was_due_s: float) -> None:
        if self._queue.write_due_s < was_due_s:
            self._changed.notify_all()

    def _run(self) -> None:
        """Work until it closes, then write everything and let go of the file."""
        while True:
            with self._changed:
                while not self._closing and (idle_s := self._idle_s()) > 0:
                    self._changed.wait(min(idle_s, threading.TIMEOUT_MAX))
                closing = self._closing
            progress = self._work()
            self._on_ready()
            if closing and not progress:
                break
        self._journal.close()

    def _idle_s(self) -> float:
        """Return how long there is nothing to do."""
        due_s = self._retry_at_s
        if self._journal.is_open:
            due_s = max(due_s, self._queue.write_due_s)
        return due_s - time.monotonic()

    def _work(self) -> bool:
        """Do what is due; return whether there may be more."""
        try:
            opened = self._make_sure_it_is_open()
            progress = self._write() or opened
        except JournalError as error:
            return self._recover(error)
        if progress:
            self._report(None)
        return progress

    def _make_sure_it_is_open(self) -> bool:
        """Open the file if it is not; return whether that was so."""
        if self._journal.is_open:
            return False
        self._journal.open()
        if self._was_read:
            with self._changed:
                self._queue.write_all_again()
        else:
            self._read()
        return True

    def _read(self) -> None:
        backlog = self._journal.read()
        with self._changed:
            self._was_read = True
            self._queue.prepend(backlog.messages)
            self._queue.dropped += backlog.lost
            if backlog.lost:
                self._queue.note_stale()
        if backlog.damage:
            raise backlog.damage

    def _write(self) -> bool:
        """Bring the file up to date if that is due, or it closes; return whether it was."""
        with self._changed:
            due_s = math.inf if self._closing else time.monotonic()
            if self._queue.write_due_s > due_s or self._queue.write_due_s == math.inf:
                return False
            batch = self._queue.begin_write(max_bytes=_CHUNK_BYTES)
            before, keep = self._queue.left
        written_bytes = self._journal.write(batch, before=before, keep=keep)
        with self._changed:
            for kept in batch:
                self._queue.settle(kept)
            self._commits += 1
            self._written_messages += len(batch)
            self._written_bytes += written_bytes
        return True

    def _recover(self, error: JournalError) -> bool:
        """Return whether the next attempt may succeed at once: with a new file."""
        now_s = time.monotonic()
        problem = f"buffer {error}"
        if isinstance(error, DamagedError) and now_s >= self._set_aside_at_s + self._retry_s:
            self._set_aside_at_s = now_s
            try:
                aside = self._journal.set_aside()
            except JournalError as another:
                problem += f"; it cannot be set aside: {another}"
            else:
                logger.warning("%s; set aside as %s for a new file", problem, aside)
                return True
        # A file that was full has what was written, and need not be written again.
        if not (isinstance(error, FullError) and self._was_read):
            self._journal.close()
        with self._changed:
            self._queue.note_stale()
        self._retry_at_s = now_s + self._retry_s
        self._report(problem)
        return False

    def _report(self, problem: str | None) -> None:
        with self._changed:
            was, self._problem = self._problem, problem
        if problem is not None and problem not in self._said:
            logger.warning("%s (messages are kept in memory until it works)", problem)
            self._said.add(problem)
        elif problem is None and was is not None:
            logger.info("buffer %s: on disk again", self._journal.path)
            self._said.clear()
