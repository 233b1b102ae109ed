"""The file of a buffer: an SQLite database that belongs to one thread of one process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.buffer import rows
from edgeclassifier.buffer.rows import PAGE_BYTES, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeclassifier.contract.message import Message

_MIN_PAGES = 64
_RESERVED_PAGES = 32
"""For the database's own structure, and for messages that wait to be deleted."""
_JOURNAL_PAGES = 256
"""The journal goes into the database when it has grown to this."""
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space on it",
    sqlite3.SQLITE_BUSY: "another process has it open; give each daemon a buffer.path of its own",
    sqlite3.SQLITE_READONLY: "it may not be written; check its permissions and the file system",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the path and who may write there",
    sqlite3.SQLITE_PERM: "access is denied; check who may write there",
    sqlite3.SQLITE_IOERR: "the disk fails; check its health, and the limits of this process",
}


class JournalError(Exception):
    """The file cannot be used: one line that says why."""

    def __init__(self, problem: str, *, damaged: bool = False) -> None:
        super().__init__(problem)
        self.damaged = damaged
        """Whether what is in the file cannot be read, and will never be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The messages within a range of numbers."""

    first: int
    count: int
    size_bytes: int


class Journal:
    """Opens, reads and writes the file. Every method may raise JournalError.

    Rows that are there when it is opened for the first time get the numbers 0 and below, so that
    a process can number its own messages from 1 on before it knows of any others.
    """

    def __init__(self, *, path: Path, max_bytes: int) -> None:
        """Let the file grow to `max_bytes`, or 256 KiB where that is more."""
        self.path = path
        self._max_pages = max(_MIN_PAGES, max_bytes // PAGE_BYTES)
        self._database: sqlite3.Connection | None = None
        self._base: int | None = None

    @property
    def capacity_bytes(self) -> int:
        """How many bytes of messages, by disk_bytes(), fit into the file."""
        return (self._max_pages - _RESERVED_PAGES) * PAGE_BYTES * 95 // 100

    @property
    def is_open(self) -> bool:
        """Whether the file can be read and written."""
        return self._database is not None

    def open(self) -> Extent:
        """Create or open the file, and keep others out; return what is in it."""
        try:
            self._prepare_file()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise JournalError(
                f"{self.path}: {reason}; check the path and who may write there"
            ) from None
        with self._explained():
            self._database = self._connect()
            [[last]] = self._database.execute("SELECT max(number) FROM messages")
            if self._base is None:
                self._base = last or 0
            if last is None:
                self._shrink(self._database)
            return self.extent()

    def close(self) -> None:
        """Let go of the file. Never raises."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def extent(self, *, after: int | None = None, before: int | None = None) -> Extent:
        """Measure the messages between two numbers, both excluded."""
        with self._explained():
            query = (
                "SELECT min(number), count(*), sum(size_bytes) FROM messages"
                " WHERE number > ? AND number < ?"
            )
            [[first, count, size_bytes]] = self._open.execute(query, self._rows(after, before))
            return Extent(
                first=(first or 0) - self._offset, count=count, size_bytes=max(0, size_bytes or 0)
            )

    def read(self, *, after: int, before: int, max_bytes: int) -> tuple[list[Row], bool]:
        """Return the oldest messages between two numbers, and whether these are all of them."""
        found: list[Row] = []
        read_bytes = 0
        query = "SELECT * FROM messages WHERE number > ? AND number < ? ORDER BY number"
        with self._explained():
            cursor = self._open.execute(query, self._rows(after, before))
            # A read that stays open would keep the journal from being emptied.
            with contextlib.closing(cursor):
                for number, *fields in cursor:
                    found.append(rows.decode(number - self._offset, fields))
                    read_bytes += found[-1].size_bytes
                    if read_bytes >= max_bytes:
                        return found, False
        return found, True

    def write(
        self,
        messages: Sequence[tuple[int, Message, int]],
        *,
        before: int,
        keep: Sequence[int],
    ) -> None:
        """Add numbered messages with their sizes; forget those `before` a number but for `keep`.

        Both in one transaction, which a power cut does not undo.
        """
        offset = self._offset
        encoded = [
            rows.encode(number + offset, message, size) for number, message, size in messages
        ]
        start = -(2**63)
        ranges = []
        for stop in (*(number for number in keep if number < before), before):
            ranges.append((start, stop + offset))
            start = stop + offset + 1
        with self._explained():
            database = self._open
            database.execute("BEGIN IMMEDIATE")
            try:
                database.executemany(
                    "DELETE FROM messages WHERE number >= ? AND number < ?", ranges
                )
                database.executemany(rows.INSERT, encoded)
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        database.execute("ROLLBACK")

    def set_aside(self) -> Path:
        """Rename a damaged file, so that open() makes a new one; return its new name."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.corrupt")
        try:
            self.path.replace(aside)
            for suffix in ("-wal", "-shm", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise JournalError(f"{self.path}: damaged, and cannot be set aside: {reason}") from None
        return aside

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._database is not None, "not open"  # noqa: S101 - a fault of the caller
        return self._database

    @property
    def _offset(self) -> int:
        return self._base or 0

    def _rows(self, after: int | None, before: int | None) -> tuple[int, int]:
        low = -(2**63) if after is None else after + self._offset
        return low, 2**63 - 1 if before is None else before + self._offset

    def _prepare_file(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not opened where it exists: closing it would end the locks that this process may have.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if self.path.is_dir():
            raise IsADirectoryError(None, "it is a directory")
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o600)

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            database.text_factory = lambda text: text.decode(errors="replace")
            for pragma in (
                f"page_size = {PAGE_BYTES}",
                # One process alone, and no file for memory shared with others.
                "locking_mode = EXCLUSIVE",
                "journal_mode = WAL",
                "synchronous = FULL",
                # Debian's default overwrites what is deleted.
                "secure_delete = OFF",
                "cache_size = -512",
                f"max_page_count = {self._max_pages}",
                f"wal_autocheckpoint = {_JOURNAL_PAGES}",
                f"journal_size_limit = {_JOURNAL_PAGES * PAGE_BYTES}",
            ):
                database.execute(f"PRAGMA {pragma}").fetchall()
            database.execute("BEGIN IMMEDIATE")
            database.execute(rows.TABLE)
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.close()
            raise
        return database

    def _shrink(self, database: sqlite3.Connection) -> None:
        [[pages]] = database.execute("PRAGMA page_count")
        if pages > self._max_pages:
            database.execute("VACUUM")
            database.execute(f"PRAGMA max_page_count = {self._max_pages}").fetchall()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            reason = _REASONS.get(code)
            if reason is None:
                raise JournalError(f"{self.path}: damaged: {error}", damaged=True) from None
            raise JournalError(f"{self.path}: {reason}") from None
