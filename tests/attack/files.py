"""Files that no release would leave: the buffer's, and models."""

import os
import random
import sqlite3
import subprocess
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from support.brokers import free_port
from support.daemon import SAMPLES, Daemon, isolated, run_cli
from support.fuzz.mutations import mutate
from support.tiny_models import (
    LABELS,
    classifier,
    nested_metadata,
    repeated_metadata,
    with_files,
)

from attack.report import Figures
from attack.victim import BASE, base_settings, broker_behind_a_door, running
from attack.witness import Messages, Subscriber
from edgeclassifier.buffer.rows import INSERT, TABLE

_IN_TIME_S = 30.0
_WORKS, _REFUSED = 0, 78
_COLUMNS = "number, topic, payload, retain, content_type, size_bytes, checksum"

Row = tuple[Any, ...]


def _row(number: int, **changes: Any) -> Row:
    """Return a row of the buffer with the right checksum, but for the changes."""
    row = {"topic": "attacked/porch/old", "payload": b"{}", "retain": 0, "content_type": "a/b"}
    row |= {"size_bytes": 200, **changes}
    head = f"{row['topic']}\0{row['retain']}\0{row['content_type']}"
    payload = row["payload"] if isinstance(row["payload"], bytes) else b""
    return (number, *row.values(), zlib.crc32(payload, zlib.crc32(head.encode(errors="replace"))))


_ROWS: dict[str, Sequence[Row]] = {
    "topics": [_row(n, topic=t) for n, t in enumerate(("", "#", "a\0b", "a/" * 300 + "x", "ok"))],
    "numbers": [_row(-(2**63)), _row(5), _row(2**63 - 3), _row(2**63 - 1)],
    "sizes": [_row(n, size_bytes=size) for n, size in enumerate((2**62, 2**62, -5, -(2**62)))],
    "types": [
        *(_row(1, content_type=b"\xff"), _row(2, content_type="x" * 70_000), _row(3, payload="t")),
        *(_row(4, retain=7), _row(5, size_bytes="abc"), _row(6, payload=bytes(7_000_000))),
    ],
}
_MORE: dict[str, str] = {
    "a column more": "ALTER TABLE messages ADD COLUMN more TEXT",
    "a column less": "ALTER TABLE messages DROP COLUMN retain",
    "a view": "ALTER TABLE messages RENAME TO other; CREATE VIEW messages AS SELECT * FROM other",
    "a trigger": "CREATE TRIGGER t BEFORE DELETE ON messages BEGIN SELECT RAISE(ABORT, 'no'); END",
}


def attack_buffer(folder: Path, *, short: bool) -> Iterator[Figures]:
    """Start the daemon on odd buffers, and take the broker away for a moment."""
    total = Figures(name="files: a buffer with odd rows")
    cases: list[Callable[[Path], None]] = [
        *(lambda path, rows=rows: _make(path, rows=rows) for rows in _ROWS.values()),
        *(lambda path, more=more: _make(path, more=more) for more in _MORE.values()),
        *(lambda path, seed=seed: _damage(path, seed) for seed in range(2 if short else 20)),
        os.mkfifo,
        os.mkdir,
    ]
    for number, case in enumerate(cases[::3] if short else cases):
        (own := folder / str(number)).mkdir()
        (own / "state").mkdir()
        case(own / "state" / "buffer.sqlite")
        messages = Messages(BASE)
        with ExitStack() as stack:
            broker, door = stack.enter_context(broker_behind_a_door(own))
            stack.callback(Subscriber(broker.port, BASE, messages).close)
            settings = base_settings(own, door.port)
            settings["buffer"] = {"storage": "disk", "write_interval_s": 0.5}
            victim = stack.enter_context(running(own, settings, messages, short=short))
            with victim.attacked("", keeps="nothing"):
                door.close()
                time.sleep(1.5)
                door.open()
        total.add(victim.figures[-1])
    yield total


def _make(path: Path, *, rows: Sequence[Row] = (), more: str = "") -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(TABLE)
        for row in [*rows, *(() if rows else [_row(1)])]:
            database.execute(INSERT, row)
        database.executescript(more)
    path.chmod(0o600)


def _damage(path: Path, seed: int) -> None:
    _make(path, rows=[_row(number, payload=bytes(500)) for number in range(100)])
    path.write_bytes(mutate(path.read_bytes(), random.Random(seed)))


def attack_models(folder: Path, *, short: bool) -> Iterator[Figures]:
    """Give hostile models to every command that takes one, and to the daemon at its start."""
    for name, content in _models(short=short).items():
        with tempfile.TemporaryDirectory(dir=folder) as own:
            path = Path(own) / "hostile.tflite"
            if content is None:
                os.mkfifo(path)
            else:
                path.write_bytes(content)
            found = Figures(name=f"model: {name}")
            _try_all(found, path, isolated(Path(own)))
        yield found


def _models(*, short: bool) -> dict[str, bytes | None]:
    labels = {"labels.txt": "\n".join(LABELS).encode()}
    good = with_files(classifier(last="SOFTMAX"), labels)
    many = {f"{number}.txt": b"a\n" * 400_000 for number in range(50)}
    models: dict[str, bytes | None] = {
        "vectors in vectors in vectors": with_files(
            classifier(last="SOFTMAX", metadata=nested_metadata(3000)), labels
        ),
        "a pipe": None,
        "the same metadata 20,000 times": repeated_metadata(20_000),
    }
    if short:
        return models
    models |= {
        "cut off": good[: len(good) // 2],
        "an archive of large label files": with_files(
            classifier(last="SOFTMAX"), many, compression=zipfile.ZIP_DEFLATED
        ),
    }
    chance = random.Random(4)
    for number in range(10):
        models[f"damaged at random, {number + 1}"] = mutate(good, chance)
    return models


def _try_all(found: Figures, path: Path, env: dict[str, str]) -> None:
    for arguments in (
        ("classify", "--model", path, SAMPLES / "coffee.png"),
        ("check", "--no-camera", "--model", path),
        ("models", "add", path),
    ):
        found.inputs += 1
        try:
            done = run_cli(*arguments, env=env, timeout_s=_IN_TIME_S)
        except subprocess.TimeoutExpired:
            found.hangs += 1
            continue
        found.tracebacks += done.stderr.count("Traceback (most recent")
        found.crashes += done.returncode < 0
        if done.returncode not in {_WORKS, _REFUSED}:
            found.remarks.append(f"{arguments[0]} ended with {done.returncode}")
    found.inputs += 1
    settings: dict[str, str | int | float] = {
        "model.name": str(path),
        "camera.source": "replay",
        "camera.replay.path": str(SAMPLES / "coffee.png"),
        "mqtt.port": free_port(),
    }
    with Daemon(env=env, settings=settings) as daemon:
        if not daemon.wait_for_line("first prediction", _IN_TIME_S):
            try:
                code = daemon.wait(1)
            except subprocess.TimeoutExpired:
                found.hangs += 1
            else:
                found.crashes += code < 0
                found.remarks += [] if code == _REFUSED else [f"run ended with {code}"]
        found.tracebacks += sum("Traceback (most recent" in line for line in daemon.lines)
