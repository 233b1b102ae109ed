"""How often a label was seen, in the days of a time zone, on a clock that may not be set."""

import json
import logging
import random
import time
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.brokers import wait_until
from support.kept import change

from edgeclassifier.daemon.sightings import FILE, Sightings, SightingsWriter

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Clock:
    """A wall clock that can be set, beside a monotonic one."""

    def __init__(self) -> None:
        self.now, self.now_s, self.right = NOON, 1000.0, True

    def go(self, **time: float) -> None:
        self.now += timedelta(**time)
        self.now_s += timedelta(**time).total_seconds()

    def set(self, now: datetime, *, right: bool = True) -> None:
        self.now, self.right = now, right


class Watch:
    """One view and what is counted of it."""

    def __init__(self, folder: Path | None, zone: tzinfo | None = UTC) -> None:
        self.clock = Clock()
        self.folder, self.zone = folder, zone
        self.restart()

    def restart(self) -> None:
        self.sightings = Sightings(self.folder, zone=self.zone)

    @property
    def _when(self) -> dict[str, Any]:
        return {"now": self.clock.now, "now_s": self.clock.now_s, "right": self.clock.right}

    def sees(self, name: str | None, *, view: str = "cam0") -> Any:
        state = change("unknown", class_id=None) if name is None else change(name)
        self.sightings.note(view, state, **self._when)
        return self.seen(view=view)

    def seen(self, *, view: str = "cam0") -> Any:
        found = self.sightings.seen(view, **self._when)
        return found and tuple(found.values())


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def at(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_a_label_is_counted_each_time_that_it_takes_over(watch: Watch) -> None:
    assert watch.sees("cat") == (None, 1, True, True)
    watch.clock.go(minutes=5)
    assert watch.seen() == (None, 1, True, True), "it lasts"
    assert watch.sees("dog") == (None, 1, True, True)
    watch.clock.go(minutes=5)
    assert watch.sees("cat") == (at(NOON + timedelta(minutes=5)), 2, False, False)
    watch.clock.go(days=1)
    watch.sees(None)
    assert watch.sees("cat")[1:] == (2, False, False), "it was there at midnight"
    watch.clock.go(minutes=1)
    watch.sees(None)
    watch.clock.go(days=1)
    assert watch.sees("cat") == (at(watch.clock.now - timedelta(days=1)), 1, True, False), "away"


def test_no_class_is_nothing_that_was_seen(watch: Watch) -> None:
    assert watch.sees(None) is None
    assert watch.seen() is None
    assert watch.sightings.status.labels == 0


def test_views_are_counted_one_by_one(watch: Watch) -> None:
    watch.sees("cat", view="door")
    assert watch.sees("cat", view="yard") == (None, 1, True, True)
    assert watch.sightings.status.labels == 2


@pytest.mark.parametrize(
    ("zone", "until", "days"),
    [
        (UTC, timedelta(hours=11, minutes=59), 1),
        (UTC, timedelta(hours=12), 2),
        (ZoneInfo("Europe/Zurich"), timedelta(hours=9, minutes=59), 1),
        (ZoneInfo("Europe/Zurich"), timedelta(hours=10), 2),
        (ZoneInfo("Pacific/Kiritimati"), timedelta(hours=22), 2),
    ],
)
def test_a_day_is_one_of_the_time_zone(
    tmp_path: Path, zone: tzinfo, until: timedelta, days: int
) -> None:
    watch = Watch(tmp_path, zone)
    watch.sees("cat")
    watch.sees("dog")
    watch.clock.go(seconds=until.total_seconds())
    assert watch.sees("cat")[1:3] == ((1, True) if days == 2 else (2, False))


def test_the_day_on_which_the_clocks_change_is_one_day(tmp_path: Path) -> None:
    watch = Watch(tmp_path, ZoneInfo("Europe/Zurich"))
    watch.clock.set(datetime(2026, 10, 24, 22, 5, tzinfo=UTC))  # 00:05 on a day of 25 hours
    watch.sees("cat")
    watch.sees("dog")
    watch.clock.go(hours=24, minutes=50)
    assert watch.sees("cat")[1] == 2
    watch.sees("dog")
    watch.clock.go(minutes=10)
    assert watch.sees("cat")[1] == 1


def test_what_lasts_over_midnight_is_seen_on_the_new_day(watch: Watch) -> None:
    for _ in range(3):
        watch.sees("dog")
        watch.sees("cat")
    assert watch.seen()[1] == 3
    watch.clock.go(hours=13)
    assert watch.seen()[1:3] == (1, True)
    assert watch.seen()[1] == 1
    watch.sees("dog")
    assert watch.sees("cat")[1] == 2


# A clock that is not set, or is set wrong


def test_while_the_clock_is_not_set_nothing_of_it_is_said(watch: Watch) -> None:
    watch.clock.set(datetime(1970, 1, 1, tzinfo=UTC), right=False)
    assert watch.sees("cat") == (None, None, None, True)
    watch.sees("dog")
    assert watch.sees("cat") == (None, None, None, False)


def test_what_was_seen_before_the_clock_was_set_counts_for_the_time_it_had(watch: Watch) -> None:
    watch.clock.set(datetime(1970, 1, 1, tzinfo=UTC), right=False)
    watch.sees("cat")
    watch.clock.go(minutes=1)
    watch.sees("dog")
    watch.clock.go(minutes=1)
    watch.sees("cat")
    watch.clock.set(NOON)
    assert watch.seen() == (None, 2, False, False)
    watch.sees("dog")
    watch.clock.go(minutes=1)
    assert watch.sees("cat") == (at(NOON), 3, False, False)


def test_what_was_seen_before_midnight_does_not_count_for_the_day_after(watch: Watch) -> None:
    watch.clock.set(datetime(1970, 1, 1, tzinfo=UTC), right=False)
    watch.sees("cat")
    watch.sees("dog")
    watch.clock.go(minutes=2)
    watch.clock.set(datetime(2026, 6, 2, 0, 1, tzinfo=UTC))
    assert watch.sees("cat")[1] == 1


def test_a_clock_set_back_a_year_counts_a_day_of_its_own(watch: Watch) -> None:
    for _ in range(4):
        watch.sees("cat")
        watch.sees("dog")
    watch.clock.set(NOON - timedelta(days=365))
    last, today, first_today, first_ever = watch.sees("cat")
    assert (today, first_today, first_ever) == (1, True, False)
    assert last is None or last <= at(watch.clock.now), "it was not seen in the future"
    watch.clock.set(NOON)
    watch.sees("dog")
    assert watch.sees("cat")[3] is False


# A restart


def test_counts_outlive_a_restart_and_a_restart_is_no_sighting(watch: Watch) -> None:
    watch.sees("dog")
    watch.sees("cat")
    assert watch.sightings.save()
    watch.restart()
    watch.clock.go(minutes=1)
    assert watch.sees("cat")[1:] == (1, True, False)
    watch.sees("dog")
    assert watch.sees("cat")[1:] == (2, False, False)


def test_another_label_after_a_restart_is_a_sighting(watch: Watch) -> None:
    watch.sees("cat")
    watch.sees(None)
    watch.sightings.save()
    watch.restart()
    assert watch.sees("cat")[1] == 2


def test_labels_of_any_kind_come_back(watch: Watch) -> None:
    labels = ["a/b", "two\nlines", "🦆", "<b>", "x" * 300, "\ud800", ""]
    for label in labels:
        watch.sees(label)
    watch.sightings.save()
    watch.restart()
    assert [watch.sees(label)[3] for label in labels] == [False] * len(labels)


def test_the_number_of_labels_is_bounded(watch: Watch) -> None:
    for number in range(2100):
        watch.clock.go(seconds=1)
        watch.sees(f"{number} " + "x" * 300)
    assert watch.sightings.status.labels == 2000
    watch.sightings.save()
    watch.restart()
    assert watch.sightings.status.labels == 2000
    assert watch.sees("2099 " + "x" * 300)[3] is False
    assert watch.sees("3 " + "x" * 300)[3] is True


SPOILT: list[bytes] = [
    *(b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"views":{}}'),
    *(b'{"views":{"a":{"b":["x",null,0]}},"holders":{}}', b'{"views":7,"holders":{}}'),
    b'{"views":{"a":{"b":["2026-01-01T00:00:00",null,0]}},"holders":{}}',
    b'{"views":{"a":{"b":[null,null,"1"]}},"holders":{}}',
    b'{"views":{"a":{"b":[null,null,1]}},"holders":[]}',
]


@pytest.mark.parametrize("content", SPOILT)
def test_a_damaged_file_is_said_and_counting_begins_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    watch = Watch(tmp_path)
    assert "counting begins anew" in caplog.text
    assert watch.sees("cat") == (None, 1, True, True)
    assert watch.sightings.save()
    assert json.loads((tmp_path / FILE).read_text())["holders"] == {"cam0": "cat"}


def test_bytes_that_were_changed_at_random_stop_nothing(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    for name in ("cat", "dog", "Käse"):
        watch.sees(name)
    watch.sightings.save()
    good = (tmp_path / FILE).read_bytes()
    chance = random.Random(7)
    for _ in range(300):
        spoilt = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        (tmp_path / FILE).write_bytes(spoilt)
        again = Watch(tmp_path)
        assert again.sees("cat")
        again.sightings.save()


# Writing


def test_nothing_is_written_unless_something_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(tmp_path)
    saved: list[bool] = []
    save = Sightings.save

    def counted(sightings: Sightings) -> bool:
        saved.append(True)
        return save(sightings)

    monkeypatch.setattr(Sightings, "save", counted)
    writer = SightingsWriter(watch.sightings, interval_s=0.02)
    writer.start()
    watch.sees("cat")
    assert wait_until(lambda: saved)
    assert wait_until((tmp_path / FILE).exists)
    for _ in range(100):
        watch.seen()
    writer.stop()
    assert len(saved) == 1


def test_a_new_label_is_written_soon_and_other_counts_later(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    writer = SightingsWriter(watch.sightings, interval_s=3600, soon_s=0.02)
    writer.start()
    watch.sees("cat")
    assert wait_until((tmp_path / FILE).exists)
    assert wait_until(lambda: not watch.sightings.changed.is_set())
    watch.sees(None)
    watch.sees("cat")
    time.sleep(0.2)
    assert watch.sightings.changed.is_set()
    writer.stop()
    assert not watch.sightings.changed.is_set()


def test_all_is_written_at_the_end(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    writer = SightingsWriter(watch.sightings, interval_s=3600)
    writer.start()
    watch.sees("cat")
    writer.stop()
    assert Watch(tmp_path).sees("cat")[3] is False


def test_a_disk_that_fails_is_said_once_shown_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "state"
    folder.write_text("in the way")
    watch = Watch(folder)
    writer = SightingsWriter(watch.sightings, interval_s=0.02)
    writer.start()
    watch.sees("cat")

    def problem() -> str | None:
        return watch.sightings.status.problem

    assert wait_until(lambda: problem() is not None)
    assert "do not outlive a restart" in str(problem())
    folder.unlink()
    assert wait_until(lambda: problem() is None)
    writer.stop()
    assert caplog.text.count("do not outlive a restart") == 1
    assert (folder / FILE).exists()


def test_without_a_folder_counts_last_as_long_as_the_daemon() -> None:
    watch = Watch(None)
    watch.sees("cat")
    watch.sees("dog")
    assert watch.sees("cat")[1] == 2
    assert watch.sightings.save()
