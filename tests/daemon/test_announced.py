"""Nothing that the broker retains stays there under a name that the device has left."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.brokers import Mosquitto, Subscriber, free_port, needs_mosquitto, wait_until
from support.daemon import isolated, run_cli
from support.device import Site

from edgeclassifier.contract.messages import Message
from edgeclassifier.daemon.announced import RECORD, Announced, emptied, read_announced

pytestmark = needs_mosquitto


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["homeassistant"] = {"enabled": True, "prefix": f"ha-{tmp_path.name}"}
    return site


def retained(site: Site) -> set[str]:
    """Ask the broker what it retains of all the names that a test uses."""
    marker = f"{site.folder.name}-marker"
    with Subscriber(site.port) as subscriber:
        subscriber.publish(marker)
        assert subscriber.wait_for(lambda got: any(each.topic == marker for each in got))
        kept = {each.topic for each in subscriber.messages if each.retain and each.payload}
    return {topic for topic in kept if site.folder.name in topic}


def device(site: Site, camera: str = "cam0") -> set[str]:
    base = site.topic
    return {f"{base}/{kind}" for kind in ("availability", "info", "health", f"{camera}/state")}


def document(site: Site) -> str:
    prefix = site.settings["homeassistant"]["prefix"]
    return f"{prefix}/device/{site.topic.replace('/', '-')}/config"


def record(site: Site) -> set[str]:
    return {*json.loads((site.state / RECORD).read_text())}


def run_until(site: Site, wanted: set[str], *, number: signal.Signals = signal.SIGTERM) -> None:
    with site.daemon() as daemon:
        assert wait_until(lambda: retained(site) == wanted), retained(site) ^ wanted
        daemon.stop(number)
        daemon.wait()


@pytest.mark.parametrize("storage", ["memory", "disk"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_after_a_restart_only_the_names_in_use_are_retained(
    site: Site, storage: str, number: signal.Signals
) -> None:
    site.settings["buffer"] = {"storage": storage}
    site.settings["mqtt"]["will_delay_s"] = 0
    run_until(site, device(site) | {document(site)}, number=number)
    site.settings["device"]["id"] = "garden"
    site.settings["camera"]["id"] = "roof"
    run_until(site, device(site, "roof") | {document(site)}, number=number)
    site.settings["homeassistant"]["prefix"] += "-2"
    run_until(site, device(site, "roof") | {document(site)}, number=number)
    site.settings["homeassistant"]["enabled"] = False
    run_until(site, device(site, "roof"), number=number)
    assert wait_until(lambda: record(site) >= device(site, "roof"))


def test_names_left_while_the_broker_is_away_are_cleared_when_it_is_there(
    site: Site, broker: Mosquitto
) -> None:
    run_until(site, device(site) | {document(site)})
    site.settings["mqtt"]["port"] = free_port()
    for name in ("one", "two"):
        site.settings["device"]["id"] = name
        with site.daemon() as daemon:
            assert daemon.wait_for_line("clearing what the broker retains of earlier names")
            daemon.stop(signal.SIGKILL)
            daemon.wait()
    site.settings["mqtt"]["port"] = broker.port
    site.settings["device"]["id"] = "three"
    run_until(site, device(site) | {document(site)})


def test_a_state_that_waits_on_disk_does_not_come_back(site: Site, broker: Mosquitto) -> None:
    site.settings["buffer"] = {"storage": "disk", "write_interval_s": 0.0}
    run_until(site, device(site) | {document(site)})
    site.settings["mqtt"]["port"] = free_port()
    with site.daemon() as daemon:
        assert daemon.wait_for_line("first prediction")
        time.sleep(0.5)
        daemon.stop()
        daemon.wait()
    site.settings["mqtt"]["port"] = broker.port
    site.settings["device"]["id"] = "garden"
    with site.daemon():
        assert wait_until(lambda: retained(site) == device(site) | {document(site)})
        time.sleep(1)
        assert retained(site) == device(site) | {document(site)}


def test_a_reload_that_changes_the_name_clears_the_earlier_one(site: Site) -> None:
    with site.daemon() as daemon:
        assert wait_until(lambda: retained(site) == device(site) | {document(site)})
        site.settings["device"]["id"] = "garden"
        site.settings["camera"]["id"] = "roof"
        site.write()
        daemon.stop(signal.SIGHUP)
        wanted = device(site, "roof") | {document(site)}
        assert wait_until(lambda: retained(site) == wanted), retained(site) ^ wanted
        # And back: nothing of what is used again is cleared.
        site.settings["device"]["id"] = "porch"
        site.settings["camera"]["id"] = "cam0"
        site.write()
        daemon.stop(signal.SIGHUP)
        wanted = device(site) | {document(site)}
        assert wait_until(lambda: retained(site) == wanted), retained(site) ^ wanted
        time.sleep(1)
        assert retained(site) == wanted


def test_a_damaged_record_is_passed_over(site: Site) -> None:
    site.state.mkdir()
    (site.state / RECORD).write_text('["a/#"')
    with site.daemon() as daemon:
        assert daemon.wait_for_line(f"{RECORD} is ignored: it is damaged")
        assert daemon.wait_for_line("first prediction")
        assert wait_until(lambda: record(site) == device(site) | {document(site)})


def test_remove_clears_everything_that_the_device_has_announced(site: Site, tmp_path: Path) -> None:
    env = isolated(tmp_path)
    remove = ("discovery", "--remove", "--config", site.config)
    with site.daemon():
        assert wait_until(lambda: retained(site) == device(site) | {document(site)})
        done = run_cli(*remove, env=env)
        assert done.returncode == 0, done.stderr
        assert retained(site) == device(site), "the daemon runs, and says so"
    run_until(site, device(site) | {document(site)})
    done = run_cli(*remove, env=env)
    assert done.returncode == 0, done.stderr
    assert retained(site) == set()
    assert not (site.state / RECORD).exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'"abc"', b'["a/+"]', b'["#"]', b'[""]', b"\xff", b"[" * 100_000, b"[[]]"],
)
def test_whatever_is_in_the_record_is_survived(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECORD).write_bytes(content)
    assert read_announced(tmp_path) in {(), ("a", "b", "c")}


class Topics:
    """Takes what is published, and confirms it as a broker does."""

    def __init__(self, folder: Path) -> None:
        self.published: list[str] = []
        self.announced = Announced(folder, publish=self._publish)

    def _publish(self, message: Message) -> bool:
        assert message == emptied(message.topic)
        self.published.append(message.topic)
        self.announced.note_cleared(message.topic)
        return True


@pytest.fixture
def topics(tmp_path: Path) -> Iterator[Topics]:
    (tmp_path / RECORD).write_text('["a/old/availability", "a/old/info"]')
    topics = Topics(tmp_path)
    yield topics
    topics.announced.stop()


def test_a_last_will_that_comes_late_is_cleared_as_well(tmp_path: Path, topics: Topics) -> None:
    topics.announced.remember(["a/new/availability"])
    topics.announced.use(["a/new/availability"], will_after_s=0.5)
    assert wait_until(lambda: topics.published == ["a/old/availability", "a/old/info"])
    assert wait_until(lambda: "a/old/info" not in read_announced(tmp_path))
    assert "a/old/availability" in read_announced(tmp_path), "it may yet come"
    assert wait_until(lambda: read_announced(tmp_path) == ("a/new/availability",))
    assert topics.published[2:] == ["a/old/availability"]


def test_a_name_that_is_used_again_is_left_alone(tmp_path: Path, topics: Topics) -> None:
    topics.announced.use(["a/new/availability"], will_after_s=0.2)
    old = ["a/old/availability", "a/old/info"]
    topics.announced.remember(old)
    topics.announced.use(old, will_after_s=0.2)
    published = [*topics.published]
    time.sleep(0.5)
    assert topics.published == published
    assert {*read_announced(tmp_path)} >= {"a/old/availability", "a/old/info"}


def test_the_record_does_not_grow(tmp_path: Path, topics: Topics) -> None:
    for number in range(400):
        topics.announced.remember([f"a/{number}/info"])
    kept = read_announced(tmp_path)
    assert len(kept) == 256
    assert kept[-1] == "a/399/info"
