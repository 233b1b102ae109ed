"""Cameras that die, freeze and deliver garbage, as a subscriber of the real daemon sees them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.brokers import Mosquitto, Received, Subscriber, needs_mosquitto
from support.daemon import SAMPLES
from support.device import Site, continues, has_predictions, newest, of
from support.mjpeg import MjpegServer

pytestmark = needs_mosquitto

STOPPED_S = 5.0
"""Longer than any deadline of the camera in these tests."""


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["mqtt"]["health_interval_s"] = 1.0
    return site


def camera_is(state: str) -> Callable[[list[Received]], bool]:
    return lambda got: newest(got, "health").get("camera", {}).get("state") == state


def problem(messages: list[Received]) -> Any:
    return newest(messages, "health")["camera"]["problem"]


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    server = MjpegServer()
    yield server
    server.close()


def watch_stream(site: Site, server: MjpegServer) -> None:
    site.settings["camera"] |= {"source": "stream", "max_recoveries": 8}
    site.settings["camera.stream"] = {
        "url": server.url(user=""),
        "timeout_s": 0.5,
        "reconnect_max_s": 1.0,
    }


def test_a_picture_that_never_changes_is_reported(site: Site, watching: Subscriber) -> None:
    site.environment = {"EDGECLASSIFIER_LIVE": "1"}
    site.settings["camera"]["frozen_after_s"] = 0.5
    site.settings["camera.replay"]["path"] = str(SAMPLES / "coffee.png")
    with site.daemon() as daemon:
        assert watching.wait_for(camera_is("frozen")), daemon.lines
        assert "has not changed by one bit" in problem(watching.messages)
        assert continues(watching)


def test_a_picture_that_changes_is_not_frozen(site: Site, watching: Subscriber) -> None:
    site.environment = {"EDGECLASSIFIER_LIVE": "1"}
    site.settings["camera"]["frozen_after_s"] = 0.5
    with site.daemon():
        assert watching.wait_for(has_predictions(50))
        states = {each["camera"]["state"] for each in of(watching.messages, "health")}
    assert states <= {"starting", "ok"}


def test_a_server_that_dies_and_comes_back_is_one_gap_for_the_same_daemon(
    site: Site, watching: Subscriber, server: MjpegServer
) -> None:
    watch_stream(site, server)
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        server.close()
        assert watching.wait_for(camera_is("recovering")), daemon.lines
        assert "no frame for" in problem(watching.messages)
        again = MjpegServer(server.port)
        try:
            assert watching.wait_for(camera_is("ok")), daemon.lines
            assert continues(watching)
            daemon.stop()
            assert daemon.wait() == 0
        finally:
            again.close()
    boots = {each["boot_id"] for each in of(watching.messages, "predictions")}
    assert len(boots) == 1


def test_a_stream_that_stalls_is_opened_again(
    site: Site, watching: Subscriber, server: MjpegServer
) -> None:
    watch_stream(site, server)
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        server.on.clear()
        assert watching.wait_for(camera_is("recovering")), daemon.lines
        server.on.set()
        assert watching.wait_for(camera_is("ok")), daemon.lines
        assert continues(watching)


def test_a_camera_is_opened_again_without_its_password_file(
    site: Site, watching: Subscriber, server: MjpegServer
) -> None:
    watch_stream(site, server)
    password = site.folder / "password"
    password.touch(mode=0o600)
    password.write_text("hunter2")
    site.settings["camera.stream"] |= {
        "url": server.url("/private", user=""),
        "username": "admin",
        "password_file": str(password),
    }
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        password.write_text("")
        server.on.clear()
        assert watching.wait_for(camera_is("recovering")), daemon.lines
        server.on.set()
        assert watching.wait_for(camera_is("ok")), daemon.lines
        assert continues(watching)


def test_a_stream_of_garbage_is_reported(
    site: Site, watching: Subscriber, server: MjpegServer
) -> None:
    watch_stream(site, server)
    site.settings["camera"]["deadline_s"] = 4.0
    good = server.picture
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        server.picture = b"\xff\xd8\xff" + b"\x55" * 500 + b"\xff\xd9"
        assert watching.wait_for(camera_is("undecodable")), daemon.lines
        assert "could not be decoded" in problem(watching.messages)
        server.picture = good
        assert watching.wait_for(camera_is("ok")), daemon.lines
        assert newest(watching.messages, "health")["drops"]["unreadable_frames"] > 0


@pytest.mark.parametrize("source", ["pictures", "stream"])
def test_a_daemon_that_was_stopped_goes_on_with_its_camera(
    site: Site, watching: Subscriber, server: MjpegServer, source: str
) -> None:
    if source == "stream":
        watch_stream(site, server)
    site.settings["camera"] |= {"deadline_s": 1.0, "max_recoveries": 0}
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        os.kill(daemon.pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        os.kill(daemon.pid, signal.SIGCONT)
        assert continues(watching), daemon.lines
        assert camera_is("ok")(watching.messages)
