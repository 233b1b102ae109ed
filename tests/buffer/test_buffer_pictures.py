"""Pictures on disk: with their messages, in a share of their own, and no message lost for one."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.brokers import wait_until
from support.pictured import jpeg_of, pictured, plain

from edgeclassifier.buffer.disk import DiskBuffer
from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.buffer.rows import INSERT, INSERT_PICTURE, PICTURES, TABLE, encode
from edgeclassifier.contract.messages import Message
from edgeclassifier.contract.pictures import PictureMissing, ahead_of

MIB = 1024 * 1024
MakeBuffer = Callable[..., DiskBuffer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer.sqlite"


@pytest.fixture
def make_buffer(path: Path) -> Iterator[MakeBuffer]:
    buffers = []

    def make(**changes: Any) -> DiskBuffer:
        arguments: dict[str, Any] = {
            "path": path,
            "max_bytes": 4 * MIB,
            "max_picture_bytes": MIB,
            "write_interval_s": 0.0,
            "retry_s": 0.1,
        }
        buffer = DiskBuffer(**{**arguments, **changes})
        buffers.append(buffer)
        buffer.start(on_ready=lambda: None)
        return buffer

    yield make
    for buffer in buffers:
        buffer.close(timeout_s=10)


def drain(buffer: DiskBuffer, count: int) -> list[Kept]:
    """Take as many messages as there are, without removing them."""
    found: list[Kept] = []

    def take() -> bool:
        while (kept := buffer.take()) is not None:
            found.append(kept)
        return len(found) == count

    assert wait_until(take), (len(found), buffer.status())
    return found


def said(kept: Kept) -> tuple[int, str]:
    """What a message says of its picture, and whether that is so."""
    payload = json.loads(kept.message.payload)
    if kept.message.picture is None:
        assert payload.get("picture") is None
        return payload["seq"], payload.get("picture_missing", "none")
    assert kept.message.picture[:2000] == jpeg_of(payload["seq"], 3_000_000)[:2000]
    return payload["seq"], "picture"


def rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        [[count]] = database.execute(f"SELECT count(*) FROM {table}")
        return int(count)


def test_pictures_survive_with_their_messages(make_buffer: MakeBuffer) -> None:
    buffer = make_buffer()
    for number in range(20):
        buffer.add(pictured(number) if number % 3 else plain(number))
    drain(buffer, 20)
    buffer.close(timeout_s=10)
    later = make_buffer()
    found = drain(later, 20)
    assert [said(kept) for kept in found] == [
        (number, "picture" if number % 3 else "none") for number in range(20)
    ]
    assert later.status().picture_bytes > 13 * 2000


def test_what_has_gone_takes_its_picture_with_it(make_buffer: MakeBuffer, path: Path) -> None:
    buffer = make_buffer()
    for number in range(20):
        buffer.add(pictured(number))
    for kept in drain(buffer, 20)[:15]:
        buffer.remove(kept)
    buffer.close(timeout_s=10)
    assert (rows(path, "messages"), rows(path, "pictures")) == (5, 5)


@pytest.mark.parametrize("reason", ["refused", "closed"])
def test_a_picture_that_was_refused_is_not_on_disk_any_more(
    make_buffer: MakeBuffer, path: Path, reason: PictureMissing
) -> None:
    buffer = make_buffer()
    for number in range(4):
        buffer.add(pictured(number))
    found = drain(buffer, 4)
    assert wait_until(lambda: buffer.status().written_messages == 4)
    other = buffer.without_picture(found[1], reason)
    assert said(other) == (1, reason)
    assert wait_until(lambda: buffer.status().written_messages == 5)
    assert buffer.status().pictures_dropped == 1
    buffer.put_back()
    assert drain(buffer, 4)[1] is other
    buffer.close(timeout_s=10)
    assert (rows(path, "messages"), rows(path, "pictures")) == (4, 3)
    expected = [(0, "picture"), (1, reason), (2, "picture"), (3, "picture")]
    assert [said(kept) for kept in drain(make_buffer(), 4)] == expected


def test_pictures_give_way_to_newer_ones_and_to_no_message(
    make_buffer: MakeBuffer, path: Path
) -> None:
    buffer = make_buffer()
    for number in range(300):
        buffer.add(pictured(number, size=20_000))
    status = buffer.status()
    assert (status.pending, status.dropped) == (300, 0)
    assert status.picture_bytes <= MIB
    buffer.close(timeout_s=10)
    assert path.stat().st_size <= 5 * MIB
    outcomes = [said(kept) for kept in drain(make_buffer(), 300)]
    lost = status.pictures_dropped
    assert 250 < lost < 270
    assert outcomes == [(n, "buffer" if n < lost else "picture") for n in range(300)]


def test_messages_give_way_with_their_pictures(make_buffer: MakeBuffer, path: Path) -> None:
    buffer = make_buffer(max_bytes=256 * 1024, max_picture_bytes=16 * MIB)
    for number in range(500):
        buffer.add(pictured(number, size=10_000))
    status = buffer.status()
    assert status.pending + status.dropped == 500
    assert status.pictures_dropped == 0
    assert status.picture_bytes < 19_000 * status.pending
    buffer.close(timeout_s=10)
    assert rows(path, "pictures") == rows(path, "messages") == status.pending


def test_a_picture_larger_than_the_share_is_not_kept_and_nothing_gives_way(
    make_buffer: MakeBuffer,
) -> None:
    buffer = make_buffer()
    buffer.add(pictured(0))
    buffer.add(pictured(1, size=2 * MIB))
    assert [said(kept) for kept in drain(buffer, 2)] == [(0, "picture"), (1, "buffer")]


def test_a_smaller_share_than_before_keeps_the_newest_pictures(make_buffer: MakeBuffer) -> None:
    buffer = make_buffer()
    for number in range(30):
        buffer.add(pictured(number, size=20_000))
    buffer.close(timeout_s=10)
    outcomes = [said(kept) for kept in drain(make_buffer(max_picture_bytes=MIB // 4), 30)]
    kept = [number for number, said in outcomes if said == "picture"]
    assert 5 < len(kept) < 15
    assert kept == list(range(30 - len(kept), 30))
    assert {said for _, said in outcomes} == {"picture", "buffer"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pictures SET jpeg = zeroblob(2000) WHERE number = 3",
        "UPDATE pictures SET jpeg = 'text' WHERE number = 3",
        "DELETE FROM pictures WHERE number = 3",
    ],
)
def test_a_picture_that_is_not_what_its_message_names_is_told(
    make_buffer: MakeBuffer, path: Path, statement: str
) -> None:
    buffer = make_buffer()
    for number in range(1, 6):
        buffer.add(pictured(number))
    buffer.close(timeout_s=10)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute(statement).rowcount == 1
        database.commit()
    expected = [(n, "damaged" if n == 3 else "picture") for n in range(1, 6)]
    assert [said(kept) for kept in drain(make_buffer(), 5)] == expected


ODD: list[dict[str, Any]] = [
    {"picture": {"topic": "a/#", "sha256": "0" * 64}},
    {"picture": {"topic": "", "sha256": "0" * 64}},
    {"picture": {"topic": 7, "sha256": "0" * 64}},
    {"picture": {"topic": "a"}},
    {"picture": {"topic": "a", "sha256": None}},
    {"picture": {"topic": "\ud800", "sha256": "0" * 64}},
    {"boot_id": None},
    {"seq": []},
    {"camera": "a\0b"},
    {"label": 7, "name": {}},
    {"predictions": 5},
]


@pytest.mark.parametrize("retain", [False, True])
def test_rows_that_no_daemon_would_write_cost_themselves_alone(
    make_buffer: MakeBuffer, path: Path, retain: bool
) -> None:
    """Whatever is made of them can be sent."""
    good = pictured(0)
    assert good.picture is not None
    whole = json.loads(good.payload)
    payloads = [json.dumps(whole | each, separators=(",", ":")).encode() for each in ODD]
    payloads += [b'{"picture":{' * 10_000, b'"picture":{', b'[{"picture":{}}]']
    with closing(sqlite3.connect(path)) as database:
        database.execute(TABLE)
        database.execute(PICTURES)
        for number, payload in enumerate(payloads, start=1):
            odd = Message(topic=good.topic, payload=payload, retain=retain, keep=True)
            database.execute(INSERT, encode(number, odd))
            database.execute(INSERT_PICTURE, (number, good.picture))
        database.commit()
    buffer = make_buffer()
    buffer.add(pictured(99))
    *found, last = drain(buffer, len(payloads) + 1)
    assert said(last) == (99, "picture")
    for kept in found:
        if kept.message.picture is not None:
            ahead = ahead_of(kept.message)
            assert all(value.isprintable() for _, value in ahead.user_properties)


def test_torn_pages_of_pictures_lose_no_message(make_buffer: MakeBuffer, path: Path) -> None:
    buffer = make_buffer()
    for number in range(1, 11):
        buffer.add(pictured(number, size=20_000))
    buffer.close(timeout_s=10)
    with closing(sqlite3.connect(path)) as database:
        [[root]] = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'pictures'")
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(os.urandom(4096))
    later = make_buffer()
    assert [said(kept) for kept in drain(later, 10)] == [(n, "damaged") for n in range(1, 11)]
    assert path.with_name("buffer.sqlite.corrupt").exists()
    assert wait_until(lambda: later.status().storage == "disk")


def test_a_file_of_the_version_before_is_taken_over_and_stays_readable_for_it(
    make_buffer: MakeBuffer, path: Path
) -> None:
    """Until there is a picture: a deployment may go back."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(TABLE)
    buffer = make_buffer()
    buffer.add(plain(1))
    buffer.close(timeout_s=10)
    with closing(sqlite3.connect(path)) as database:
        schema = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master")]
    assert schema == [TABLE.strip()]
    buffer = make_buffer()
    buffer.add(pictured(2))
    buffer.close(timeout_s=10)
    with closing(sqlite3.connect(path)) as database:
        schema = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master")]
    assert schema == [TABLE.strip(), PICTURES.strip()]
    assert [said(kept) for kept in drain(make_buffer(), 2)] == [(1, "none"), (2, "picture")]
