"""The thread that keeps pictures: what it writes, what it does while the disk fails."""

import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.brokers import wait_until
from support.kept import change, picture, result

from edgeclassifier.contract.messages import timestamp
from edgeclassifier.host.boot import kernel_boot
from edgeclassifier.keep.keeper import Keeper, ages_by_kind
from edgeclassifier.keep.policy import KeepRules, Limit
from edgeclassifier.keep.store import Store

MakeKeeper = Callable[..., Keeper]
MANY = Limit(per_hour=3600, per_day=86_400)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "kept")


@pytest.fixture
def make(store: Store) -> Iterator[MakeKeeper]:
    keepers = []

    def start(**changes: Any) -> Keeper:
        fields: dict[str, Any] = {
            "store": store,
            "rules": KeepRules(limits={"changed": MANY}),
            "max_bytes": 1 << 24,
            "quality": 90,
            "describe": lambda result: {"origin": result.frame.origin},
            "clock_synchronized": lambda: True,
            "retry_s": 0.05,
        }
        keeper = Keeper(**{**fields, **changes})
        keepers.append(keeper)
        keeper.start()
        return keeper

    yield start
    for each in keepers:
        each.stop()


def ready(keeper: Keeper) -> bool:
    return wait_until(lambda: keeper._policy is not None)


def handle(keeper: Keeper, count: int = 1, name: str = "cat") -> None:
    for _ in range(count):
        keeper.handle(result(time.monotonic(), 0.6, 0.2), change(name))


def test_the_frame_that_decided_is_kept_with_the_payload_of_its_prediction(
    make: MakeKeeper, store: Store
) -> None:
    keeper = make()
    assert ready(keeper)
    handle(keeper)
    assert wait_until(lambda: keeper.status.kept == 1)
    [kept] = store.pictures()
    assert (kept.kind, kept.view, kept.name, kept.score) == ("changed", "cam0", "cat", 0.8)
    assert (kept.label, kept.prediction) == (None, {"origin": "a.png"})
    jpeg = store.jpeg(kept.number)
    assert (len(jpeg), hashlib.sha256(jpeg).hexdigest()) == (kept.bytes, kept.sha256)
    with Image.open(io.BytesIO(jpeg)) as image:
        assert (image.format, image.size) == ("JPEG", (8, 8))


def test_what_waits_is_written_at_the_end(make: MakeKeeper, store: Store) -> None:
    keeper = make()
    assert ready(keeper)
    handle(keeper, 5)
    keeper.stop()
    assert len([*store.pictures()]) == 5


def test_a_folder_that_cannot_be_made_is_said_once_and_tried_again(
    make: MakeKeeper, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.folder.write_text("in the way")
    keeper = make()
    assert wait_until(lambda: keeper.status.problem)
    handle(keeper)
    time.sleep(0.2)
    assert caplog.text.count("not a directory") == 1
    store.folder.unlink()
    assert wait_until(lambda: keeper.status.problem is None)
    assert ready(keeper)
    handle(keeper)
    assert wait_until(lambda: keeper.status.kept == 1)
    assert "kept again" in caplog.text


def test_while_the_disk_fails_few_pictures_wait_and_the_rest_is_counted(
    make: MakeKeeper, store: Store
) -> None:
    keeper = make()
    assert ready(keeper)
    handle(keeper)
    assert wait_until(lambda: keeper.status.kept == 1)
    away = store.folder.rename(store.folder.with_name("away"))
    store.folder.write_text("in the way")
    handle(keeper)
    assert wait_until(lambda: keeper.status.problem)
    handle(keeper, 20)
    assert keeper.status.dropped == 12
    store.folder.unlink()
    away.rename(store.folder)
    assert wait_until(lambda: keeper.status.kept == 10)
    assert keeper.status.problem is None
    assert [each.id for each in store.pictures()] == [str(n) for n in reversed(range(10))]


def test_stop_does_not_wait_for_a_disk_that_fails(make: MakeKeeper, store: Store) -> None:
    keeper = make(retry_s=3600)
    assert ready(keeper)
    store.folder.write_text("in the way")
    handle(keeper, 9)
    assert wait_until(lambda: keeper.status.problem)
    keeper.stop()
    thread = keeper._thread
    assert thread is not None
    assert wait_until(lambda: not thread.is_alive()), "it waits for an hour"


def test_a_restart_does_not_begin_the_limits_anew(make: MakeKeeper, store: Store) -> None:
    few = KeepRules(limits={"changed": Limit(per_hour=3, per_day=3)})
    for _ in range(4):
        keeper = make(rules=few)
        assert ready(keeper)
        handle(keeper, 2)
        keeper.stop()
    assert len([*store.pictures()]) == 3
    # Nor does throwing pictures away.
    for each in [*store.pictures()]:
        store.throw_away(each.number)
    keeper = make(rules=few)
    assert ready(keeper)
    handle(keeper, 2)
    keeper.stop()
    assert [*store.pictures()] == []


def test_the_death_of_the_thread_is_told(make: MakeKeeper) -> None:
    deaths: list[BaseException] = []

    def fail(_keeper: object) -> bool:
        raise KeyError("a fault")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Keeper, "_remember", fail)
        make(on_death=deaths.append)
        assert wait_until(lambda: deaths)
    assert isinstance(deaths[0], KeyError)


# How old a picture is, for the limits


def test_of_this_run_of_the_kernel_the_age_is_exact() -> None:
    kept = picture(monotonic_s=900.0, timestamp="2001-01-02T03:04:05.678Z")
    ages = ages_by_kind([kept], boot=kernel_boot(), now_s=1000.0, synchronized=True)
    assert ages == {"uncertain": [100.0]}


@pytest.mark.parametrize(
    ("back", "then", "now", "age_s"),
    [
        (timedelta(hours=5), True, True, 5 * 3600.0),
        (timedelta(hours=5), False, True, 1000.0),
        (timedelta(hours=5), True, False, 1000.0),
        (timedelta(days=-365), True, True, 1000.0),
    ],
)
def test_of_an_earlier_run_it_is_no_less_than_can_be_known(
    back: timedelta, then: bool, now: bool, age_s: float
) -> None:
    kept = picture(
        kernel_boot="another",
        monotonic_s=5.0,
        timestamp=timestamp(datetime.now(UTC) - back),
        clock_synchronized=then,
    )
    [found] = ages_by_kind([kept], boot=kernel_boot(), now_s=1000.0, synchronized=now)["uncertain"]
    assert found == pytest.approx(age_s, abs=60)
