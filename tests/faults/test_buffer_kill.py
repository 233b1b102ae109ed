"""The proof that nothing published is lost: broker and daemon are killed at random moments."""

import json
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from conftest import Figures
from support.archive import BROKER, PATIENCE_S, Archive
from support.brokers import Mosquitto, needs_mosquitto, wait_until
from support.daemon import SAMPLES, Daemon, isolated
from support.tiny_models import LABELS, classifier

pytestmark = needs_mosquitto

Id = tuple[str, int]


class Ids(Archive):
    """Numbers of messages, in the order of their arrival."""

    def __init__(self, port: int) -> None:
        self.ids: list[Id] = []
        super().__init__(port, self._take)

    def _take(self, topic: str, payload: bytes) -> None:
        if topic.rpartition("/")[2] in {"predictions", "state", "event"}:
            self.ids.append(identity(payload))

    def has_boots(self, count: int) -> bool:
        with self.lock:
            return len({boot for boot, _ in self.ids}) >= count

    @property
    def received(self) -> list[Id]:
        with self.lock:
            return list(self.ids)


def identity(payload: bytes | bytearray) -> Id:
    message = json.loads(payload)
    return message["boot_id"], message["seq"]


def stored(path: Path, scratch: Path) -> list[Id]:
    """Read what a killed daemon has left, from a copy: a reader would change the original."""
    scratch.mkdir(exist_ok=True)
    for old in scratch.iterdir():
        old.unlink()
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy(source, scratch / source.name)
    copy = scratch / path.name
    if not copy.exists() or not copy.stat().st_size:
        return []
    with closing(sqlite3.connect(copy)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages'").fetchall():
            return []
        rows = database.execute("SELECT payload FROM messages ORDER BY number").fetchall()
    return [identity(payload) for (payload,) in rows]


@contextmanager
def daemon(folder: Path, port: int, *, write_interval_s: float) -> Iterator[Daemon]:
    model, labels = folder / "tiny.tflite", folder / "labels.txt"
    model.write_bytes(classifier())
    labels.write_text("\n".join(LABELS))
    settings: dict[str, str | int | float] = {
        "camera.source": "replay",
        "camera.replay.path": str(SAMPLES),
        "camera.replay.rate_hz": 40,
        "model.name": str(model),
        "model.labels": str(labels),
        "state.threshold": 0,
        "state.hold_s": 0,
        "state.heartbeat_s": 0.2,
        "device.id": "device",
        "mqtt.host": "127.0.0.1",
        "mqtt.port": port,
        "mqtt.max_rate_hz": 0,
        "mqtt.reconnect_min_s": 0.02,
        "mqtt.reconnect_max_s": 0.3,
        "buffer.storage": "disk",
        "buffer.path": str(folder / "buffer.sqlite"),
        "buffer.write_interval_s": write_interval_s,
    }
    with Daemon(env=isolated(folder), settings=settings) as running:
        yield running


@pytest.mark.timeout(600)
@pytest.mark.parametrize("write_interval_s", [0, 0.5])
def test_whatever_is_killed_everything_accepted_arrives_in_order(
    tmp_path: Path, long: bool, figures: Figures, write_interval_s: float
) -> None:
    kills = {"broker": 20, "daemon": 20} if long else {"broker": 2, "daemon": 2}
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    chance = random.Random(seed)
    victims = [name for name, count in kills.items() for _ in range(count)]
    chance.shuffle(victims)
    location = tmp_path / "broker"
    location.mkdir()
    accepted: set[Id] = set()
    boots = 0
    buffer = tmp_path / "buffer.sqlite"
    broker = Mosquitto(tmp_path, lines=[*BROKER, f"persistence_location {location}/"])
    with broker, Ids(broker.port) as archive:
        victims.append("nobody")
        while victims:
            with daemon(tmp_path, broker.port, write_interval_s=write_interval_s) as running:
                boots += 1
                assert wait_until(partial(archive.has_boots, boots), timeout_s=PATIENCE_S), (
                    running.lines
                )
                while (victim := victims.pop(0)) == "broker":
                    kill_broker(broker, archive, chance)
                # Half of the time the broker is away, so that there is a backlog.
                away = victim == "daemon" and chance.random() < 0.5
                if away:
                    assert archive.wait_for_connection()
                    broker.kill()
                time.sleep(chance.uniform(0, 1.5))
                if victim == "nobody":
                    running.stop()
                    assert running.wait() == 0, running.lines
            accepted.update(stored(buffer, tmp_path / "copy"))
            if away:
                broker.start()
                assert archive.wait_for_connection()
        assert wait_until(lambda: accepted <= set(archive.received), timeout_s=PATIENCE_S)
        received = archive.received
    by_boot = firsts(received)
    lost = accepted - set(received)
    repeats = len(received) - len(set(received))
    gaps = sum(seqs[-1] + 1 - len(seqs) for seqs in by_boot.values())
    figures(
        f"seed {seed}: {kills['broker']} kills of the broker, {kills['daemon']} of the daemon, "
        f"{len(by_boot)} boots, {len(accepted)} found on disk after a kill, "
        f"{len(set(received))} received, {repeats} repeats, {gaps} gaps, {len(lost)} lost"
    )
    assert not lost
    for boot, seqs in by_boot.items():
        assert seqs == sorted(seqs), f"{boot} out of order"
        if write_interval_s == 0:
            assert seqs == list(range(len(seqs))), f"{boot} has gaps"
    assert len(by_boot) == kills["daemon"] + 1


def kill_broker(broker: Mosquitto, archive: Ids, chance: random.Random) -> None:
    """At a random moment, but only while the subscriber is there."""
    time.sleep(chance.uniform(0, 1.0))
    assert archive.wait_for_connection()
    broker.kill()
    time.sleep(chance.uniform(0, 0.5))
    broker.start()
    assert archive.wait_for_connection()


def firsts(received: list[Id]) -> dict[str, list[int]]:
    """Return, for each boot, the numbers in the order in which each came for the first time."""
    found: dict[str, dict[int, None]] = {}
    for boot, seq in received:
        found.setdefault(boot, {})[seq] = None
    return {boot: list(seqs) for boot, seqs in found.items()}
