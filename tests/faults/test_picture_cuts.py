"""The proof that an event has its picture or says why not: cut and killed at random moments."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Figures
from support.archive import BROKER, PATIENCE_S, Archive
from support.brokers import Mosquitto, needs_mosquitto, wait_until
from support.daemon import SAMPLES, Daemon, isolated
from support.pictured import Matcher, pictured
from support.relay import Relay
from support.sessions import Protocol, sessions
from support.tiny_models import LABELS, classifier

from edgeclassifier.buffer import Buffer, MemoryBuffer
from edgeclassifier.buffer.disk import DiskBuffer

pytestmark = needs_mosquitto
MIB = 1024 * 1024


class Album(Archive):
    """Matches events with their pictures as they come."""

    def __init__(self, port: int) -> None:
        self.matcher = Matcher()
        super().__init__(port, self.matcher.take)

    @property
    def events(self) -> int:
        with self.lock:
            return len(self.matcher.seen)

    def has_boots(self, count: int) -> bool:
        with self.lock:
            return len({boot for boot, _ in self.matcher.seen}) >= count

    def report(self) -> str:
        """Say what events said of their pictures."""
        counts = Counter(self.matcher.seen.values())
        return ", ".join(f"{count} {said}" for said, count in sorted(counts.items()))


def seeded() -> tuple[int, random.Random]:
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    return seed, random.Random(seed)


@contextmanager
def lasting_broker(folder: Path) -> Iterator[Mosquitto]:
    location = folder / "broker"
    location.mkdir()
    with Mosquitto(folder, lines=[*BROKER, f"persistence_location {location}/"]) as broker:
        yield broker


def kill(broker: Mosquitto, album: Album, chance: random.Random) -> None:
    """Only while the subscriber is there."""
    assert album.wait_for_connection()
    broker.kill()
    time.sleep(chance.uniform(0, 0.3))
    broker.start()
    assert album.wait_for_connection()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", ["ample", "tight"])
@pytest.mark.parametrize("storage", ["memory", "disk"])
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_every_event_has_its_picture_or_says_why_not(  # noqa: PLR0917 - fixtures
    tmp_path: Path, long: bool, figures: Figures, protocol: Protocol, storage: str, share: str
) -> None:
    """With a tight share of the buffer some pictures have to give way."""
    events, faults = (200, 20) if long else (60, 6)
    seed, chance = seeded()
    pictures = 8 * MIB if share == "ample" else MIB // 8
    sizes: dict[str, Any] = {"max_bytes": MIB, "max_picture_bytes": pictures}
    buffer: Buffer = MemoryBuffer(**sizes)
    if storage == "disk":
        path = tmp_path / "buffer.sqlite"
        buffer = DiskBuffer(path=path, write_interval_s=0.2, **sizes)
    due = set(chance.sample(range(events), faults))
    with (
        lasting_broker(tmp_path) as broker,
        Album(broker.port) as album,
        Relay(broker.port) as relay,
        sessions(max_queued=100) as make,
    ):
        session = make(relay.port, protocol=protocol, buffer=buffer, backlog_rate_hz=0)
        confirmed = 0

        def goes_on() -> bool:
            return session.acknowledged >= confirmed + 4 or session.pending == 0

        for number in range(events):
            session.publish(pictured(number, size=chance.randrange(1000, 40_000)))
            if number in due:
                # What several connections in a row are lost over is taken to be to blame.
                assert wait_until(goes_on, timeout_s=PATIENCE_S)
                confirmed = session.acknowledged
                time.sleep(chance.uniform(0, 0.02))
                if chance.random() < 0.5:
                    relay.cut()
                else:
                    kill(broker, album, chance)
            elif chance.random() < 0.5:
                time.sleep(chance.uniform(0, 0.05))
        assert wait_until(lambda: session.pending == 0, timeout_s=PATIENCE_S)
        assert wait_until(lambda: album.events == events, timeout_s=PATIENCE_S)
        reconnects, dropped = session.status.reconnects, session.buffer.pictures_dropped
    matcher = album.matcher
    figures(
        f"seed {seed}: {faults} cuts and kills, {reconnects} reconnects, {events} events, of which "
        f"{album.report()}, {len(matcher.unmatched)} unmatched"
    )
    assert matcher.numbers == list(range(events)), "out of order"
    assert not matcher.unmatched
    counts = Counter(matcher.outcomes.values())
    # Three connections lost over pictures alone: then it may well be the picture.
    assert counts.keys() <= {"picture", "buffer", "closed"}
    assert counts["buffer"] + counts["closed"] == dropped
    assert (counts["buffer"] > 0) == (share == "tight")
    assert reconnects > 0


@contextmanager
def daemon(folder: Path, port: int, protocol: Protocol) -> Iterator[Daemon]:
    """Run one with an event, and its picture, for each frame that differs from the one before."""
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
        "state.window_s": 0,
        "state.hold_s": 0,
        "image.enabled": "true",
        "image.on": "event",
        "device.id": "device",
        "mqtt.host": "127.0.0.1",
        "mqtt.port": port,
        "mqtt.protocol": f'"{protocol}"',
        "mqtt.reconnect_min_s": 0.02,
        "mqtt.reconnect_max_s": 0.3,
        # With a pace, what is new overtakes a backlog of more than ten seconds.
        "mqtt.backlog_rate_hz": 0,
        "buffer.storage": "disk",
        "buffer.path": str(folder / "buffer.sqlite"),
        "buffer.write_interval_s": 0.1,
    }
    with Daemon(env=isolated(folder), settings=settings) as running:
        yield running


@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_daemon_that_is_killed_leaves_no_event_without_its_picture(
    tmp_path: Path, long: bool, figures: Figures, protocol: Protocol
) -> None:
    """What it had not written is lost, event and picture alike."""
    kills = 20 if long else 3
    seed, chance = seeded()
    with lasting_broker(tmp_path) as broker, Album(broker.port) as album:
        for number in range(kills + 1):
            with daemon(tmp_path, broker.port, protocol) as running:
                shown = partial(album.has_boots, number + 1)
                assert wait_until(shown, timeout_s=PATIENCE_S), running.lines
                if away := chance.random() < 0.5:
                    assert album.wait_for_connection()
                    broker.kill()
                time.sleep(chance.uniform(0, 1.0))
                if away and number % 2:
                    broker.start()
                    assert album.wait_for_connection()
                    away = False
                if number == kills:
                    running.stop()
                    assert running.wait() == 0, running.lines
            if away:
                broker.start()
                assert album.wait_for_connection()
        assert album.wait_for_connection()
    matcher = album.matcher
    boots = {boot for boot, _ in matcher.seen}
    figures(
        f"seed {seed}: {kills} kills, {len(boots)} boots, {len(matcher.seen)} events, of which "
        f"{album.report()}, {len(matcher.unmatched)} unmatched"
    )
    assert len(boots) == kills + 1
    assert not matcher.unmatched
    assert set(matcher.seen.values()) <= {"picture", "buffer"}
    for boot in boots:
        numbers = [seq for each, seq in matcher.seen if each == boot]
        assert numbers == sorted(numbers), f"{boot} out of order"
