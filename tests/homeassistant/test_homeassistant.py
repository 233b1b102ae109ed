"""What Home Assistant is told of the device, when, and the command that shows or removes it.

Home Assistant itself is asked in tests/home_assistant, which takes minutes.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.brokers import Mosquitto, Subscriber, free_port, needs_mosquitto, wait_until
from support.daemon import isolated, run_cli
from support.discovery import TOPICS, components, message
from support.tiny_models import classifier

from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.messages import SCHEMA_FILE, Message, Topics
from edgeclassifier.daemon.requests import check_arguments
from edgeclassifier.errors import ModelError
from edgeclassifier.homeassistant import (
    Announcer,
    ViewEntities,
    birth_topic,
    removal_message,
)

CONFIG_TOPIC = "homeassistant/device/edgeclassifier-porch/config"

# The options of Home Assistant 2025.4, as its schemas of MQTT discovery have them. It ignores, or
# refuses, what it does not know.
ROOT = {"device", "origin", "components", "availability_topic"}
DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version"}
ORIGIN = {"name", "sw_version"}
COMMON = {
    *("platform", "unique_id", "name", "icon", "entity_category", "enabled_by_default"),
    *("json_attributes_topic", "json_attributes_template", "qos", "encoding"),
}
READ = {"state_topic", "value_template"}
WRITE = READ | {"command_topic", "command_template", "optimistic", "retain"}
MEASURED = {"device_class", "expire_after", "force_update"}
UNIT = {"unit_of_measurement", "state_class", "suggested_display_precision", "options"}
ALLOWED = {
    "sensor": READ | MEASURED | UNIT,
    "binary_sensor": READ | MEASURED | {"payload_on", "payload_off", "off_delay"},
    "event": READ | {"event_types", "device_class"},
    "image": {"image_topic", "content_type", "image_encoding"},
    "switch": WRITE | {"device_class", "payload_on", "payload_off", "state_on", "state_off"},
    "number": WRITE | {"device_class", "min", "max", "step", "mode", "unit_of_measurement"},
    "select": WRITE | {"options"},
    "button": {"command_topic", "command_template", "device_class", "payload_press", "retain"},
}
REQUIRED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "event": {"state_topic", "event_types"},
    "image": {"image_topic"},
    "switch": {"command_topic"},
    "number": {"command_topic"},
    "select": {"command_topic", "options"},
    "button": {"command_topic"},
}
VALUES: dict[str, set[Any]] = {
    "entity_category": {"config", "diagnostic"},
    "state_class": {"measurement"},
    "mode": {"auto", "box", "slider"},
    "device_class": {"duration", "temperature", "problem", "restart", "timestamp"},
    "qos": {0, 1, 2},
}


def problems(document: dict[str, Any]) -> Iterator[str]:
    """What Home Assistant would refuse or pass over."""
    parts = [("the document", document, ROOT, ROOT)]
    parts.append(("device", document.get("device", {}), {"identifiers"}, DEVICE))
    parts.append(("origin", document.get("origin", {}), {"name"}, ORIGIN))
    for key, entity in document.get("components", {}).items():
        platform = entity.get("platform")
        if platform not in ALLOWED:
            yield f"{key}: no platform {platform}"
        elif len(entity) > 1:
            needed = REQUIRED[platform] | {"platform", "unique_id"}
            parts.append((key, entity, needed, COMMON | ALLOWED[platform]))
    for name, part, required, allowed in parts:
        yield from (f"{name}: needs {missing}" for missing in sorted(required - set(part)))
        yield from (f"{name}: no option {unknown}" for unknown in sorted(set(part) - allowed))
        for option, values in VALUES.items():
            if part.get(option, min(values, key=str)) not in values:
                yield f"{name}: {option} is {part[option]}"


@pytest.mark.parametrize("controls", [COMMANDS, ()])
@pytest.mark.parametrize("image_enabled", [True, False])
def test_home_assistant_knows_every_option(controls: tuple[str, ...], image_enabled: bool) -> None:
    document = json.loads(message(controls=controls, image_enabled=image_enabled).payload)
    assert list(problems(document)) == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda all_: all_["origin"].pop("name"), "origin: needs name"),
        (lambda all_: all_.pop("origin"), "the document: needs origin"),
        (lambda all_: all_["components"]["label"].pop("unique_id"), "label: needs unique_id"),
        (
            lambda all_: all_["components"]["score"].update(state_clas="measurement"),
            "score: no option state_clas",
        ),
        (lambda all_: all_["components"]["image"].update(platform="pic"), "image: no platform pic"),
        (
            lambda all_: all_["components"]["score"].update(state_class="measured"),
            "score: state_class is measured",
        ),
    ],
)
def test_the_check_of_options_finds_what_is_wrong(
    spoil: Callable[[dict[str, Any]], object], problem: str
) -> None:
    document = json.loads(message().payload)
    spoil(document)
    assert problem in problems(document)


def test_the_message_is_retained_and_the_empty_one_is_its_removal() -> None:
    made = message()
    assert (made.topic, made.retain, made.qos) == (CONFIG_TOPIC, True, 1)
    removal = removal_message(topics=TOPICS, prefix="homeassistant")
    assert removal == Message(topic=CONFIG_TOPIC, payload=b"", retain=True)


def test_a_root_of_several_levels_gives_a_topic_that_home_assistant_reads() -> None:
    topics = Topics(root="house/cellar.1", device="porch", camera="cam0")
    made = message(topics=topics, prefix="ha")
    assert re.fullmatch(r"ha/device/[a-zA-Z0-9_-]+/config", made.topic)
    assert json.loads(made.payload)["availability_topic"] == "house/cellar.1/porch/availability"


def test_two_devices_share_neither_identifier_nor_unique_id() -> None:
    def ids(made: Message) -> set[str]:
        document = json.loads(made.payload)
        found = {entity["unique_id"] for entity in document["components"].values()}
        assert len(found) == len(document["components"])
        return found | set(document["device"]["identifiers"])

    other = Topics(root="edgeclassifier", device="garden", camera="cam0")
    assert not ids(message()) & ids(message(topics=other))


TOPIC_CONTRACTS = {
    TOPICS.state: "state",
    TOPICS.event: "event",
    TOPICS.health: "health",
    TOPICS.info: "info",
}


def contract_field(contract: dict[str, Any], names: list[str]) -> bool:
    """Whether the formal contract of our payloads has a field, which is a path of names."""
    definitions = json.loads(SCHEMA_FILE.read_text())["$defs"]

    def resolved(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "$ref" in schema:
            yield from resolved(definitions[schema["$ref"].rpartition("/")[2]])
        for part in schema.get("allOf", []):
            yield from resolved(part)
        yield schema

    if not names:
        return True
    for schema in resolved(contract):
        properties = schema.get("properties", {})
        if names[0] in properties:
            return contract_field(properties[names[0]], names[1:])
        if schema.get("additionalProperties") or (
            schema.get("type") == "object" and "properties" not in schema and "allOf" not in schema
        ):
            return True
    return False


def fields_of(template: str) -> list[list[str]]:
    """The fields of the payload that a template reads."""
    parts = re.search(r"set part = value_json\.(\w+)", template)
    if parts is not None:
        template = template.replace("part.", f"value_json.{parts[1]}.")
    found = re.findall(r"value_json((?:\.\w+)+)", template)
    return [[name for name in path.split(".")[1:] if name != "get"] for path in found]


@pytest.mark.parametrize("key", components())
def test_templates_read_fields_that_our_payloads_have(key: str) -> None:
    definitions = json.loads(SCHEMA_FILE.read_text())["$defs"]
    entity = components()[key]
    for topic, template in (
        ("state_topic", "value_template"),
        ("json_attributes_topic", "json_attributes_template"),
    ):
        if template not in entity:
            continue
        contract = definitions[TOPIC_CONTRACTS[entity[topic]]]
        fields = fields_of(entity[template])
        assert fields
        for field in fields:
            assert contract_field(contract, field), ".".join(field)


def test_a_field_that_our_payloads_do_not_have_is_found() -> None:
    definitions = json.loads(SCHEMA_FILE.read_text())["$defs"]
    assert not contract_field(definitions["health"], ["buffer", "pendin"])
    assert not contract_field(definitions["state"], ["labels"])


def test_what_missed_two_messages_is_unavailable_and_not_what_is_late_by_a_little() -> None:
    found = components(heartbeat_s=60.0, health_interval_s=30.0)
    assert {found[key]["expire_after"] for key in ("label", "score")} == {125}
    by_health = [each for each in found.values() if each.get("entity_category") == "diagnostic"]
    assert len(by_health) == 7
    assert {each["expire_after"] for each in by_health} == {65}
    assert components(heartbeat_s=0.5)["label"]["expire_after"] > 1


@pytest.mark.parametrize(
    ("key", "platform", "needed"),
    [
        ("classifying", "switch", {"pause", "resume"}),
        ("threshold", "number", {"set_threshold"}),
        ("model", "select", {"set_model"}),
        ("restart", "button", {"restart"}),
    ],
)
def test_a_control_is_there_only_where_its_commands_are_allowed(
    key: str, platform: str, needed: set[str]
) -> None:
    allowed = components(controls=needed)
    others = {"classifying", "threshold", "model", "restart"} - {key}
    assert len(allowed[key]) > 1
    assert all(len(allowed[other]) == 1 for other in others)
    for command in needed:
        without = components(controls=set(COMMANDS) - {command})[key]
        assert without == {"platform": platform}, "anything else would leave the entity there"


def test_without_pictures_the_image_is_removed() -> None:
    assert components(image_enabled=False)["image"] == {"platform": "image"}


@pytest.mark.parametrize("key", ["classifying", "threshold", "model", "restart"])
def test_controls_send_commands_of_this_device_and_never_retain_them(key: str) -> None:
    entity = components()[key]
    base, _, command = entity["command_topic"].rpartition("/")
    assert base == "edgeclassifier/porch/request"
    assert command in COMMANDS
    assert not entity.get("retain")


@pytest.mark.parametrize(
    ("key", "value"),
    [("classifying", True), ("threshold", 0.5), ("model", "small"), ("restart", None)],
)
def test_controls_send_what_their_command_takes(key: str, value: object) -> None:
    entity = components()[key]
    names = re.findall(r"'(\w+)':", entity.get("command_template", ""))
    check_arguments(entity["command_topic"].rpartition("/")[2], dict.fromkeys(names, value))


def test_a_threshold_below_the_one_to_leave_at_cannot_be_chosen() -> None:
    number = components(threshold_range=(0.25, 1.0))["threshold"]
    assert (number["min"], number["max"]) == (0.25, 1.0)


class Sent:
    """Takes messages in place of the session, which is tested elsewhere."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    @property
    def payloads(self) -> list[bytes]:
        return [each.payload for each in self.messages]


class World:
    """An announcer, what it has sent, and what there is to announce."""

    def __init__(self, *, jitter_s: float = 0.0, apart_s: float = 0.0) -> None:
        self.sent = Sent()
        self.topic = CONFIG_TOPIC
        self.content = b"one"
        self.announcer = Announcer(
            publish=self.sent.publish,
            make=lambda: Message(topic=self.topic, payload=self.content, retain=True),
            jitter_s=jitter_s,
            apart_s=apart_s,
        )

    def has(self, *payloads: bytes) -> bool:
        return wait_until(lambda: self.sent.payloads == list(payloads))


def test_what_did_not_change_is_not_announced_again() -> None:
    world = World()
    world.announcer.announce()
    world.announcer.changed()
    assert world.sent.payloads == [b"one"]
    world.content = b"two"
    world.announcer.changed()
    world.announcer.changed()
    assert world.sent.payloads == [b"one", b"two"]


def test_changes_in_quick_succession_become_one_message() -> None:
    world = World(apart_s=0.3)
    world.announcer.announce()
    for content in (b"two", b"three", b"four"):
        world.content = content
        world.announcer.changed()
    assert world.sent.payloads == [b"one"]
    assert world.has(b"one", b"four")


def test_the_birth_of_home_assistant_has_it_announced_again() -> None:
    world = World(jitter_s=0.2)
    world.announcer.announce()
    world.announcer.birth(b"offline")
    world.announcer.birth(b"online")
    world.announcer.birth(b"online")
    assert world.has(b"one", b"one")
    time.sleep(0.4)
    assert world.has(b"one", b"one"), "two births at once are answered once"
    world.announcer.birth(b"online")
    assert world.has(b"one", b"one", b"one")


def test_devices_answer_a_birth_at_different_moments() -> None:
    worlds = [World(jitter_s=5.0) for _ in range(20)]
    for world in worlds:
        world.announcer.birth(b"online")
    assert wait_until(lambda: any(world.sent.payloads for world in worlds))
    assert not all(world.sent.payloads for world in worlds)
    for world in worlds:
        world.announcer.stop()


def test_nothing_comes_after_stop() -> None:
    world = World(jitter_s=30.0, apart_s=30.0)
    world.announcer.announce()
    world.announcer.birth(b"online")
    world.announcer.stop()
    world.content = b"two"
    world.announcer.changed()
    world.announcer.birth(b"online")
    world.announcer.announce()
    assert world.sent.payloads == [b"one"]
    assert wait_until(lambda: not any(each.name == "announcer" for each in threading.enumerate()))


def test_a_new_topic_leaves_nothing_on_the_old_one() -> None:
    world = World()
    world.announcer.announce()
    world.topic = "elsewhere/device/porch/config"
    world.announcer.changed()
    assert world.sent.messages[1] == Message(topic=CONFIG_TOPIC, payload=b"", retain=True)
    assert world.sent.messages[2].topic == world.topic


@pytest.mark.parametrize("delayed", [False, True])
def test_a_fault_of_ours_ends_the_announcer_and_not_the_caller(delayed: bool) -> None:
    deaths: list[BaseException] = []
    fault = ZeroDivisionError("injected")

    def make() -> Message:
        raise fault

    announcer = Announcer(publish=Sent().publish, make=make, jitter_s=0.01, on_death=deaths.append)
    if delayed:
        announcer.birth(b"online")
    else:
        announcer.changed()
    assert wait_until(lambda: deaths == [fault])
    announcer.stop()


def test_what_cannot_be_described_is_logged_and_tried_again_with_the_next_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent, made = Sent(), Message(topic=CONFIG_TOPIC, payload=b"one", retain=True)
    outcomes: list[Message | ModelError] = [ModelError("no models"), made]

    def make() -> Message:
        outcome = outcomes.pop(0)
        if isinstance(outcome, ModelError):
            raise outcome
        return outcome

    announcer = Announcer(publish=sent.publish, make=make)
    announcer.announce()
    assert not sent.messages
    assert "no models" in caplog.text
    announcer.changed()
    assert sent.messages == [made]


def test_home_assistant_is_heard_below_its_prefix() -> None:
    assert birth_topic("homeassistant") == "homeassistant/status"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return isolated(tmp_path)


def test_the_command_prints_what_the_daemon_publishes(env: dict[str, str]) -> None:
    done = run_cli("discovery", "--set", "device.id=porch", env=env)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert list(problems(document)) == []
    assert document["device"]["identifiers"] == ["edgeclassifier-porch"]
    assert document["components"]["model"]["options"] == ["efficientnet_lite2_260_int8"]
    assert document["components"]["image"] == {"platform": "image"}


def test_a_model_for_an_edge_tpu_is_none_to_choose(tmp_path: Path, env: dict[str, str]) -> None:
    store = tmp_path / "models"
    store.mkdir()
    for name in ("mine", "mine_edgetpu"):
        (store / f"{name}.tflite").write_bytes(classifier())
    done = run_cli("discovery", env=env)
    assert done.returncode == 0, done.stderr
    options = json.loads(done.stdout)["components"]["model"]["options"]
    assert options == ["efficientnet_lite2_260_int8", "mine"]


def removal(port: int, *more: str) -> list[str]:
    settings = ("device.id=porch", "mqtt.host=127.0.0.1", f"mqtt.port={port}", *more)
    return ["discovery", "--remove", *(part for each in settings for part in ("--set", each))]


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_remove_leaves_nothing_on_the_broker(
    broker: Mosquitto, env: dict[str, str], protocol: str
) -> None:
    made = message()
    with Subscriber(broker.port, "homeassistant/#") as watching:
        watching.publish(made.topic, made.payload, retain=True)
        assert watching.wait_for(lambda got: len(got) == 1)
        done = run_cli(*removal(broker.port, f'mqtt.protocol="{protocol}"'), env=env)
        assert done.returncode == 0, done.stderr
        assert CONFIG_TOPIC in done.stdout
        assert watching.wait_for(lambda got: [each.payload for each in got][1:] == [b""])
    with Subscriber(broker.port, "homeassistant/#") as later:
        later.publish("homeassistant/marker")
        assert later.wait_for(lambda got: len(got) == 1)
        assert later.messages[0].topic == "homeassistant/marker", "nothing was retained"


@needs_mosquitto
def test_remove_says_that_a_daemon_may_bring_it_back(
    broker: Mosquitto, env: dict[str, str]
) -> None:
    done = run_cli(*removal(broker.port, "homeassistant.enabled=true"), env=env)
    assert done.returncode == 0
    assert "homeassistant.enabled is true" in done.stderr


def test_remove_says_in_one_line_that_there_is_no_broker(env: dict[str, str]) -> None:
    done = run_cli(*removal(free_port()), env=env)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "connection refused" in done.stderr


@needs_mosquitto
def test_remove_says_in_one_line_that_the_broker_does_not_allow_it(
    tmp_path: Path, env: dict[str, str]
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read homeassistant/#\n")
    with Mosquitto(tmp_path, lines=[f"acl_file {rules}"]) as strict:
        done = run_cli(*removal(strict.port), env=env)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "not authorized" in done.stderr
    assert CONFIG_TOPIC in done.stderr


# Several views


def view(name: str, **changes: Any) -> ViewEntities:
    topics = replace(TOPICS, view=name)
    return ViewEntities(
        **{"topics": topics, "heartbeat_s": 60.0, "threshold_range": (0.2, 1.0), **changes}
    )


OF_A_VIEW = (
    *("label", "score", "seen_today", "last_seen", "first_today", "first_ever", "label_changed"),
    *("image", "threshold", "model"),
)


def test_each_view_has_its_own_entities_under_one_device() -> None:
    made = message(views=[view("gate"), view("door")])
    document = json.loads(made.payload)
    found = document["components"]
    assert list(problems(document)) == []
    assert document["device"] == json.loads(message().payload)["device"]
    for name in ("gate", "door"):
        for key in OF_A_VIEW:
            assert found[f"{name}_{key}"]["unique_id"].endswith(f"_{name}_{key}")
        assert found[f"{name}_label"]["state_topic"] == f"edgeclassifier/porch/{name}/state"
        assert found[f"{name}_label"]["name"] == f"{name} label"
        assert f"'view': '{name}'" in found[f"{name}_threshold"]["command_template"]
    ids = [each["unique_id"] for each in found.values()]
    assert len(ids) == len(set(ids))
    device = components().keys() - set(OF_A_VIEW)
    of_views = {f"{name}_{key}" for name in ("gate", "door") for key in OF_A_VIEW}
    assert found.keys() == device | of_views


def test_a_view_that_is_gone_is_left_with_its_platforms() -> None:
    found = components(views=[view("gate")], gone=["door", ""])
    for prefix in ("door_", ""):
        for key in OF_A_VIEW:
            assert found[f"{prefix}{key}"] == {"platform": found[f"gate_{key}"]["platform"]}


def test_the_controls_of_a_view_read_and_change_that_view() -> None:
    found = components(views=[view("gate"), view("door")])
    for name in ("gate", "door"):
        this = f"{{% set view = value_json.views | selectattr('view', 'eq', '{name}') | first %}}"
        threshold, model = found[f"{name}_threshold"], found[f"{name}_model"]
        assert threshold["value_template"] == f"{this}{{{{ view.threshold }}}}"
        assert model["value_template"].startswith(f"{this}{{% set name = (view.model or '')")
        assert (
            model["command_template"] == f"{{{{ {{'model': value, 'view': '{name}'}} | to_json }}}}"
        )
    assert "view" not in components()["threshold"]["command_template"]
