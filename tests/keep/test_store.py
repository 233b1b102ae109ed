"""The folder of kept pictures: numbers, limits, labels, and what is left after damage."""

import json
import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest
from support.daemon import isolated
from support.kept import JPEG, picture

from edgeclassifier.contract.kept import KINDS, KeptPicture, Wanted
from edgeclassifier.errors import KeepError, RequestError
from edgeclassifier.keep.lines import picture_line
from edgeclassifier.keep.store import PER_FOLDER, Store

MIB = 1 << 20
T = TypeVar("T")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state" / "kept")


def add(store: Store, count: int = 1, *, max_bytes: int = 64 * MIB, **changes: object) -> list[str]:
    return [store.add(picture(**changes), JPEG, max_bytes=max_bytes).id for _ in range(count)]


def ids(store: Store) -> list[str]:
    return [each.id for each in store.pictures()]


def jpegs(store: Store) -> list[Path]:
    return sorted(store.folder.rglob("*.jpg"))


def test_a_folder_that_is_not_there_holds_nothing_and_is_not_made(store: Store) -> None:
    assert ids(store) == []
    assert store.usage().pictures == 0
    assert store.clear() == 0
    with pytest.raises(RequestError, match="no picture 3"):
        store.label(3, "cat")
    assert not store.folder.exists()


def test_what_was_kept_is_there_in_another_run_the_newest_first(store: Store) -> None:
    assert add(store, 3) == ["0", "1", "2"]
    again = Store(store.folder)
    assert ids(again) == ["2", "1", "0"]
    assert again.jpeg(1) == JPEG
    assert add(again) == ["3"]


def test_it_belongs_to_its_owner_alone(store: Store) -> None:
    add(store)
    modes = {path.stat().st_mode & 0o077 for path in [store.folder, *store.folder.rglob("*")]}
    assert modes == {0}


def test_the_clock_set_back_a_year_changes_no_order(store: Store) -> None:
    for year in (2026, 2025, 2026, 1970):
        add(store, timestamp=f"{year}-01-02T03:04:05.678Z", clock_synchronized=year != 1970)
    assert [each.timestamp[:4] for each in store.pictures()] == ["1970", "2026", "2025", "2026"]
    assert ids(store) == ["3", "2", "1", "0"]


def test_the_oldest_give_way_and_the_limit_holds_on_the_disk(store: Store) -> None:
    limit = 40 * 4096
    for _ in range(100):
        add(store, max_bytes=limit)
        used = sum(-(-path.stat().st_size // 4096) * 4096 for path in store.folder.rglob("*.*"))
        assert used <= limit
    found = [int(each) for each in ids(store)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 99
    assert len(found) == len(jpegs(store)) == store.usage().pictures > 10
    assert found[-1] == 100 - len(found)


def test_whole_folders_go_once_they_are_empty(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeclassifier.keep.store.PER_FOLDER", 5)
    add(store, 60, max_bytes=20 * 4096)
    folders = sorted(int(path.name) for path in store.folder.iterdir())
    assert folders[-1] == 11
    assert len(folders) <= 5
    assert ids(store)[0] == "59"


def test_a_picture_larger_than_the_limit_costs_no_other(store: Store) -> None:
    add(store, 2)
    with pytest.raises(KeepError, match=r"larger than keep\.max_mib"):
        store.add(picture(), bytes(MIB), max_bytes=MIB // 2)
    assert ids(store) == ["1", "0"]


@pytest.mark.parametrize(
    "label", ["a/b", "two\nlines", "🦆", "<b>duck</b>", "x" * 300, " padded ", "\u202educk", "a\rb"]
)
def test_a_label_is_kept_as_it_is_given(store: Store, label: str) -> None:
    add(store, 2)
    assert store.label(0, label).label == label
    assert {each.id: each.label for each in Store(store.folder).pictures()} == {
        "0": label,
        "1": None,
    }
    page = store.page(Wanted(label=label), limit=5, before=None, most_folders=9)
    assert [each.id for each in page.pictures] == ["0"]


def test_the_last_label_counts_and_none_takes_it_back(store: Store) -> None:
    add(store)
    for label in ("cat", "dog", None):
        store.label(0, label)
        assert [each.label for each in store.pictures()] == [label]


def test_the_same_label_again_writes_nothing(store: Store) -> None:
    add(store)
    store.label(0, "cat")
    [lines] = store.folder.rglob("lines.jsonl")
    before = lines.read_bytes()
    store.label(0, "cat")
    assert lines.read_bytes() == before


def test_labels_without_end_do_not_grow_the_file_without_end(store: Store) -> None:
    add(store, 3)
    [lines] = store.folder.rglob("lines.jsonl")
    said = b'{"id":"1","label":"%s"}\n' % (b"y" * 480)
    with lines.open("ab") as file:
        file.write(said * ((2 << 20) // len(said) - 20))
    largest = 0
    for number in range(60):
        store.label(1, f"{number} " + "z" * 480)
        largest = max(largest, lines.stat().st_size)
    assert (2 << 20) - 1000 < largest <= 2 << 20
    assert lines.stat().st_size < 50_000
    assert [(each.label or "")[:3] for each in store.pictures()] == ["", "59 ", ""]


def test_what_is_thrown_away_is_gone_and_its_number_is_not_used_again(store: Store) -> None:
    add(store, 3)
    store.throw_away(2)
    with pytest.raises(RequestError, match="no picture 2"):
        store.throw_away(2)
    with pytest.raises(RequestError, match="no picture 2"):
        store.label(2, "cat")
    with pytest.raises(RequestError, match="no picture 2"):
        store.jpeg(2)
    assert ids(store) == ["1", "0"]
    assert add(Store(store.folder)) == ["3"]


def test_clear_leaves_no_picture_and_no_line_and_numbers_go_on(store: Store) -> None:
    add(store, 3)
    other = Store(store.folder)
    assert other.clear() == 3
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []
    assert ids(store) == []
    assert int(add(store)[0]) > 2
    assert int(add(Store(store.folder))[0]) > 3


# Damage


def test_a_torn_line_costs_its_picture_alone(store: Store) -> None:
    add(store, 3)
    [lines] = store.folder.rglob("lines.jsonl")
    lines.write_bytes(lines.read_bytes()[:-20])
    assert ids(store) == ["1", "0"]
    assert store.label(0, "cat").label == "cat"
    assert add(store) == ["3"]
    assert ids(store) == ["3", "1", "0"]
    assert store.page(Wanted(), limit=9, before=None, most_folders=9).damaged == 1


def test_no_line_of_any_kind_stops_anything(store: Store) -> None:
    add(store, 2)
    [lines] = store.folder.rglob("lines.jsonl")
    good = json.loads(lines.read_bytes().split(b"\n")[0])
    bad = [
        *(b"\0" * 100, b"{}", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{" * 9),
        *(json.dumps({**good, key: None}).encode() for key in good),
        json.dumps({**good, "id": "-1"}).encode(),
        json.dumps({**good, "id": "1" * 30}).encode(),
        json.dumps({**good, "kind": "best"}).encode(),
        json.dumps({**good, "score": float("nan")}).encode(),
        b'{"id":"0","label":7}',
        b'{"id":"77","label":"x"}',
    ]
    damaged = 0
    random.Random(3).shuffle(bad)
    with lines.open("ab") as file:
        for line in bad:
            file.write(line + b"\n")
            damaged += 1
    assert ids(store) == ["1", "0"]
    page = store.page(Wanted(), limit=9, before=None, most_folders=9)
    # A label of null is no damage: it takes a label back.
    assert page.damaged >= damaged - 2
    assert add(store) == ["2"]


def test_what_lies_in_the_folder_beside_pictures_is_left_alone(store: Store) -> None:
    add(store)
    for name in ("notes", "007", "1e3", "²"):
        (store.folder / name).mkdir()
    (store.folder / "5").write_text("a file")
    (store.folder / "6").symlink_to("/etc")
    assert ids(store) == ["0"]
    assert add(store) == ["1"]
    assert store.clear() == 2
    assert (store.folder / "007").is_dir()
    assert Path("/etc/passwd").exists()


def test_nothing_is_read_or_written_through_a_link(store: Store, tmp_path: Path) -> None:
    add(store)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret\n")
    [jpeg] = jpegs(store)
    jpeg.unlink()
    jpeg.symlink_to(secret)
    with pytest.raises(KeepError):
        store.jpeg(0)
    [lines] = store.folder.rglob("lines.jsonl")
    lines.unlink()
    lines.symlink_to(secret)
    with pytest.raises(KeepError):
        add(store)
    assert secret.read_bytes() == b"secret\n"
    assert ids(store) == []


def test_a_pipe_in_place_of_a_picture_is_not_waited_for(store: Store) -> None:
    add(store)
    [jpeg] = jpegs(store)
    jpeg.unlink()
    os.mkfifo(jpeg)
    with pytest.raises(KeepError):
        store.jpeg(0)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Root may write everywhere but on a file system that is read-only."""
    mount = ["mount", "--bind", "-o", "ro", str(folder), str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_read_only_disk_is_said_and_what_is_there_can_be_read(store: Store) -> None:
    add(store, 2)
    with read_only(store.folder):
        with pytest.raises(KeepError, match="read-only file system"):
            add(store)
        with pytest.raises(KeepError, match="read-only file system"):
            store.label(0, "cat")
        assert ids(store) == ["1", "0"]
    assert add(store) == ["2"]


FULL = """
import resource, sys
from pathlib import Path
from support.kept import picture
from edgeclassifier.errors import KeepError
from edgeclassifier.keep.store import Store

store = Store(Path(sys.argv[1]))
def attempt(size):
    try:
        return store.add(picture(), bytes(size), max_bytes=1 << 30).id
    except KeepError as error:
        return str(error).rpartition(": ")[2]
print(attempt(1000))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
[lines] = store.folder.rglob("lines.jsonl")
resource.setrlimit(resource.RLIMIT_FSIZE, (lines.stat().st_size + 50, hard))
print(attempt(100), "|", attempt(5000))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(attempt(1000), [each.id for each in store.pictures()])
print(sorted(path.name for path in store.folder.rglob("*") if path.is_file()))
"""


def test_a_full_disk_leaves_nothing_half_and_is_used_again(store: Store, tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    env = isolated(tmp_path, PYTHONPATH=str(tests))
    told = subprocess.run(
        [sys.executable, "-c", FULL, store.folder],
        env=env, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert told == [
        "0",
        "file too large | file too large",
        "1 ['1', '0']",
        "['0.jpg', '1.jpg', 'lines.jsonl']",
    ]


KILLED = """
import sys
from pathlib import Path
from support.kept import picture
from edgeclassifier.keep.store import Store

store = Store(Path(sys.argv[1]))
while True:
    print(store.add(picture(), bytes(9000), max_bytes=1 << 18).id, flush=True)
"""


def test_kill_9_at_any_moment_leaves_all_that_was_kept(store: Store, tmp_path: Path) -> None:
    env = isolated(tmp_path, PYTHONPATH=str(Path(__file__).parents[1]))
    last = -1
    for turn in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, store.folder], env=env, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        told = [process.stdout.readline()]
        threading.Timer(0.01 + turn * 0.004, process.kill).start()
        told += process.stdout.readlines()
        process.wait(10)
        process.stdout.close()
        numbers = [int(line) for line in told if line.endswith("\n")]
        assert numbers[0] > last
        last = numbers[-1]
        found = [int(each.id) for each in store.pictures()]
        # One more may be complete than was told.
        assert found[0] in (last, last + 1)
        last = found[0]
        for number in found:
            assert len(store.jpeg(number)) == 9000
        page = store.page(Wanted(), limit=1, before=None, most_folders=99)
        assert page.damaged <= turn + 1
    assert store.usage().bytes <= 1 << 18


# Many


def fill(folder: Path, count: int) -> None:
    """Write what add() would, but without waiting for the disk each time."""
    for first in range(0, count, PER_FOLDER):
        within = folder / str(first // PER_FOLDER)
        within.mkdir(parents=True)
        lines = []
        for number in range(first, min(first + PER_FOLDER, count)):
            (within / f"{number}.jpg").write_bytes(JPEG)
            kind = KINDS[number % 3]
            lines.append(picture_line(picture(id=str(number), kind=kind, name=f"n{number}")))
        (within / "lines.jsonl").write_bytes(b"".join(lines))


def test_a_hundred_thousand_pictures_are_listed_and_added_to(
    tmp_path: Path, figures: Callable[[str], None], long: bool
) -> None:
    """In the short form some fewer, which is as many folders as one answer looks into, and more."""
    folder = tmp_path / "kept"
    count = 100_000 if long else 25_000
    fill(folder, count)
    store = Store(folder)

    def timed(what: str, call: Callable[[], T]) -> T:
        tracemalloc.start()
        started_s = time.monotonic()
        found = call()
        took_s = time.monotonic() - started_s
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        figures(f"{what}: {took_s:.2f} s (while memory is traced), {peak / MIB:.1f} MiB")
        assert peak < 30 * MIB
        return found

    newest = timed("the newest 20", lambda: [*islice(store.pictures(), 20)])
    assert newest[0].id == str(count - 1)
    assert timed("measuring all", store.usage).pictures == count
    kept = timed("adding one", lambda: store.add(picture(), JPEG, max_bytes=4 << 30))
    assert kept.id == str(count)
    wanted = Wanted(label="n3")
    page = timed(
        "a page that finds nothing",
        lambda: store.page(wanted, limit=20, before=None, most_folders=40),
    )
    assert page.pictures == ()
    found: list[KeptPicture] = []
    before: str | None = "1000000"
    asked = 0
    while before is not None:
        each = store.page(wanted, limit=20, before=int(before), most_folders=40)
        asked += 1
        found += each.pictures
        before = each.before
    assert [one.id for one in found] == ["3"]
    assert asked == count // PER_FOLDER // 40 + 1


def test_two_who_write_at_a_time_do_not_disturb_each_other(store: Store) -> None:
    stores = [Store(store.folder) for _ in range(3)]
    numbers: list[str] = []

    def run(own: Store) -> None:
        for _ in range(15):
            numbers.extend(add(own))
            own.label(int(numbers[0]), f"{time.monotonic()}")

    workers = [threading.Thread(target=run, args=(own,)) for own in stores]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert sorted(map(int, numbers)) == list(range(45))
    page = store.page(Wanted(), limit=99, before=None, most_folders=9)
    assert (len(page.pictures), page.damaged) == (45, 0)


def test_a_disk_without_space_is_said_and_used_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        store = Store(disk / "kept")
        add(store, 3)
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space"), ballast.open("wb") as file:
            file.write(bytes(1 << 20))
        for _ in range(5):
            with pytest.raises(KeepError, match="no space left on device"):
                store.add(picture(), bytes(50_000), max_bytes=1 << 28)
        assert ids(store) == ["2", "1", "0"]
        assert list(store.folder.rglob("*.part")) == []
        store.throw_away(0)
        ballast.unlink()
        assert add(store) == ["3"]
        assert ids(store) == ["3", "2", "1"]
        page = store.page(Wanted(), limit=9, before=None, most_folders=9)
        assert page.damaged == 0
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
