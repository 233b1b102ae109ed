"""No thread of the daemon dies unnoticed: each is killed by a fault, in a real daemon."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from support.brokers import Mosquitto, Subscriber, needs_mosquitto
from support.device import Site, continues, has_info, has_predictions, newest, reload_is
from support.tiny_models import classifier

from edgeclassifier.errors import ThreadDiedError
from edgeclassifier.host import threads


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["buffer"] = {"storage": "disk", "write_interval_s": 0.1}
    site.settings["mqtt"]["health_interval_s"] = 1.0
    return site


def record_of(site: Site) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((site.state / "last-exit.json").read_text())
    return record


def assert_ended_by(name: str, site: Site, lines: list[str]) -> None:
    assert any(f"the thread {name!r} died of a fault" in line for line in lines), lines
    record = record_of(site)
    assert record["exit_code"] == 1
    assert record["reason"] == f"the thread {name!r} died of a fault: InjectedError: "


@needs_mosquitto
@pytest.mark.parametrize("name", ["mqtt", "health", "buffer", "requests"])
def test_the_death_of_a_thread_ends_the_daemon_and_is_told_at_the_next_start(
    site: Site, watching: Subscriber, name: str
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        assert watching.wait_for(has_info)
        site.fault.write_text(f"thread {name} dies")
        # It wakes this one, which waits for nothing else.
        watching.publish(f"{site.topic}/request/resume")
        assert daemon.wait() == 1, daemon.lines
    assert_ended_by(name, site, daemon.lines)
    with site.daemon() as daemon:
        assert watching.wait_for(lambda got: bool(newest(got, "health").get("last_crash")))
        crash = newest(watching.messages, "health")["last_crash"]
        assert name in crash["reason"]
        assert continues(watching), daemon.lines


@needs_mosquitto
@pytest.mark.parametrize("name", ["exit-record", "sha256"])
def test_the_death_of_a_thread_at_the_start_ends_the_daemon(site: Site, name: str) -> None:
    site.fault.write_text(f"thread {name} dies")
    with site.daemon() as daemon:
        assert daemon.wait() == 1, daemon.lines
    assert any(f"the thread {name!r} died of a fault" in line for line in daemon.lines)


@needs_mosquitto
@pytest.mark.parametrize("name", ["capture", "inference"])
def test_a_fault_in_the_way_of_the_frames_ends_the_daemon(
    site: Site, watching: Subscriber, name: str
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        site.fault.write_text(f"thread {name} dies")
        assert daemon.wait() == 1, daemon.lines
    record = record_of(site)
    assert (record["exit_code"], record["reason"]) == (
        1,
        "a fault in this program: InjectedError: ",
    )


@needs_mosquitto
def test_the_thread_that_hands_the_device_over_does_not_die_unnoticed(
    site: Site, watching: Subscriber
) -> None:
    site.add_model("other", classifier("uint8", scale=1 / 256))
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        site.fault.write_text("thread swap dies")
        site.use_model("other")
        site.write()
        daemon.stop(signal.SIGHUP)
        assert daemon.wait() == 1, daemon.lines
    assert_ended_by("swap", site, daemon.lines)


@needs_mosquitto
def test_a_fault_while_the_configuration_is_read_refuses_it_and_nothing_else(
    site: Site, watching: Subscriber
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        site.fault.write_text("thread reload dies")
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("refused")), daemon.lines
        site.fault.unlink()
        assert continues(watching)
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("unchanged")), daemon.lines
        daemon.stop()
        assert daemon.wait() == 0


def test_a_death_is_told_once_and_only_if_nothing_else_hears_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[BaseException] = []

    def die(reason: str) -> None:
        raise KeyError(reason)

    threads.start(die, name="guest", args=("a",), on_death=heard.append).join()
    threads.check()
    assert [str(each) for each in heard] == ["'a'"]
    threads.start(die, name="vital", args=("b",)).join()
    with pytest.raises(ThreadDiedError, match="'vital' died of a fault: KeyError: 'b'"):
        threads.check()
    assert [each.name for each in threads.take_deaths()] == ["vital"]
    threads.check()
    assert [each.getMessage() for each in caplog.records] == [
        "the thread 'guest' died of a fault",
        "the thread 'vital' died of a fault",
    ]
