"""The file of a buffer: an SQLite database that belongs to one thread of one process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeclassifier.buffer import rows
from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.buffer.rows import PAGE_BYTES, size_bytes
from edgeclassifier.contract.pictures import named, with_picture, without_picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeclassifier.contract.messages import Message
    from edgeclassifier.contract.pictures import PictureMissing

_MIN_PAGES = 64
_RESERVED_PAGES = 32
"""For the database's own structure, and for messages that wait to be deleted."""
_WAL_PAGES = 256
"""SQLite's write-ahead log goes into the database when it has grown to this."""
_MAX_NUMBER = 2**62
"""Rows have lower numbers, so that those to come do not exceed 64 bits."""
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space on it",
    sqlite3.SQLITE_BUSY: "another process has it open; give each daemon its own buffer.path",
    sqlite3.SQLITE_READONLY: "it may not be written; check its permissions and the file system",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the path and who may write there",
    sqlite3.SQLITE_PERM: "access is denied; check who may write there",
    sqlite3.SQLITE_IOERR: "the disk fails; check its health, and the limits of this process",
}


class JournalError(Exception):
    """The file cannot be used: one line that says why."""


class DamagedError(JournalError):
    """What is in the file cannot be read, and never will be."""


class FullError(JournalError):
    """Only space is missing; what is in the file is as it was."""


@dataclass(slots=True, kw_only=True)
class Backlog:
    """What earlier runs have left."""

    messages: list[Kept]
    """From old to new, with the numbers 0 and below."""
    lost: int = 0
    """How many more rows there are: no messages, or too many."""
    damage: DamagedError | None = None
    """Why the file must not be used any more, although the messages are good."""


class Journal:
    """Keeps a copy of what is in memory. Every method may raise JournalError.

    Rows of earlier runs get the numbers 0 and below, so that a process can number its own messages
    from 1 on before it knows of any others.
    """

    def __init__(self, *, path: Path, max_bytes: int, max_picture_bytes: int = 0) -> None:
        """Let the file grow to `max_bytes`, or 256 KiB if that is more, and `max_picture_bytes`."""
        self.path = path
        pages, picture_pages = max_bytes // PAGE_BYTES, max_picture_bytes // PAGE_BYTES
        pages = max(_MIN_PAGES, pages)
        self._max_pages = pages + picture_pages
        self.capacity_bytes = (pages - _RESERVED_PAGES) * PAGE_BYTES * 95 // 100
        """How many bytes of messages, by size_bytes(), fit into the file."""
        self.picture_capacity_bytes = picture_pages * PAGE_BYTES * 95 // 100
        """How many bytes of pictures fit beside them."""
        self.is_open = self._has_pictures = False
        self._database: sqlite3.Connection
        self._base = 0
        """The number in the file of what is number 0 in memory."""

    def open(self) -> None:
        """Create or open the file, and keep others out."""
        try:
            with self._explained():
                self._prepare_file()
                self._database = sqlite3.connect(self.path, timeout=0, isolation_level=None)
                self.is_open = True
                self._prepare_database()
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file. Never raises."""
        if self.is_open:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
        self.is_open = False

    def read(self) -> Backlog:
        """Return the newest messages that fit, as far as they can be read. Called once."""
        found: list[Kept] = []
        damage = None
        try:
            with self._explained():
                self._collect(found)
        except DamagedError as error:
            damage = error
        damage = self._find_pictures(found) or damage
        if damage is not None:
            # The numbers may be wrong, and these will be written to a new file.
            self._base = len(found)
        for place, kept in enumerate(found):
            kept.number = -place if damage is not None else kept.number - self._base
        backlog = Backlog(messages=found[::-1], damage=damage)
        with contextlib.suppress(sqlite3.Error):
            [[count]] = self._database.execute("SELECT count(*) FROM messages")
            backlog.lost = count - len(found)
        return backlog

    def _collect(self, found: list[Kept]) -> None:
        """Append messages from new to old, with their numbers in the file."""
        is_sound = self._has_our_schema()
        left_bytes = self.capacity_bytes
        previous = _MAX_NUMBER
        # A read that stays open would keep the write-ahead log from being emptied.
        with contextlib.closing(self._database.execute(rows.SELECT)) as cursor:
            for number, *fields in cursor:
                is_sound = is_sound and isinstance(number, int) and 0 < number < previous
                if previous == _MAX_NUMBER:
                    self._base = number
                previous = number
                message = rows.decode(*fields)
                if message is None or (size := size_bytes(message)) > self.capacity_bytes:
                    continue
                left_bytes -= size
                if left_bytes < 0:
                    break
                found.append(Kept(message, number=number, size_bytes=size))
        if not is_sound:
            raise DamagedError(f"{self.path}: damaged: foreign columns or numbers")
        if previous == _MAX_NUMBER:
            self._shrink()

    def _find_pictures(self, found: Sequence[Kept]) -> DamagedError | None:
        """Give messages their pictures, from new to old, or let them say that those are missing.

        Returns what is wrong with the file, which loses no message over it.
        """
        damage = None
        left_bytes = self.picture_capacity_bytes
        for kept in found:
            if named(kept.message) is None:
                continue
            whole = None
            try:
                if damage is None and self._has_pictures:
                    with self._explained():
                        whole = self._with_picture(kept)
            except DamagedError as error:
                damage = error
            size = 0 if whole is None else rows.picture_bytes(whole)
            if whole is None or size > left_bytes:
                reason: PictureMissing = "damaged" if whole is None else "buffer"
                kept.message = without_picture(kept.message, reason)
            else:
                kept.message, kept.picture_bytes = whole, size
                left_bytes -= size
        return damage

    def _with_picture(self, kept: Kept) -> Message | None:
        found = self._database.execute(rows.SELECT_PICTURE, (kept.number,)).fetchone()
        is_jpeg = found is not None and isinstance(found[0], bytes)
        return with_picture(kept.message, found[0]) if is_jpeg else None

    def _has_our_schema(self) -> bool:
        [[schema]] = self._database.execute("SELECT group_concat(sql, '') FROM sqlite_master")
        ours = rows.TABLE + (rows.PICTURES if self._has_pictures else "")
        return "".join(str(schema).split()) == "".join(ours.split())

    def write(self, messages: Sequence[Kept], *, before: int, keep: Sequence[int]) -> int:
        """Add messages, and forget those `before` a number but for `keep`; return bytes written.

        Both in one transaction, which a power cut does not undo.
        """
        base = self._base
        encoded = [rows.encode(kept.number + base, kept.message) for kept in messages]
        pictures = [
            (kept.number + base, kept.message.picture)
            for kept in messages
            if kept.message.picture is not None
        ]
        start = -(2**63)
        ranges = []
        for stop in (*(number for number in keep if number < before), before):
            if start < stop + base:
                ranges.append((start, stop + base))
            start = stop + base + 1
        database = self._database
        with self._explained():
            database.execute("BEGIN IMMEDIATE")
            try:
                database.executemany(rows.DELETE, ranges)
                database.executemany(rows.INSERT, encoded)
                if pictures and not self._has_pictures:
                    database.execute(rows.PICTURES)
                if pictures or self._has_pictures:
                    # Also of a message that had one when it was written before.
                    ranges += [(number, number + 1) for number, *_ in encoded]
                    database.executemany(rows.DELETE_PICTURES, ranges)
                    database.executemany(rows.INSERT_PICTURE, pictures)
                database.execute("COMMIT")
                self._has_pictures = self._has_pictures or bool(pictures)
            finally:
                if database.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        database.execute("ROLLBACK")
        return sum(
            rows.disk_bytes(kept.message) + rows.picture_bytes(kept.message) for kept in messages
        )

    def set_aside(self) -> Path:
        """Rename a damaged file, so that open() makes a new one; return its new name."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.corrupt")
        with self._explained():
            self.path.replace(aside)
            for suffix in ("-wal", "-shm", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return aside

    def _prepare_file(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not opened if it exists: closing it would end the locks that this process may have.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if not self.path.is_file():
            raise OSError(None, "it is not a file")
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o600)

    def _prepare_database(self) -> None:
        database = self._database
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
            f"wal_autocheckpoint = {_WAL_PAGES}",
            f"journal_size_limit = {_WAL_PAGES * PAGE_BYTES}",
        ):
            database.execute(f"PRAGMA {pragma}").fetchall()
        database.execute("BEGIN IMMEDIATE")
        if not database.execute("SELECT 1 FROM sqlite_master").fetchall():
            database.execute(rows.TABLE)
        found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'pictures'")
        self._has_pictures = bool(found.fetchall())
        database.execute("COMMIT")

    def _shrink(self) -> None:
        [[pages]] = self._database.execute("PRAGMA page_count")
        if pages > self._max_pages:
            self._database.execute("VACUUM")
            self._database.execute(f"PRAGMA max_page_count = {self._max_pages}").fetchall()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            hint = "check the path and who may write there"
            raise JournalError(f"{self.path}: {reason}; {hint}") from None
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code not in _REASONS:
                raise DamagedError(f"{self.path}: damaged: {error}") from None
            kind = FullError if code == sqlite3.SQLITE_FULL else JournalError
            raise kind(f"{self.path}: {_REASONS[code]}") from None
