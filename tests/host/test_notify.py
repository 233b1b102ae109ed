"""What systemd is told, as a real datagram socket receives it."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.manager import Manager

from edgeclassifier.contract.results import CPU, Backend
from edgeclassifier.daemon.watchdog import Watchdog
from edgeclassifier.host.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"@edgeclassifier-test-{os.getpid()}"
    manager = Manager(name if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Notifier]:
    with closing(Notifier(environment(manager, WATCHDOG_USEC="40000"))) as notifier:
        yield notifier


def environment(manager: Manager, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.address, **more}


def test_each_message_has_the_form_of_sd_notify(manager: Manager, notifier: Notifier) -> None:
    notifier.ready()
    notifier.status("cpu, 9.8 predictions/s")
    notifier.status("cpu, 9.8 predictions/s")
    notifier.watchdog()
    before_us = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.stopping()
    *others, reloading, stopping = manager.take()
    assert others == ["READY=1", "STATUS=cpu, 9.8 predictions/s", "WATCHDOG=1"]
    assert stopping == "STOPPING=1"
    lines = reloading.split("\n")
    assert lines[0] == "RELOADING=1"
    since_us = int(lines[1].removeprefix("MONOTONIC_USEC="))
    assert before_us <= since_us <= time.monotonic_ns() // 1000


def test_without_a_socket_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.ready()
    notifier.watchdog()
    assert notifier.watchdog_s is None


def test_a_manager_that_is_gone_or_does_not_read_disturbs_nobody(
    manager: Manager, notifier: Notifier
) -> None:
    for _ in range(10_000):
        notifier.watchdog()
    manager.close()
    notifier.watchdog()


def test_no_child_process_can_speak_for_the_daemon(manager: Manager) -> None:
    given = environment(manager, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid()))
    with closing(Notifier(given)) as notifier:
        assert notifier.watchdog_s == 30
    assert given == {}


@pytest.mark.parametrize(
    "settings", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}]
)
def test_a_watchdog_that_is_not_for_this_process_is_none(
    manager: Manager, settings: dict[str, str]
) -> None:
    with closing(Notifier(environment(manager, **settings))) as notifier:
        assert notifier.watchdog_s is None


@pytest.fixture
def watch(notifier: Notifier) -> Watchdog:
    return Watchdog(notifier, camera_deadline_s=0)


def test_ready_is_said_with_the_first_result_and_not_before(
    manager: Manager, watch: Watchdog
) -> None:
    watch.reloaded()
    assert manager.take() == []
    watch.progress(1, CPU)
    assert manager.take()[0] == "READY=1"
    watch.progress(1, CPU)
    assert "READY=1" not in manager.take()


def test_only_progress_keeps_the_watchdog_quiet(manager: Manager, watch: Watchdog) -> None:
    watch.progress(1, CPU)
    assert "WATCHDOG=1" in manager.take()
    time.sleep(0.02)
    assert manager.take() == []
    watch.progress(1, CPU)
    assert manager.take() == ["WATCHDOG=1"]
    time.sleep(0.02)
    watch.recovering("no frame for 10.0 s")
    assert manager.take() == ["STATUS=no frames: no frame for 10.0 s", "WATCHDOG=1"]


def test_it_is_known_when_no_frame_was_due(watch: Watchdog) -> None:
    watch.progress(1, CPU)
    assert watch.excused_s is None
    before_s = time.monotonic()
    watch.paused()
    paused_s = watch.excused_s
    watch.recovering("no frame for 10.0 s")
    watch.progress(1, CPU)
    assert paused_s is not None
    assert watch.excused_s is not None
    assert before_s <= paused_s <= watch.excused_s <= time.monotonic()


def test_pings_come_several_times_in_each_period_and_not_with_each_frame(
    manager: Manager, notifier: Notifier
) -> None:
    notifier.watchdog_s = 4000
    watch = Watchdog(notifier, camera_deadline_s=0)
    for _ in range(100):
        watch.progress(1, CPU)
    assert manager.take().count("WATCHDOG=1") == 1


def test_the_status_tells_backend_and_rate(manager: Manager, watch: Watchdog) -> None:
    watch.progress(1, Backend(name="cpu", degraded=True, reason="edgetpu is lost"))
    [status] = [each for each in manager.take() if each.startswith("STATUS=")]
    assert status.startswith("STATUS=cpu (edgetpu is lost), ")
    assert status.endswith(" predictions/s")


def test_a_watchdog_that_is_shorter_than_the_cameras_deadline_is_warned_of(
    notifier: Notifier, caplog: pytest.LogCaptureFixture
) -> None:
    Watchdog(notifier, camera_deadline_s=10)
    assert "set it higher" in caplog.text
