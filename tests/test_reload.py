"""What a new configuration does to the running daemon, and what it leaves alone."""

import signal
from pathlib import Path

import pytest
from brokers import Mosquitto, Subscriber, needs_mosquitto
from daemon import REPOSITORY
from device import Site, has_predictions, newest, reload_is

from edgeclassifier.daemon.adapt import AT_THE_NEXT_START


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    return Site(folder=tmp_path, port=broker.port)


@needs_mosquitto
def test_what_nothing_can_apply_is_said_to_wait_and_touches_nothing(
    site: Site, watching: Subscriber
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5))
        site.settings["model"]["deadline_s"] = 30.0
        site.settings["mqtt"] |= {"reconnect_min_s": 0.1, "reconnect_max_s": 0.2}
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        daemon.stop()
        assert daemon.wait() == 0
    waiting = ["model.deadline_s", "mqtt.reconnect_max_s", "mqtt.reconnect_min_s"]
    reload = newest(watching.messages, "health")["reload"]
    assert reload["changed"] == waiting
    assert reload["problem"] == f"{', '.join(waiting)}: at the next start"
    assert sum("connected" in line for line in daemon.lines) == 1
    assert sum("model tiny" in line for line in daemon.lines) == 1


def test_the_readme_names_what_waits_for_the_next_start() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [paragraph] = [part for part in text.split("\n\n") if part.startswith("**A new configuration")]
    for key in AT_THE_NEXT_START:
        assert f"`{key}*`" in paragraph or f"`{key}`" in paragraph
