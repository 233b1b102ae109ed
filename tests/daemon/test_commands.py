"""Commands over a real broker, to the real daemon."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.brokers import Mosquitto, Received, Subscriber, needs_mosquitto, wait_until
from support.contract import problems
from support.daemon import Daemon
from support.device import (
    Site,
    assert_no_prediction_is_missed,
    continues,
    has_info,
    has_predictions,
    newest,
    of,
    reload_is,
)

pytestmark = needs_mosquitto


@dataclass(frozen=True, slots=True)
class Remote:
    """Whoever sends commands."""

    site: Site
    subscriber: Subscriber
    daemon: Daemon

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and return the answer."""
        topic = f"{self.site.topic}/response/{command}"
        before = len(self.subscriber.payloads(topic))
        payload = json.dumps({**arguments, "transaction": before})
        self.subscriber.publish(f"{self.site.topic}/request/{command}", payload)
        assert self.subscriber.wait_for(lambda got: len(answers(got, topic)) > before), (
            self.daemon.lines
        )
        answer: dict[str, Any] = json.loads(self.subscriber.payloads(topic)[-1])
        assert problems("response", answer) == []
        assert answer["transaction"] == before
        return answer

    def get(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command that has to succeed and return the data of its answer."""
        answer = self.ask(command, **arguments)
        assert answer["status"] == "ok", answer
        data: dict[str, Any] = answer["data"]
        return data


def answers(messages: list[Received], topic: str) -> list[Received]:
    return [each for each in messages if each.topic == topic]


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["commands"] = {"max_rate_hz": 1000.0}
    site.settings["model"]["store"] = str(tmp_path / "store")
    return site


@contextmanager
def remote(site: Site, watching: Subscriber) -> Iterator[Remote]:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(3)), daemon.lines
        assert watching.wait_for(has_info), daemon.lines
        yield Remote(site, watching, daemon)
        daemon.stop()
        assert daemon.wait() == 0, daemon.lines


def install(site: Site, name: str) -> None:
    store = site.folder / "store"
    store.mkdir(exist_ok=True)
    shutil.copy(site.folder / "tiny.tflite", store / f"{name}.tflite")
    shutil.copy(site.folder / "tiny.txt", store / f"{name}.labels.txt")


def test_classify_answers_for_the_next_frame_and_disturbs_nothing(
    site: Site, watching: Subscriber
) -> None:
    with remote(site, watching) as device:
        for _ in range(5):
            data = device.get("classify")
            assert problems("classification", data) == []
            assert "seq" not in data
        assert continues(watching)
    assert_no_prediction_is_missed(watching.messages)


def test_no_snapshot_is_published_unless_pictures_are_allowed(
    site: Site, watching: Subscriber
) -> None:
    with remote(site, watching) as device:
        answer = device.ask("snapshot")
        assert answer["status"] == "error"
        assert "image.on_request" in answer["error"]
        device.get("health")  # a picture would have come by now
    assert not [each for each in watching.messages if each.topic.endswith("/image")]


@pytest.mark.parametrize("key", ["enabled", "on_request"])
def test_snapshot_publishes_the_crop(site: Site, watching: Subscriber, key: str) -> None:
    # So seldom that only what is asked for comes.
    site.settings["image"] = {key: True, "max_rate_hz": 1e-6}
    with remote(site, watching) as device:
        data = device.get("snapshot")
        assert problems("snapshot", data) == []
        assert watching.wait_for(lambda got: answers(got, data["topic"]))
    picture = answers(watching.messages, data["topic"])[-1]
    with Image.open(io.BytesIO(picture.payload)) as image:
        assert (image.format, image.size) == ("JPEG", (data["width"], data["height"]))
    assert len(picture.payload) == data["bytes"]


def test_a_paused_device_publishes_nothing_answers_and_goes_on(
    site: Site, watching: Subscriber
) -> None:
    with remote(site, watching) as device:
        assert device.get("pause") == {"paused": True}
        assert watching.wait_for(lambda got: newest(got, "health").get("paused"))
        device.get("health")  # what was under way has arrived by then
        paused_at = len(of(watching.messages, "predictions"))
        assert device.get("classify")["predictions"]
        assert device.get("health")["paused"] is True
        assert len(of(watching.messages, "predictions")) <= paused_at + 1
        assert device.get("pause") == {"paused": True}
        assert device.get("pause", paused=False) == {"paused": False}
        assert continues(watching)
        assert device.get("resume") == {"paused": False}
        assert watching.wait_for(lambda got: newest(got, "health").get("paused") is False)
    assert_no_prediction_is_missed(watching.messages)


def test_a_threshold_holds_over_a_restart_until_it_is_taken_back(
    site: Site, watching: Subscriber
) -> None:
    with remote(site, watching) as device:
        assert device.get("set_threshold", threshold=0.75) == {"threshold": 0.75}
        assert watching.wait_for(
            lambda got: newest(got, "info")["overrides"] == {"state.threshold": 0.75}
        )
        assert newest(watching.messages, "info")["config"]["state"]["threshold"] == 0.75
        assert continues(watching)
    assert_no_prediction_is_missed(watching.messages)
    watching.clear()
    with remote(site, watching) as device:
        info = newest(watching.messages, "info")
        assert info["config"]["state"]["threshold"] == 0.75
        assert device.get("set_threshold", threshold=None) == {"threshold": 0.3}
        assert watching.wait_for(lambda got: newest(got, "info")["overrides"] == {})


def test_a_contradiction_is_refused_and_changes_nothing(site: Site, watching: Subscriber) -> None:
    site.settings["state"]["leave_threshold"] = 0.2
    with remote(site, watching) as device:
        answer = device.ask("set_threshold", threshold=0.1)
        assert answer["status"] == "error"
        assert "state.leave_threshold (0.2) is greater than state.threshold" in answer["error"]
        assert device.get("set_threshold", threshold=0.5) == {"threshold": 0.5}


def test_an_installed_model_is_swapped_in_without_a_gap(site: Site, watching: Subscriber) -> None:
    install(site, "another")
    with remote(site, watching) as device:
        models = newest(watching.messages, "info")["models"]
        assert {"another", "tiny"} < set(models)
        assert device.get("set_model", model="another") == {"model": "another"}
        assert watching.wait_for(
            lambda got: newest(got, "predictions")["model"]["name"] == "another"
        )
        assert continues(watching)
        assert device.get("set_model", model="tiny") == {"model": "tiny"}
        assert watching.wait_for(lambda got: newest(got, "info")["model"]["name"] == "tiny")
        assert watching.wait_for(lambda got: newest(got, "info")["overrides"] == {})
    assert_no_prediction_is_missed(watching.messages)


@pytest.mark.parametrize("name", ["nothing", "../tiny", "/etc/passwd", "x.tflite", "auto"])
def test_only_an_installed_model_can_be_chosen(site: Site, watching: Subscriber, name: str) -> None:
    with remote(site, watching) as device:
        answer = device.ask("set_model", model=name)
        assert answer["status"] == "error"
        assert f"no model {name!r} is installed: there are" in answer["error"]
        assert continues(watching)


def test_a_damaged_model_is_refused_and_the_old_one_kept(site: Site, watching: Subscriber) -> None:
    install(site, "damaged")
    file = site.folder / "store" / "damaged.tflite"
    file.write_bytes(file.read_bytes()[:300])
    with remote(site, watching) as device:
        answer = device.ask("set_model", model="damaged")
        assert answer["status"] == "error"
        assert "damaged" in answer["error"]
        assert continues(watching)
        info = newest(watching.messages, "info")
        assert (info["model"]["name"], info["overrides"]) == ("tiny", {})


def test_a_model_without_a_class_that_the_configuration_names_is_refused(
    site: Site, watching: Subscriber
) -> None:
    install(site, "another")
    install(site, "birds")
    (site.folder / "store" / "birds.labels.txt").write_text("\n".join(map(str, range(12))))
    site.settings["state"]["exclude"] = ["label c"]
    with remote(site, watching) as device:
        assert device.get("set_model", model="another") == {"model": "another"}
        answer = device.ask("set_model", model="birds")
        assert answer["error"] == (
            'state.exclude: the model has no class "label c": it has "0", "1", "2", …'
        )
        assert newest(watching.messages, "info")["overrides"] == {"model.name": "another"}
        assert continues(watching)


def test_a_chosen_model_that_lacks_a_class_of_a_new_configuration_is_taken_back_at_the_start(
    site: Site, watching: Subscriber
) -> None:
    install(site, "birds")
    (site.folder / "store" / "birds.labels.txt").write_text("\n".join(map(str, range(12))))
    with remote(site, watching) as device:
        device.get("set_model", model="birds")
    site.settings["state"]["exclude"] = ["label c"]
    watching.clear()
    with remote(site, watching) as device:
        assert newest(watching.messages, "info")["overrides"] == {}
        (said,) = (line for line in device.daemon.lines if "is taken back" in line)
        assert 'taken back: state.exclude: the model has no class "label c"' in said


def test_the_rules_follow_the_model_before_if_the_new_one_fails_at_work(
    site: Site, watching: Subscriber
) -> None:
    """What the configuration calls a class has another name in each model."""
    site.environment = {"EDGECLASSIFIER_LIVE": "1"}
    install(site, "bad")
    labels = [f"{label}, class {number}" for number, label in enumerate("abcdefghijkl")]
    (site.folder / "tiny.txt").write_text("\n".join(labels))
    (site.folder / "store" / "bad.labels.txt").write_text(
        "\n".join(f"class {number}" for number in range(12))
    )
    site.settings["state"]["exclude"] = [f"class {number}" for number in range(12)]
    with remote(site, watching) as device:
        device.get("pause")
        device.get("set_model", model="bad")
        site.fault.write_text("inference fails bad.tflite")
        device.get("resume")
        assert watching.wait_for(reload_is("refused")), device.daemon.lines
        site.fault.unlink()
        assert continues(watching)
        watching.clear()
        device.get("set_threshold", threshold=0.0)
        assert watching.wait_for(lambda got: len(of(got, "state")) > 0)
        assert continues(watching)
        assert {each["name"] for each in of(watching.messages, "state")} == {"unknown"}


@pytest.mark.parametrize("how", ["command", "file"])
def test_a_model_that_fails_at_work_takes_nothing_along_neither_then_nor_later(
    site: Site, watching: Subscriber, how: str
) -> None:
    site.environment = {"EDGECLASSIFIER_LIVE": "1"}
    for name in ("good", "bad"):
        install(site, name)
    with remote(site, watching) as device:
        device.get("set_model", model="good")
        assert device.get("set_threshold", threshold=0.75) == {"threshold": 0.75}
        assert continues(watching)
        device.get("pause")
        if how == "command":
            device.get("set_model", model="bad")
        else:
            # The files win over what was chosen before.
            site.settings["model"] |= {"name": "bad", "labels": ""}
            site.write()
            device.get("reload")
        site.fault.write_text("inference fails bad.tflite")
        device.get("resume")
        assert watching.wait_for(reload_is("refused")), device.daemon.lines
        site.fault.unlink()
        kept = {"model.name": "good"} if how == "command" else {}
        assert watching.wait_for(
            lambda got: newest(got, "info")["overrides"] == {**kept, "state.threshold": 0.75}
        )
        if how == "file":
            site.use_model("tiny")
            site.write()
            device.get("reload")
        assert device.get("set_threshold", threshold=0.5) == {"threshold": 0.5}
        site.fault.write_text("camera is gone")
        assert watching.wait_for(lambda got: newest(got, "health")["camera"]["state"] != "ok")
        site.fault.unlink()
        assert watching.wait_for(lambda got: newest(got, "health")["camera"]["state"] == "ok")
        assert device.get("health")["reload"]["status"] == "applied"
        kept_on_disk = json.loads((site.state / "overrides.json").read_text())
        assert {key: each["value"] for key, each in kept_on_disk.items()} == {
            **kept,
            "state.threshold": 0.5,
        }


def gone(_site: Site, file: Path) -> None:
    file.unlink()


def damaged(_site: Site, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])


def crashing(site: Site, file: Path) -> None:
    """Let it crash the runtime, at a start after an end without a word."""
    record = {"state": "running", "kernel_boot": "another", "timestamp": "2026-01-02T03:04:05Z"}
    (site.state / "last-exit.json").write_text(json.dumps(record))
    site.fault.write_text(f"loading crashes {file.name}")


@pytest.mark.parametrize("harm", [gone, damaged, crashing])
def test_a_model_that_fails_at_the_next_start_does_not_keep_the_daemon_from_it(
    site: Site, watching: Subscriber, harm: Callable[[Site, Path], None]
) -> None:
    install(site, "another")
    with remote(site, watching) as device:
        device.get("set_threshold", threshold=0.75)
        device.get("set_model", model="another")
    harm(site, site.folder / "store" / "another.tflite")
    watching.clear()
    with remote(site, watching) as device:
        info = newest(watching.messages, "info")
        assert info["model"]["name"] == "tiny"
        assert info["overrides"] == {"state.threshold": 0.75}
        assert device.get("reload")["status"] == "unchanged"
        assert any("chosen on request is taken back: " in line for line in device.daemon.lines)
    assert json.loads((site.state / "overrides.json").read_text()).keys() == {"state.threshold"}


@pytest.mark.parametrize("harm", [gone, damaged])
def test_what_was_chosen_is_not_forgotten_where_the_configured_model_fails_too(
    site: Site, watching: Subscriber, harm: Callable[[Site, Path], None]
) -> None:
    install(site, "another")
    with remote(site, watching) as device:
        device.get("set_model", model="another")
    harm(site, site.folder / "store" / "another.tflite")
    damaged(site, site.folder / "tiny.tflite")
    with site.daemon() as daemon:
        assert daemon.wait() == 78
    assert "tiny.tflite" in daemon.lines[-1]
    assert sum("is taken back" in line for line in daemon.lines) == 1
    assert json.loads((site.state / "overrides.json").read_text()).keys() == {"model.name"}


def test_reload_tells_what_changed_or_why_not(site: Site, watching: Subscriber) -> None:
    with remote(site, watching) as device:
        assert device.get("reload")["status"] == "unchanged"
        site.settings["state"]["hold_s"] = 0.5
        site.write()
        data = device.get("reload")
        assert (data["status"], data["changed"]) == ("applied", ["state.hold_s"])
        site.config.write_text("[state]\nhold_s = -1\n")
        answer = device.ask("reload")
        assert "hold_s = -1" in answer["error"]


def test_restart_ends_in_order_with_a_code_that_starts_it_again(
    site: Site, watching: Subscriber
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(3))
        Remote(site, watching, daemon).get("restart")
        assert daemon.wait() == 1
    assert watching.wait_for(lambda got: got[-1].payload == b"offline")
    watching.clear()
    with remote(site, watching):
        assert newest(watching.messages, "health")["last_crash"] is None


def test_health_answers_with_what_the_topic_has(site: Site, watching: Subscriber) -> None:
    with remote(site, watching) as device:
        assert problems("health", device.get("health")) == []


def test_a_retained_request_is_not_carried_out_at_every_start(
    site: Site, watching: Subscriber
) -> None:
    watching.publish(f"{site.topic}/request/restart", retain=True)
    try:
        with remote(site, watching) as device:
            device.get("health")
            assert continues(watching)
    finally:
        watching.publish(f"{site.topic}/request/restart", retain=True)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_response_topic_and_correlation_are_honoured_where_the_protocol_has_them(
    site: Site, watching: Subscriber, protocol: str
) -> None:
    site.settings["mqtt"]["protocol"] = protocol
    elsewhere = f"{site.topic}/response/mine"
    with remote(site, watching):
        watching.publish(
            f"{site.topic}/request/health", response_topic=elsewhere, correlation=b"\0\xff"
        )
        topic = elsewhere if protocol == "5" else f"{site.topic}/response/health"
        assert watching.wait_for(lambda got: answers(got, topic))
    [answer] = answers(watching.messages, topic)
    assert answer.properties.get("CorrelationData") == ("00ff" if protocol == "5" else None)


def test_only_what_is_allowed_is_done(site: Site, watching: Subscriber) -> None:
    site.settings["commands"]["allow"] = ["health"]
    with remote(site, watching) as device:
        answer = device.ask("restart")
        assert answer["error"] == "restart is not among commands.allow of this device"
        assert device.get("health")["paused"] is False


def test_garbage_and_floods_leave_the_daemon_as_it_is(site: Site, watching: Subscriber) -> None:
    site.settings["commands"]["max_rate_hz"] = 5.0
    with remote(site, watching) as device:
        for number in range(300):
            command = ("classify", "health", "explode", "a/b", "set_model")[number % 5]
            watching.publish(f"{site.topic}/request/{command}", b"\xff[{" * (number % 50))
        watching.publish(f"{site.topic}/request/health", b"x" * 200_000)
        assert continues(watching)
        assert wait_until(lambda: device.ask("health")["status"] == "ok")
    assert_no_prediction_is_missed(watching.messages)


def test_commands_work_on_another_name_after_a_reload(site: Site, watching: Subscriber) -> None:
    with remote(site, watching) as device:
        site.settings["device"]["id"] = "shed"
        site.write()
        watching.publish(f"{site.folder.name}/porch/request/reload")
        assert watching.wait_for(lambda got: any(each.topic.endswith("/shed/info") for each in got))
        assert device.get("health")["paused"] is False
