"""Disks that are damaged, full or read-only: the buffer goes on, and says what it has lost."""

import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Figures
from support.brokers import Mosquitto, needs_mosquitto, wait_until
from support.open_files import open_files

from edgeclassifier.buffer.disk import DiskBuffer
from edgeclassifier.contract.messages import Message
from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.mqtt.session import Session

MIB = 1024 * 1024


def message(number: int) -> Message:
    return Message(topic="n", payload=b"%d" % number + b" " * 700, keep=True)


def started(path: Path, **changes: Any) -> DiskBuffer:
    arguments: dict[str, Any] = {"max_bytes": 8 * MIB, "write_interval_s": 0.0, "retry_s": 0.05}
    buffer = DiskBuffer(path=path, **{**arguments, **changes})
    buffer.start(on_ready=lambda: None)
    return buffer


def fill(buffer: DiskBuffer, numbers: range) -> None:
    for number in numbers:
        buffer.add(message(number))


def drain(buffer: DiskBuffer) -> list[int]:
    found = []

    def is_empty() -> bool:
        while (kept := buffer.take()) is not None:
            found.append(int(kept.message.payload))
            buffer.remove(kept)
        return buffer.status().pending == 0

    assert wait_until(is_empty), buffer.status()
    return found


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its journal, as a killed process leaves them."""
    folder = tmp_path_factory.mktemp("sound")
    buffer = started(folder / "work" / "buffer.sqlite")
    for start in range(0, 2000, 100):
        fill(buffer, range(start, start + 100))
        assert wait_until(lambda count=start + 100: buffer.status().written_messages == count)  # type: ignore[misc]
    shutil.copytree(folder / "work", folder / "killed")
    buffer.close(timeout_s=10)
    assert (folder / "killed" / "buffer.sqlite-wal").stat().st_size > 0
    return folder / "killed"


def damage(path: Path, chance: random.Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(chance.choice([1, 1, 3, 20])):
            match chance.randrange(4):
                case 0:
                    file.truncate(chance.randrange(size + 1))
                case 1:  # the beginning says how the rest is to be read
                    file.seek(chance.randrange(min(size, 200)))
                    file.write(chance.randbytes(chance.randrange(1, 40)))
                case 2:
                    file.seek(chance.randrange(size))
                    file.write(chance.randbytes(chance.choice([1, 8, 512, 4096, 40_000])))
                case 3:
                    file.seek(chance.randrange(size) // 4096 * 4096)
                    file.write(bytes(4096))


@pytest.mark.timeout(300)
def test_no_damage_to_the_files_stops_it(
    tmp_path: Path, sound: Path, long: bool, figures: Figures
) -> None:
    """Never an error, never a hang; what can be read is sent in order, and new messages always."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    chance = random.Random(seed)
    rounds = 400 if long else 25
    anew = survived = 0
    for turn in range(rounds):
        folder = tmp_path / str(turn)
        shutil.copytree(sound, folder)
        damage(folder / chance.choice(["buffer.sqlite", "buffer.sqlite-wal"]), chance)
        buffer = started(folder / "buffer.sqlite", write_interval_s=chance.choice([0.0, 0.01]))
        fill(buffer, range(2000, 2010))
        found = drain(buffer)
        assert found == sorted(set(found)), f"seed {seed}, round {turn}"
        assert found[-10:] == list(range(2000, 2010)), f"seed {seed}, round {turn}"
        fill(buffer, range(3000, 3005))
        buffer.close(timeout_s=10)
        assert "buffer" not in {thread.name for thread in threading.enumerate()}
        assert buffer.status().problem is None, f"seed {seed}, round {turn}"
        buffer = started(folder / "buffer.sqlite")
        assert wait_until(lambda: buffer.status().pending), f"seed {seed}, round {turn}"  # noqa: B023 - at once
        assert drain(buffer) == list(range(3000, 3005)), f"seed {seed}, round {turn}"
        buffer.close(timeout_s=10)
        anew += (folder / "buffer.sqlite.corrupt").exists()
        survived += len(found) - 10
        shutil.rmtree(folder)
    figures(
        f"seed {seed}: {rounds} damaged files, {anew} set aside, "
        f"{survived / rounds:.0f} of 2000 messages survived on average"
    )


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """Put a small disk of its own at `folder`."""
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs to be root to mount a small disk")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=20)


def test_a_full_disk_is_survived_and_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with mounted(folder, "2m"):
        (folder / "ballast").write_bytes(bytes(1_200_000))
        buffer = started(folder / "buffer.sqlite")
        numbers = range(3000)
        for start in range(0, 3000, 100):
            fill(buffer, range(start, start + 100))
            time.sleep(0.01)
        assert wait_until(lambda: buffer.status().problem)
        assert "the disk is full; free some space" in str(buffer.status().problem)
        assert buffer.status().storage == "memory"
        (folder / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=32m", folder], check=True, timeout=20)
        assert wait_until(lambda: buffer.status().storage == "disk")
        assert buffer.status().dropped == 0
        assert drain(buffer) == list(numbers)
        buffer.close(timeout_s=10)


def test_a_disk_that_becomes_read_only_is_survived_and_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with mounted(folder, "32m"):
        buffer = started(folder / "buffer.sqlite")
        fill(buffer, range(10))
        assert wait_until(lambda: buffer.status().written_messages == 10)
        buffer.close(timeout_s=10)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True, timeout=20)
        buffer = started(folder / "buffer.sqlite")
        fill(buffer, range(10, 20))
        assert wait_until(lambda: buffer.status().problem)
        assert buffer.status().storage == "memory"
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True, timeout=20)
        assert wait_until(lambda: buffer.status().storage == "disk")
        assert drain(buffer) == list(range(20))
        buffer.close(timeout_s=10)


def test_a_limit_on_the_size_of_files_is_an_error_like_any_other(tmp_path: Path) -> None:
    script = f"""
import resource, signal, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_buffer_faulty_disk import started, fill, drain, wait_until
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
buffer = started(Path({str(tmp_path / "buffer.sqlite")!r}))
fill(buffer, range(1000))
assert wait_until(lambda: buffer.status().problem)
assert buffer.status().storage == "memory"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert wait_until(lambda: buffer.status().storage == "disk")
assert drain(buffer) == list(range(1000))
buffer.close(timeout_s=10)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def written_bytes() -> int:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


def session(port: int, buffer: DiskBuffer) -> Session:
    return Session(
        broker=Broker(
            host="127.0.0.1",
            port=port,
            protocol="5",
            client_id="device",
            username=None,
            password=None,
            tls=None,
            keepalive_s=30,
        ),
        buffer=buffer,
        reconnect_min_s=0.05,
        reconnect_max_s=0.2,
        max_queued=100,
        will=None,
    )


@needs_mosquitto
@pytest.mark.timeout(300)
def test_the_steady_state_writes_nothing_and_an_outage_little(
    tmp_path: Path, long: bool, figures: Figures
) -> None:
    path = tmp_path / "buffer.sqlite"
    interval_s, seconds = (5.0, 40.0) if long else (0.5, 3.0)
    with Mosquitto(tmp_path) as broker:
        buffer = DiskBuffer(path=path, max_bytes=8 * MIB, write_interval_s=interval_s)
        running = session(broker.port, buffer)
        running.start()
        assert wait_until(lambda: running.connected and buffer.status().storage == "disk")

        files = seen(path)
        publish_at_10_hz(running, seconds)
        assert wait_until(lambda: running.pending == 0)
        assert buffer.status().commits == 0
        assert files == seen(path)

        broker.kill()
        assert wait_until(lambda: not running.connected)
        before = written_bytes()
        count = publish_at_10_hz(running, seconds)
        assert wait_until(lambda: buffer.status().commits > 0)
        written, status = written_bytes() - before, buffer.status()
        broker.start()
        assert wait_until(lambda: running.pending == 0)
        running.stop(last=None, timeout_s=10)
    figures(
        f"outage of {seconds:.0f} s, {count} messages of 700 bytes at 10/s, written every "
        f"{interval_s} s: {status.commits} commits, {status.written_bytes / 1000:.0f} kB of "
        f"messages, {written / 1000:.0f} kB written by the process "
        f"({written / seconds * 86400 / 1e6:.0f} MB a day)"
    )
    assert status.commits <= seconds / interval_s + 2
    assert running.status.dropped == 0


def seen(path: Path) -> list[tuple[str, int, int]]:
    files = [path, path.with_name(path.name + "-wal")]
    return [(each.name, each.stat().st_mtime_ns, each.stat().st_size) for each in files]


def publish_at_10_hz(running: Session, seconds: float) -> int:
    count = int(seconds * 10)
    for number in range(count):
        running.publish(message(number))
        time.sleep(0.1)
    return count


def test_thousands_of_restarts_leak_nothing(tmp_path: Path, long: bool) -> None:
    path = tmp_path / "buffer.sqlite"

    def cycle() -> None:
        # The backlog grows to the limit, and every start reads all of it.
        buffer = started(path, max_bytes=MIB // 4)
        fill(buffer, range(3))
        buffer.close(timeout_s=10)

    for _ in range(5):
        cycle()
    files = open_files()
    memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2000 if long else 50):
        cycle()
    assert open_files() <= files
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < memory_kib + 20_000
