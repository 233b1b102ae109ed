"""The thread of a buffer on disk: all that touches the file happens here."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from edgeclassifier.buffer.journal import Journal, JournalError
from edgeclassifier.buffer.parcel import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeclassifier.buffer.ledger import Ledger

logger = logging.getLogger(__name__)

MEMORY_BYTES = 1024 * 1024
"""Of messages in memory, while the disk keeps up."""
CHUNK_BYTES = MEMORY_BYTES // 4
"""What is read at once, and written at once."""


class Writer:
    """Keeps the file and the ledger in step.

    The ledger and all public attributes are shared: they are used with the lock of `changed` held,
    and it is notified when there is something to do.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        ledger: Ledger,
        changed: threading.Condition,
        retry_s: float,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._changed = changed
        self._retry_s = retry_s
        self._retry_at_s = 0.0
        self._was_open = False
        self._said: set[str] = set()
        self._damaged_at_s = float("-inf")
        self.on_ready: Callable[[], None] = lambda: None
        """Called, without the lock, when take() may have something again."""
        self.closing = False
        self.tried = False
        """Whether it is known what earlier runs have left, or that this cannot be known."""
        self.problem: str | None = None
        self.written_messages = self.written_bytes = self.commits = 0

    def wants_more(self) -> bool:
        """Whether the head of the queue is to be filled from the file."""
        return self._ledger.gap > 0 and self._ledger.head_bytes < CHUNK_BYTES // 2

    def _idle_s(self) -> float:
        """Return how long there is nothing to do."""
        due_s = self._retry_at_s
        if self._journal.is_open:
            if self.wants_more():
                return 0.0
            due_s = max(due_s, self._ledger.write_due_s)
        return due_s - time.monotonic()

    def run(self) -> None:
        """Work until `closing`, then write everything and let go of the file."""
        while True:
            with self._changed:
                while not self.closing and (idle_s := self._idle_s()) > 0:
                    self._changed.wait(min(idle_s, threading.TIMEOUT_MAX))
                closing = self.closing
            progress = self._work(at_once=closing)
            self.on_ready()
            if closing and not progress:
                break
        self._journal.close()

    def _work(self, *, at_once: bool) -> bool:
        """Do what is due, or everything `at_once`; return whether there may be more."""
        try:
            opened = self._make_sure_it_is_open()
            self._load()
            progress = self._write(at_once=at_once) or opened
        except JournalError as error:
            progress = self._set_aside(error) if error.damaged else False
            if not progress:
                self._fail(error)
        else:
            if progress:
                self._report(None)
        with self._changed:
            self.tried = True
        return progress

    def _make_sure_it_is_open(self) -> bool:
        """Open the file where it is not; return whether that was so."""
        if self._journal.is_open:
            return False
        try:
            found = self._journal.open()
            if not self._was_open:
                with self._changed:
                    if found.count:
                        self._ledger.find_gap(
                            after=found.first - 1, count=found.count, size_bytes=found.size_bytes
                        )
            else:
                self._find_again()
        except JournalError:
            self._journal.close()
            with self._changed:
                self._ledger.dropped += self._ledger.give_up_gap()
            raise
        self._was_open = True
        return True

    def _find_again(self) -> None:
        with self._changed:
            expected = self._ledger.gap
            after, before = self._ledger.gap_range
        found = self._journal.extent(after=after, before=before)
        with self._changed:
            if expected:
                self._ledger.find_gap(after=after, count=found.count, size_bytes=found.size_bytes)
                self._ledger.dropped += max(0, expected - found.count)
            self._ledger.write_all_again()

    def _load(self) -> None:
        with self._changed:
            if not self.wants_more():
                return
            after, before = self._ledger.gap_range
        try:
            rows, is_all = self._journal.read(after=after, before=before, max_bytes=CHUNK_BYTES)
        except JournalError:
            self._journal.close()
            raise
        loaded = [
            Kept(row.message, number=row.number, size_bytes=row.size_bytes, written=True)
            for row in rows
            if row.message is not None
        ]
        with self._changed:
            self._ledger.fill(loaded, end=rows[-1].number if rows else before - 1, is_all=is_all)
            if len(loaded) < len(rows):
                self._ledger.dropped += len(rows) - len(loaded)
                self._ledger.note_stale()
            self._ledger.make_room()

    def _write(self, *, at_once: bool) -> bool:
        """Bring the file up to date if that is due; return whether it was."""
        with self._changed:
            due_s = self._ledger.write_due_s
            if due_s == float("inf"):
                return False
            if not at_once and time.monotonic() < max(due_s, self._retry_at_s):
                return False
            batch = self._ledger.next_batch(max_bytes=CHUNK_BYTES)
            before, keep = self._ledger.first_waiting, self._ledger.under_way
            self._ledger.forgive_stale()
        self._commit(batch, before=before, keep=keep)
        return True

    def _commit(self, batch: Sequence[Kept], *, before: int, keep: Sequence[int]) -> None:
        rows = [(kept.number, kept.message, kept.size_bytes) for kept in batch]
        try:
            self._journal.write(rows, before=before, keep=keep)
        except JournalError:
            with self._changed:
                self._ledger.note_stale()
            raise
        with self._changed:
            self._ledger.note_written(batch)
            self.commits += 1
            self.written_messages += len(batch)
            self.written_bytes += sum(kept.size_bytes for kept in batch)
            if self._ledger.memory_bytes > MEMORY_BYTES:
                self._ledger.evict(keep_bytes=CHUNK_BYTES)

    def _set_aside(self, error: JournalError) -> bool:
        """Begin with a new file; return whether that was possible, and not done just before."""
        now_s = time.monotonic()
        if now_s < self._damaged_at_s + self._retry_s:
            return False
        self._damaged_at_s = now_s
        try:
            aside = self._journal.set_aside()
        except JournalError as another:
            logger.warning("buffer %s", another)
            return False
        logger.warning("buffer %s; set aside as %s, and begun anew", error, aside)
        with self._changed:
            self._ledger.dropped += self._ledger.give_up_gap()
            self._ledger.write_all_again()
            self._retry_at_s = 0.0
        return True

    def _fail(self, error: JournalError) -> None:
        with self._changed:
            self._retry_at_s = time.monotonic() + self._retry_s
            # Where there is something to read, reading may work even if writing does not.
            if not self._ledger.gap:
                self._journal.close()
        self._report(f"buffer {error}")

    def _report(self, problem: str | None) -> None:
        with self._changed:
            was, self.problem = self.problem, problem
        if problem is not None and problem not in self._said:
            logger.warning("%s (messages are kept in memory until it works)", problem)
            self._said.add(problem)
        elif problem is None and was is not None:
            logger.info("buffer %s: on disk again", self._journal.path)
            self._said.clear()
