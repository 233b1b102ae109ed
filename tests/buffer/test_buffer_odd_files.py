"""Files that no release of this program would leave: none of them stops a buffer."""

import os
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.brokers import wait_until

from edgeclassifier.buffer.disk import DiskBuffer
from edgeclassifier.contract.messages import Message
from edgeclassifier.host import threads

COLUMNS = (
    "number INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, "
    "retain INTEGER NOT NULL, content_type TEXT, size_bytes INTEGER NOT NULL, "
    "checksum INTEGER NOT NULL"
)
LOOSE = "number, topic, payload, retain, content_type, size_bytes, checksum"
LAST = 2**63 - 1
Row = tuple[Any, ...]


def row(number: Any, **changes: Any) -> Row:
    """A row as the program writes it, but for the changes; its checksum is right."""
    fields = {"topic": "t", "payload": b"old", "retain": 0, "content_type": "text/plain"}
    fields.update((name, value) for name, value in changes.items() if name in fields)
    head = f"{fields['topic']}\0{fields['retain']}\0{fields['content_type']}"
    payload = fields["payload"] if isinstance(fields["payload"], bytes) else b""
    checksum = zlib.crc32(payload, zlib.crc32(head.encode(errors="replace")))
    return number, *fields.values(), changes.get("size_bytes", 51), changes.get("crc", checksum)


def one(value: int) -> bytes:
    return b"%d" % value


def make(path: Path, *rows: Row, columns: str = COLUMNS, more: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE messages ({columns})")
        for each in rows:
            marks = ", ".join("?" * len(each))
            database.execute(f"INSERT INTO messages VALUES ({marks})", each)
        database.executescript(more)


def pass_through(path: Path, **changes: Any) -> tuple[list[bytes], int]:
    """Start a buffer, add a message, and stop it; return what it hands out, and what it dropped."""
    arguments: dict[str, Any] = {"max_bytes": 2**20, "write_interval_s": 0.0, "retry_s": 60.0}
    buffer = DiskBuffer(path=path, **{**arguments, **changes})
    buffer.start(on_ready=lambda: None)
    payloads = []
    try:
        buffer.add(Message(topic="t", payload=b"new", keep=True))

        def is_empty() -> bool:
            while (kept := buffer.take()) is not None:
                payloads.append(kept.message.payload)
                buffer.remove(kept)
            return not buffer.status().pending

        assert wait_until(is_empty), buffer.status()
        buffer.add(Message(topic="t", payload=b"newer", keep=True))
    finally:
        buffer.close(timeout_s=10)
    assert buffer.status().problem is None
    assert not threads.take_deaths()
    return payloads, buffer.status().dropped


ODD_ROWS = {
    "empty topic": row(1, topic=""),
    "topic with +": row(1, topic="a/+/b"),
    "topic with #": row(1, topic="a/#"),
    "topic with NUL": row(1, topic="a\0b"),
    "topic of 70 kB": row(1, topic="t" * 70_000),
    "topic is a blob": row(1, topic=b"t"),
    "payload is text": row(1, payload="text"),
    "payload larger than the buffer": row(1, payload=bytes(2**20)),
    "retain is text": row(1, retain="yes"),
    "content type is a blob": row(1, content_type=b"\xff\xfe"),
    "content type with NUL": row(1, content_type="text\0plain"),
    "content type of 70 kB": row(1, content_type="x" * 70_000),
    "checksum of another row": row(1, crc=4711),
    "checksum is text": row(1, crc="zz"),
}


@pytest.mark.parametrize("name", ODD_ROWS)
def test_an_odd_row_is_dropped_and_counted(tmp_path: Path, name: str) -> None:
    path = tmp_path / "buffer.sqlite"
    make(path, ODD_ROWS[name], row(2))
    assert pass_through(path) == ([b"old", b"new"], 1)
    assert not path.with_name("buffer.sqlite.corrupt").exists()
    assert pass_through(path) == ([b"newer", b"new"], 0)


@pytest.mark.parametrize("size", [0, -(2**62), 2**62, "text"])
def test_the_size_in_a_row_is_not_trusted(tmp_path: Path, size: int | str) -> None:
    make(tmp_path / "buffer.sqlite", row(1, size_bytes=size), row(2, size_bytes=size))
    assert pass_through(tmp_path / "buffer.sqlite") == ([b"old", b"old", b"new"], 0)


class Table(NamedTuple):
    expected: list[bytes]
    rows: list[Row]
    columns: str = COLUMNS
    more: str = ""


OLD = b"old"
ODD_TABLES = {
    "number 2^63 - 1": Table([OLD, OLD], [row(5), row(LAST)]),
    "numbers up to 2^63 - 1": Table(
        [b"2", b"1", b"0"], [row(LAST - n, payload=one(n)) for n in range(3)]
    ),
    "number 2^62": Table([OLD], [row(2**62)]),
    "number 0": Table([OLD, OLD], [row(0), row(1)]),
    "number -2^63": Table([OLD, OLD], [row(-(2**63)), row(5)]),
    "numbers of any type": Table(
        [OLD] * 5, [row(number) for number in (None, "text", b"blob", 1.5, 7)], LOOSE
    ),
    "one number twice": Table([OLD, OLD], [row(3), row(3)], LOOSE),
    "nothing but NULL": Table([], [(None,) * 7], LOOSE),
    "content type is a number": Table([], [row(1, content_type=7)], LOOSE),
    "a column more": Table([OLD], [(*row(1), "x")], f"{COLUMNS}, more TEXT"),
    "a column more that must be filled": Table(
        [OLD], [(*row(1), "x")], f"{COLUMNS}, more TEXT NOT NULL"
    ),
    "a column less": Table([], [row(1)[:6]], COLUMNS.rpartition(",")[0]),
    "columns in another order": Table(
        [OLD],
        [tuple(reversed(row(1)))],
        ", ".join(reversed(LOOSE.split(", "))),
    ),
    "a view": Table(
        [OLD],
        [row(1)],
        more="ALTER TABLE messages RENAME TO m; CREATE VIEW messages AS SELECT * FROM m",
    ),
    "a trigger that refuses": Table(
        [OLD],
        [row(1)],
        more="CREATE TRIGGER t BEFORE DELETE ON messages BEGIN SELECT RAISE(ABORT, 'no'); END",
    ),
    "a trigger that multiplies": Table(
        [OLD],
        [row(1)],
        more="CREATE TRIGGER t AFTER INSERT ON messages BEGIN INSERT INTO messages "
        "SELECT NULL, topic, payload, retain, content_type, 1, checksum FROM messages; END",
    ),
    "no such table": Table([], [], more="ALTER TABLE messages RENAME TO other"),
}


@pytest.mark.parametrize("name", ODD_TABLES)
def test_an_odd_table_is_set_aside_and_what_is_in_it_sent(tmp_path: Path, name: str) -> None:
    path = tmp_path / "buffer.sqlite"
    odd = ODD_TABLES[name]
    make(path, *odd.rows, columns=odd.columns, more=odd.more)
    payloads, _ = pass_through(path)
    assert payloads == [*odd.expected, b"new"]
    assert path.with_name("buffer.sqlite.corrupt").exists()
    assert pass_through(path) == ([b"newer", b"new"], 0)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    "make_odd",
    [
        Path.mkdir,
        make_fifo,
        lambda path: path.symlink_to("nowhere/at/all"),
        lambda path: path.symlink_to("/dev/full"),
    ],
    ids=["folder", "fifo", "link to nowhere", "device"],
)
def test_what_is_not_a_file_is_a_problem_like_any_other(
    tmp_path: Path, make_odd: Callable[[Path], None]
) -> None:
    path = tmp_path / "buffer.sqlite"
    make_odd(path)
    buffer = DiskBuffer(path=path, max_bytes=2**20, write_interval_s=0.0)
    buffer.start(on_ready=lambda: None)
    buffer.add(Message(topic="t", payload=b"new", keep=True))
    assert wait_until(lambda: buffer.status().problem)
    assert "it is not a file" in str(buffer.status().problem)
    assert buffer.take() is not None
    buffer.close(timeout_s=10)


def test_a_file_of_version_0_1_is_read(tmp_path: Path) -> None:
    """The layout and the checksum are promises: an update must not lose what waits."""
    path = tmp_path / "buffer.sqlite"
    make(
        path,
        (8, "a/é", b"payload", 1, "application/json", 76, 2604924795),
        (9, "b", b"", 0, None, 50, 225447919),
    )
    buffer = DiskBuffer(path=path, max_bytes=2**20, write_interval_s=0.0)
    buffer.start(on_ready=lambda: None)
    assert wait_until(lambda: buffer.status().pending == 2)
    taken = [buffer.take(), buffer.take()]
    assert [kept and kept.message for kept in taken] == [
        Message(
            topic="a/é", payload=b"payload", retain=True, content_type="application/json", keep=True
        ),
        Message(topic="b", payload=b"", keep=True),
    ]
    assert [kept and kept.number for kept in taken] == [-1, 0]
    buffer.close(timeout_s=10)


@pytest.mark.parametrize("write_interval_s", [0.0, 3600.0])
def test_a_backlog_larger_than_the_limit_keeps_its_newest(
    tmp_path: Path, write_interval_s: float
) -> None:
    path = tmp_path / "buffer.sqlite"
    make(path, *(row(n, payload=one(n).ljust(500)) for n in range(1, 5001)))
    found, dropped = pass_through(path, write_interval_s=write_interval_s)
    assert 500 < len(found) < 2000
    assert [int(payload) for payload in found[:-1]] == list(range(dropped + 1, 5001))
    assert dropped + len(found) == 5001
    assert pass_through(path) == ([b"newer", b"new"], 0)
