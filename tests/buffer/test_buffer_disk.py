"""The buffer on disk: what is written when, and what survives."""

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.brokers import wait_until

from edgeclassifier.buffer.disk import DiskBuffer
from edgeclassifier.buffer.journal import Journal
from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.buffer.rows import disk_bytes
from edgeclassifier.contract.messages import Message

MIB = 1024 * 1024
MakeBuffer = Callable[..., DiskBuffer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "buffer.sqlite"


@pytest.fixture
def make_buffer(path: Path) -> Iterator[MakeBuffer]:
    buffers = []

    def make(**changes: Any) -> DiskBuffer:
        arguments = {"path": path, "max_bytes": 4 * MIB, "write_interval_s": 0.0, "retry_s": 0.1}
        buffer = DiskBuffer(**{**arguments, **changes})
        buffers.append(buffer)
        buffer.start(on_ready=lambda: None)
        return buffer

    yield make
    for buffer in buffers:
        buffer.close(timeout_s=10)


def message(number: int, size: int = 500) -> Message:
    payload = b"%d " % number
    return Message(
        topic="t", payload=payload.ljust(size, b"x"), content_type="text/plain", keep=True
    )


def fill(buffer: DiskBuffer, numbers: range, size: int = 500) -> None:
    for number in numbers:
        buffer.add(message(number, size))


def drain(buffer: DiskBuffer, *, remove: bool = True) -> list[int]:
    """Take all there is, as a session would."""
    found = []

    def take_one() -> bool:
        kept = buffer.take()
        if kept is not None:
            found.append(int(kept.message.payload.split()[0]))
            if remove:
                buffer.remove(kept)
        return kept is not None

    def take_some() -> bool:
        while take_one():
            pass
        return buffer.status().pending == (0 if remove else len(found))

    assert wait_until(take_some), buffer.status()
    return found


def is_written(buffer: DiskBuffer, count: int) -> bool:
    return wait_until(lambda: buffer.status().written_messages >= count)


def test_what_is_not_acknowledged_comes_first_after_a_restart(make_buffer: MakeBuffer) -> None:
    buffer = make_buffer(write_interval_s=3600)
    fill(buffer, range(10))
    buffer.close(timeout_s=10)
    assert buffer.status().commits == 1
    buffer = make_buffer()
    fill(buffer, range(10, 20))
    assert wait_until(lambda: buffer.status().pending == 20)
    first = buffer.take()
    assert first is not None
    assert first.message == message(0), "not what it was"
    buffer.put_back()
    assert drain(buffer) == list(range(20))


def test_an_acknowledged_message_does_not_come_back(make_buffer: MakeBuffer) -> None:
    buffer = make_buffer()
    fill(buffer, range(5))
    assert is_written(buffer, 5)
    assert drain(buffer) == list(range(5))
    buffer.close(timeout_s=10)
    buffer = make_buffer()
    fill(buffer, range(5, 6))
    assert drain(buffer) == [5]


def test_with_an_interval_of_zero_nothing_is_sent_before_it_is_written(
    make_buffer: MakeBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Journal.write
    taken_before = []

    def watched(journal: Journal, messages: Any, **more: Any) -> int:
        taken_before.append(buffer.take())
        return write(journal, messages, **more)

    monkeypatch.setattr(Journal, "write", watched)
    buffer = make_buffer()
    fill(buffer, range(1))
    assert drain(buffer) == [0]
    assert taken_before[0] is None


def test_what_is_acknowledged_in_time_is_never_written(make_buffer: MakeBuffer, path: Path) -> None:
    buffer = make_buffer(write_interval_s=0.3)
    assert wait_until(lambda: buffer.status().storage == "disk")
    files = snapshot(path.parent)
    for number in range(60):
        fill(buffer, range(number, number + 1))
        assert drain(buffer) == [number]
    assert buffer.status().commits == 0
    assert snapshot(path.parent) == files


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {file.name: (file.stat().st_size, file.stat().st_mtime_ns) for file in folder.iterdir()}


def test_what_is_written_is_all_there_after_an_outage(make_buffer: MakeBuffer) -> None:
    buffer = make_buffer(max_bytes=32 * MIB, write_interval_s=0.02)
    count = 30_000
    for start in range(0, count, 500):
        fill(buffer, range(start, start + 500))
        assert is_written(buffer, start)
    assert is_written(buffer, count)
    assert buffer.status().pending == count
    assert drain(buffer) == list(range(count))
    assert buffer.status().dropped == 0


@pytest.mark.parametrize("size", [20, 700, 2100, 5000, 30_000])
def test_the_file_stays_within_its_limit_and_the_oldest_goes_first(
    make_buffer: MakeBuffer, path: Path, size: int
) -> None:
    buffer = make_buffer(max_bytes=MIB)
    count = 3 * MIB // disk_bytes(message(0, size))
    step = max(20, count // 60)
    largest = 0
    for start in range(0, count, step):
        fill(buffer, range(start, start + step), size)
        assert wait_until(lambda: not buffer._queue._unwritten)
        largest = max(largest, *(each.stat().st_size for each in path.parent.iterdir()))
    status = buffer.status()
    assert (status.problem, status.storage) == (None, "disk")
    assert path.stat().st_size <= MIB
    assert largest <= 2 * MIB + 100_000, "the journal is not bounded"
    total = -(-count // step) * step
    assert status.dropped + status.pending == total
    assert drain(buffer) == list(range(status.dropped, total))


@given(sizes=st.lists(st.integers(10, 9000), min_size=30, max_size=120), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_the_limit_of_the_file_is_never_hit_by_sizes_of_any_kind(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    """The database's own limit is a safety net, not what drops messages."""
    path = tmp_path_factory.mktemp("sizes") / "buffer.sqlite"
    buffer = DiskBuffer(path=path, max_bytes=1, write_interval_s=0.0, retry_s=3600)
    buffer.start(on_ready=lambda: None)
    for turn in range(3):
        for number, size in enumerate(sizes):
            buffer.add(message(number, size))
            if (number + turn + seed) % 7 == 0:
                assert wait_until(lambda: not buffer._queue._unwritten)
    assert wait_until(lambda: not buffer._queue._unwritten), buffer.status()
    buffer.close(timeout_s=10)
    assert buffer.status().problem is None
    assert path.stat().st_size <= 256 * 1024


def test_it_belongs_to_its_owner_alone(make_buffer: MakeBuffer, path: Path) -> None:
    path.parent.mkdir()
    path.touch(mode=0o644)
    buffer = make_buffer()
    fill(buffer, range(1))
    assert is_written(buffer, 1)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_a_second_process_is_refused_and_works_in_memory(
    make_buffer: MakeBuffer, path: Path
) -> None:
    script = f"""
import sys
from edgeclassifier.buffer.disk import DiskBuffer
from pathlib import Path
buffer = DiskBuffer(path=Path({str(path)!r}), max_bytes=10**6, write_interval_s=0)
buffer.start(on_ready=lambda: print(buffer.status().storage, flush=True))
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"disk\n"
        buffer = make_buffer()
        assert wait_until(lambda: buffer.status().problem)
        assert "another process has it open" in str(buffer.status().problem)
        assert buffer.status().storage == "memory"
        fill(buffer, range(5))
        kept = buffer.take()
        assert kept is not None
        buffer.put_back()
        other.communicate(timeout=10)
    assert wait_until(lambda: buffer.status().storage == "disk"), "did not try again"
    assert is_written(buffer, 5)
    assert drain(buffer) == list(range(5))


def test_a_file_in_place_of_the_folder(
    make_buffer: MakeBuffer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path.parent.write_text("not a folder")
    buffer = make_buffer(retry_s=0.02)
    fill(buffer, range(5))
    assert wait_until(lambda: buffer.status().problem)
    assert buffer.status().storage == "memory"
    assert wait_until(lambda: len(caplog.records) == 1)
    path.parent.unlink()
    assert wait_until(lambda: buffer.status().storage == "disk")
    assert is_written(buffer, 5)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert drain(buffer) == list(range(5))


@pytest.mark.parametrize("size", [10, 500])
def test_a_disk_that_never_works_costs_bounded_memory(
    make_buffer: MakeBuffer, path: Path, size: int
) -> None:
    path.parent.write_text("not a folder")
    buffer = make_buffer(max_bytes=256 * 1024)
    assert wait_until(lambda: buffer.status().problem)
    fill(buffer, range(1000), size)
    status = buffer.status()
    assert status.pending_bytes <= 256 * 1024
    assert status.pending * (400 + size) <= 256 * 1024
    assert status.pending + status.dropped == 1000
    assert drain(buffer) == list(range(status.dropped, 1000))


def test_messages_of_an_earlier_run_are_found_also_when_the_disk_comes_late(
    make_buffer: MakeBuffer, path: Path
) -> None:
    buffer = make_buffer()
    fill(buffer, range(3))
    buffer.close(timeout_s=10)
    away = path.parent.with_name("away")
    path.parent.rename(away)
    path.parent.write_text("not mounted")
    buffer = make_buffer()
    fill(buffer, range(3, 6))
    assert wait_until(lambda: buffer.status().problem)
    under_way = buffer.take()
    assert under_way is not None
    path.parent.unlink()
    away.rename(path.parent)
    assert wait_until(lambda: buffer.status().pending == 6)
    buffer.put_back()
    assert drain(buffer) == list(range(6))


@pytest.mark.parametrize("then", ["acknowledged", "lost", "stopped"])
def test_what_is_under_way_when_an_earlier_run_is_found_is_neither_lost_nor_sent_twice(
    make_buffer: MakeBuffer, path: Path, then: str
) -> None:
    buffer = make_buffer()
    fill(buffer, range(400), 3000)
    buffer.close(timeout_s=10)
    away = path.parent.with_name("away")
    path.parent.rename(away)
    path.parent.write_text("not mounted")
    buffer = make_buffer()
    assert wait_until(lambda: buffer.status().problem)
    fill(buffer, range(400, 404))
    under_way = [buffer.take(), buffer.take()]
    path.parent.unlink()
    away.rename(path.parent)
    assert wait_until(lambda: buffer.status().storage == "disk")
    assert buffer.status().pending == 404
    expected = list(range(404))
    if then == "acknowledged":
        for kept in under_way:
            assert kept is not None
            buffer.remove(kept)
        expected = [*range(400), 402, 403]
    elif then == "lost":
        buffer.put_back()
    else:
        buffer.close(timeout_s=10)
        buffer = make_buffer()
    if then != "stopped":
        assert is_written(buffer, len(expected) - 400)
    assert wait_until(lambda: buffer.status().pending == len(expected))
    assert drain(buffer) == expected
    status = buffer.status()
    assert (status.dropped, status.pending_bytes) == (0, 0)


def test_what_is_kept_need_not_be_older_than_what_waits(path: Path) -> None:
    journal = Journal(path=path, max_bytes=MIB)
    journal.open()
    written = [Kept(message(number), number=number, size_bytes=500) for number in range(1, 6)]
    journal.write(written, before=1, keep=[])
    journal.write([], before=3, keep=[1, 4])
    journal.close()
    later = Journal(path=path, max_bytes=MIB)
    later.open()
    found = later.read().messages
    assert [kept.message for kept in found] == [message(number) for number in [1, 3, 4, 5]]
    assert [kept.number for kept in found] == [-4, -2, -1, 0]
    later.close()


def test_damage_to_a_file_that_is_open_costs_nothing(make_buffer: MakeBuffer, path: Path) -> None:
    buffer = make_buffer(max_bytes=16 * MIB, write_interval_s=0.02)
    fill(buffer, range(6000))
    assert is_written(buffer, 6000)
    # The middle of the file, behind the back of the process that has it open.
    with path.open("r+b") as file:
        file.seek(512 * 1024)
        file.write(os.urandom(1024 * 1024))
    fill(buffer, range(6000, 6100))
    found = drain(buffer)
    assert found == list(range(6100))
    assert buffer.status().dropped == 0


def test_a_foreign_database_is_set_aside_not_destroyed(make_buffer: MakeBuffer, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE messages (something TEXT)")
    database.close()
    buffer = make_buffer()
    fill(buffer, range(3))
    assert is_written(buffer, 3)
    with sqlite3.connect(path.with_name("buffer.sqlite.corrupt")) as database:
        assert database.execute("SELECT something FROM messages").fetchall() == []
    database.close()


def test_a_smaller_limit_than_before(make_buffer: MakeBuffer, path: Path) -> None:
    buffer = make_buffer(max_bytes=8 * MIB)
    fill(buffer, range(8000))
    assert is_written(buffer, 8000)
    buffer.close(timeout_s=10)
    buffer = make_buffer(max_bytes=MIB)
    assert wait_until(lambda: buffer.status().pending_bytes < MIB and buffer.status().pending)
    found = drain(buffer)
    assert found == list(range(8000 - len(found), 8000))
    buffer.close(timeout_s=10)
    make_buffer(max_bytes=MIB).close(timeout_s=10)
    assert path.stat().st_size <= MIB


@pytest.mark.parametrize("changes", [{"max_bytes": 0}, {"write_interval_s": -1}, {"retry_s": 0}])
def test_contradictions(path: Path, changes: dict[str, float]) -> None:
    arguments: dict[str, Any] = {"path": path, "max_bytes": 1, "write_interval_s": 1.0, **changes}
    with pytest.raises(ValueError, match="not a buffer"):
        DiskBuffer(**arguments)
