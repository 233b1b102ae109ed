"""How a run ended, as the next one finds it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeclassifier.daemon.exit_record import ExitRecord

_RUN = """
import ctypes, os, sys, signal
from pathlib import Path
from edgeclassifier.daemon.exit_record import ExitRecord
record = ExitRecord(Path(sys.argv[1]))
record.begin()
exec(sys.argv[2])
"""


def run(folder: Path, code: str) -> int:
    """Begin in a process of its own, then do `code` there; return how it ended."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(folder), code],
        check=False,
        capture_output=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    return done.returncode


def test_the_first_run_knows_of_none_before(tmp_path: Path) -> None:
    assert ExitRecord(tmp_path / "none").previous() is None
    assert ExitRecord(None).previous() is None


def test_an_end_in_order_is_no_crash(tmp_path: Path) -> None:
    record = ExitRecord(tmp_path)
    record.begin()
    record.end("asked to stop", code=0)
    assert ExitRecord(tmp_path).previous() is None


def test_a_failure_is_known_with_its_reason(tmp_path: Path) -> None:
    record = ExitRecord(tmp_path)
    record.begin()
    record.end("no frame for 10.2 s", code=1)
    crash = ExitRecord(tmp_path).previous()
    assert crash is not None
    assert (crash.reason, crash.exit_code) == ("no frame for 10.2 s", 1)
    assert crash.timestamp.endswith("+00:00")


@pytest.mark.parametrize(
    ("code", "number", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", signal.SIGKILL, "killed"),
        ("ctypes.string_at(0)", signal.SIGSEGV, "Segmentation fault"),
        ("os.abort()", signal.SIGABRT, "aborted"),
    ],
)
def test_a_run_that_could_not_say_anything(
    tmp_path: Path, code: str, number: int, words: str
) -> None:
    assert run(tmp_path, code) == -number
    crash = ExitRecord(tmp_path).previous()
    assert crash is not None
    assert words in crash.reason
    assert crash.exit_code is None


def test_a_power_cut_is_told_from_a_kill(tmp_path: Path) -> None:
    run(tmp_path, "os._exit(0)")
    path = tmp_path / "last-exit.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "kernel_boot": "another"}))
    crash = ExitRecord(tmp_path).previous()
    assert crash is not None
    assert "switched off" in crash.reason


def test_an_old_crash_is_not_told_again_after_an_end_in_order(tmp_path: Path) -> None:
    run(tmp_path, "ctypes.string_at(0)")
    run(tmp_path, "record.end('asked to stop', code=0)")
    assert ExitRecord(tmp_path).previous() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"state": 5}', b"null"])
def test_a_damaged_record_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last-exit.json").write_bytes(content)
    (tmp_path / "fault.txt").write_bytes(b"")
    assert ExitRecord(tmp_path).previous() is None


def test_pipes_in_the_place_of_its_files_do_not_keep_it_waiting(tmp_path: Path) -> None:
    for name in ("last-exit.json", "fault.txt"):
        os.mkfifo(tmp_path / name)
    assert ExitRecord(tmp_path).previous() is None
    assert run(tmp_path, "ctypes.string_at(0)") == -signal.SIGSEGV
    assert ExitRecord(tmp_path).previous() is not None


def test_a_folder_that_cannot_be_made_costs_only_the_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    record = ExitRecord(tmp_path / "file" / "state")
    record.begin()
    record.end("asked to stop", code=0)
    assert "will not be known" in caplog.text
    assert len(caplog.records) == 1


def test_a_run_that_ended_before_it_was_noted_stays_ended(tmp_path: Path) -> None:
    """The start is noted in a thread, because it waits for the disk."""
    tmp_path.mkdir(exist_ok=True)
    record = ExitRecord(tmp_path)
    record.end("bad model", code=78)
    record.begin()
    crash = ExitRecord(tmp_path).previous()
    assert crash is not None
    assert crash.exit_code == 78


def test_records_are_for_the_user_alone(tmp_path: Path) -> None:
    record = ExitRecord(tmp_path / "state")
    record.begin()
    record.end("x", code=0)
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
