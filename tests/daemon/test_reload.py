"""What a new configuration does to the running daemon, and what it leaves alone."""

import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.brokers import Mosquitto, Subscriber, free_port, needs_mosquitto, wait_until
from support.device import Site, continues, has_predictions, newest, reload_is
from support.tiny_models import LABELS, classifier

from edgeclassifier.compose.files import files_in_use
from edgeclassifier.compose.model import BUNDLED_MODEL, PREFERRED_MODEL
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.config.changes import changed_keys
from edgeclassifier.config.schema import AcceleratorConfig
from edgeclassifier.daemon.reload import Plan, Reload
from edgeclassifier.daemon.watchdog import Watchdog
from edgeclassifier.errors import InferenceError
from edgeclassifier.host.systemd import Notifier
from edgeclassifier.models.store import ModelStore


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


# Files with another content


def install(folder: Path, *, labels: list[str]) -> None:
    model, names = folder / "new.tflite", folder / "new.txt"
    model.write_bytes(classifier("uint8", scale=1 / 256))
    names.write_text("\n".join(labels))
    ModelStore(root=folder / "models").add(model, name="birds", labels=names)


@needs_mosquitto
def test_an_installed_model_that_was_replaced_is_taken(site: Site, watching: Subscriber) -> None:
    install(site.folder, labels=list(LABELS))
    site.settings["model"] = {"name": "birds"}
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("unchanged")), daemon.lines
        install(site.folder, labels=[f"bird {label}" for label in LABELS])
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        changed = newest(watching.messages, "health")["reload"]["changed"]
        assert continues(watching)
        best = newest(watching.messages, "predictions")["predictions"][0]["label"]
    assert changed == ["model.labels", "model.name"]
    assert best.startswith("bird ")


def files(store: Path, delegate: str) -> Mapping[str, Path]:
    config = Config(
        model=ModelConfig(store=str(store)), accelerator=AcceleratorConfig(delegate=delegate)
    )
    return files_in_use(config).read


def test_a_model_that_is_fetched_is_another_file_for_auto(tmp_path: Path) -> None:
    before = files(tmp_path, "edgetpu")
    assert before["model.name"].stem == BUNDLED_MODEL
    assert "accelerator.model" not in before
    model = tmp_path / f"{PREFERRED_MODEL}.tflite"
    compiled = tmp_path / f"{PREFERRED_MODEL}_edgetpu.tflite"
    model.touch()
    compiled.touch()
    after = files(tmp_path, "edgetpu")
    assert (after["model.name"], after["accelerator.model"]) == (model, compiled)
    assert "accelerator.model" not in files(tmp_path, "none")


def write_secret(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Site]:
    """A device whose broker wants a password."""
    with Mosquitto(tmp_path, passwords={"porch": "the first"}) as broker:
        site = Site(folder=tmp_path, port=broker.port)
        site.settings["mqtt"] |= {"username": "porch", "password_file": "mqtt-password"}
        write_secret(tmp_path / "mqtt-password", "the first")
        yield site


@needs_mosquitto
def test_a_password_that_systemd_hands_over_waits_for_the_next_start(guarded: Site) -> None:
    """The credential stays what it was, so the connection that stands is worth more."""
    credentials = guarded.folder / "credentials"
    credentials.mkdir()
    write_secret(credentials / "mqtt-password", "the first")
    guarded.environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    with (
        Subscriber(guarded.port, username="porch", password="the first") as watching,
        guarded.daemon() as daemon,
    ):
        assert watching.wait_for(has_predictions(5)), daemon.lines
        write_secret(guarded.folder / "mqtt-password", "the second one")
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        reload = newest(watching.messages, "health")["reload"]
        assert reload["changed"] == ["mqtt.password_file"]
        assert reload["problem"] == "mqtt.password_file: at the next start"
        daemon.stop()
        assert daemon.wait() == 0
    assert sum("connected" in line for line in daemon.lines) == 1


@needs_mosquitto
def test_a_password_file_that_is_read_itself_is_taken(guarded: Site) -> None:
    with (
        Subscriber(guarded.port, username="porch", password="the first") as watching,
        guarded.daemon() as daemon,
    ):
        assert watching.wait_for(has_predictions(5)), daemon.lines
        write_secret(guarded.folder / "mqtt-password", "the first\n")
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        reload = newest(watching.messages, "health")["reload"]
        assert reload["changed"] == ["mqtt.password_file"]
        assert reload["problem"] is None
    assert sum("connected" in line for line in daemon.lines) == 2


@needs_mosquitto
def test_a_new_password_for_the_page_waits_for_the_next_start(
    site: Site, watching: Subscriber
) -> None:
    password = site.folder / "page-password"
    write_secret(password, "the first\n")
    site.settings["web"] = {"enabled": True, "port": free_port(), "password_file": str(password)}
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        write_secret(password, "the second\n")
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
    reload = newest(watching.messages, "health")["reload"]
    assert reload["changed"] == ["web.password_file"]
    assert reload["problem"] == "web.password_file: at the next start"


# Another device


@needs_mosquitto
def test_a_device_with_a_new_name_says_nothing_under_the_old_one(
    site: Site, broker: Mosquitto, watching: Subscriber
) -> None:
    site.settings["homeassistant"] = {"enabled": True}
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(5)), daemon.lines
        site.settings["device"]["id"] = "shed"
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        # Where paho connects again it leaves a pair of its sockets open.
        watching.close()
        broker.stop()
        broker.start()
        with Subscriber(broker.port) as afterwards:
            assert afterwards.wait_for(has_predictions(5)), daemon.lines
            info = f"{site.topic}/info"
            assert afterwards.wait_for(lambda seen: any(each.topic == info for each in seen))
            topics = {each.topic for each in afterwards.messages if each.payload}
    # What waited in the buffer keeps its topic.
    said = {topic.rpartition("/")[2] for topic in topics if "porch" in topic}
    assert said <= {"predictions", "state", "event"}


# What a refused part goes back to


def test_a_refused_model_goes_back_to_the_one_before_it_whatever_came_since() -> None:
    """A model may be refused at its first frame, and that may come after another reload."""
    first = Config()
    second = replace(first, model=replace(first.model, name="other"))
    third = replace(second, state=replace(second.state, threshold=0.7))
    coming = iter([second, third])

    def plan(used: Config) -> Plan:
        new = next(coming)
        return Plan(config=new, changed=changed_keys(used, new), waiting=frozenset())

    reload = Reload(first, plan=plan, watchdog=Watchdog(Notifier({}), camera_deadline_s=1.0))
    for _ in range(2):
        future = reload.request()
        assert wait_until(reload.advance)
        assert future.result().status == "applied"
    reload.model_refused(InferenceError("it fails"))
    assert reload.config.model == first.model
    assert reload.config.state == third.state
