"""The examples for Node-RED and Home Assistant fit what the device publishes and takes."""

import base64
import itertools
import json
import re
import shutil
import subprocess
import zipfile
from typing import Any

import numpy as np
import pytest
from paho.mqtt.client import topic_matches_sub
from support.contract import problems
from support.daemon import REPOSITORY
from support.discovery import components
from support.examples import event

from edgeclassifier.contract import pictures
from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.messages import Topics
from edgeclassifier.daemon.publisher import encode_jpeg
from edgeclassifier.engine.names import Names

EXAMPLES = REPOSITORY / "deploy" / "examples"
FLOW: list[dict[str, Any]] = json.loads((EXAMPLES / "node-red-flow.json").read_text())
NODES = {node["id"]: node for node in FLOW}
AUTOMATION = (EXAMPLES / "home-assistant-automation.yaml").read_text()
MODEL = REPOSITORY / "edgeclassifier/models/bundled/efficientnet_lite2_260_int8.tflite"
TOPICS = Topics(root="edgeclassifier", device="porch", camera="cam0")
RESPONSE = f"{TOPICS.base}/response/classify"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node (apt: nodejs)")

# A function node's surroundings. Timers wait for a message that says "elapse".
HARNESS = """
const { initialize, code, messages } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const stored = new Map(), timers = new Map(), said = [];
let sent = [], numbers = 0;
const names = ["msg", "node", "context", "env", "setTimeout", "clearTimeout"];
const given = [
    { send: (what) => sent.push(what), warn: (text) => said.push(text) },
    { get: (key) => stored.get(key), set: (key, value) => stored.set(key, value) },
    { get: (name) => (name === "DEVICE" ? "porch" : undefined) },
    (run) => { timers.set(++numbers, run); return numbers; },
    (number) => timers.delete(number),
];
const call = (body, msg) => new Function(...names, body)(msg, ...given);
const revived = (msg) => msg.jpeg ? { ...msg, payload: Buffer.from(msg.jpeg, "base64") } : msg;
call(initialize);
const answers = messages.map((msg) => {
    sent = [];
    if (msg.elapse) { for (const run of timers.values()) run(); timers.clear(); return sent; }
    return call(code, revived(msg)) ?? null;
});
const sizes = [...stored.values()].map((each) => each.size);
console.log(JSON.stringify({ answers, said, sizes, timers: timers.size }));
"""


def run(name: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Give messages to a function node, and return what it makes of each."""
    assert NODE is not None
    (function,) = (node for node in FLOW if node["type"] == "function" and node["name"] == name)
    given = {"initialize": function["initialize"], "code": function["func"], "messages": messages}
    done = subprocess.run(
        [NODE, "-e", HARNESS],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def received(payload: object) -> dict[str, Any]:
    return {"topic": TOPICS.event, "payload": payload}


# Node-RED


def test_every_wire_leads_to_a_node_and_every_node_belongs_somewhere() -> None:
    assert len(NODES) == len(FLOW)
    for node in FLOW:
        assert all(NODES[to]["z"] == node["z"] for to in itertools.chain(*node.get("wires", [])))
        assert NODES[node["z"]]["type"] == "tab" if "z" in node else node["type"] != "debug"
        if "mqtt " in node["type"]:
            assert NODES[node["broker"]]["type"] == "mqtt-broker"
        if node["type"] in {"function", "switch"}:
            assert len(node["wires"]) == node["outputs"]
    reached = {*itertools.chain(*(out for node in FLOW for out in node.get("wires", [])))}
    begins = {node["id"] for node in FLOW if node["type"] in {"mqtt in", "inject"}}
    assert reached | begins == {node["id"] for node in FLOW if "z" in node}


def test_it_listens_to_what_the_device_publishes_and_keeps_its_session() -> None:
    listens = [node["topic"] for node in FLOW if node["type"] == "mqtt in"]
    published = [TOPICS.predictions, TOPICS.state, TOPICS.event, TOPICS.image, RESPONSE]
    for filter_, topic in zip(listens, published, strict=True):
        assert [each for each in published if topic_matches_sub(filter_, each)] == [topic]
    (broker,) = (node for node in FLOW if node["type"] == "mqtt-broker")
    assert broker["clientid"]
    assert (broker["cleansession"], broker["autoUnsubscribe"]) == (False, False)
    assert int(broker["sessionExpiry"]) > 0


def names_of_the_bundled_model() -> tuple[str, ...]:
    return Names(zipfile.ZipFile(MODEL).read("labels.txt").decode().splitlines()).all


def test_the_switches_know_the_topics_and_the_names_of_the_bundled_model() -> None:
    kinds, names = (node["rules"] for node in FLOW if node["type"] == "switch")
    topics = (TOPICS.predictions, TOPICS.state, TOPICS.event)
    for rule, topic in zip(kinds, topics, strict=True):
        assert [each for each in topics if re.search(rule["v"], each)] == [topic]
    found = [each for each in names_of_the_bundled_model() if re.search(names[0]["v"], each)]
    assert found == ["brambling", "goldfinch", "junco"]


@needs_node
def test_the_flow_drops_repeats_and_what_is_foreign() -> None:
    old = event(1, timestamp="2026-01-02T03:04:05.678Z")
    unknown = event(2, clock_synchronized=False)
    payloads = [
        event(0),
        event(0),
        old,
        unknown,
        event(0, boot_id="1f" * 16),
        event(0),
        5,
        [],
        None,
    ]
    found = run("drop repeats", [received(each) for each in payloads])
    ages = [each and each["age_s"] for each in found["answers"]]
    assert ages[0] < 60
    assert ages[2] > 24 * 3600
    assert (ages[1], ages[3], ages[5:]) == (None, None, [None] * 4)
    passed = [each["payload"] for each in found["answers"] if each]
    assert passed == [payloads[0], old, unknown, payloads[4]]
    assert len(found["said"]) == 3


@needs_node
def test_what_the_flow_remembers_is_bounded() -> None:
    one = event(0)
    payloads = [{**one, "seq": seq} for seq in (*range(10_001), 10_000, 1, 0)]
    found = run("drop repeats", [received(each) for each in payloads])
    assert [each is not None for each in found["answers"][-4:]] == [True, False, False, True]
    assert found["sizes"] == [10_000]


def jpeg(seq: int, *, comment: bytes | None = None) -> dict[str, Any]:
    """A message with a picture, as a device publishes it with image.on = "event"."""
    if comment is None:
        comment = pictures.comment(event(seq))
    pixels = np.full((40, 60, 3), seq, np.uint8)
    payload = encode_jpeg(pixels, quality=80, comment=comment)
    return {"topic": TOPICS.image, "jpeg": base64.b64encode(payload).decode()}


@needs_node
def test_the_flow_finds_the_picture_of_an_event_and_no_later_one() -> None:
    later_snapshot = jpeg(9, comment=b"")
    numbers = [jpeg(0), jpeg(1), later_snapshot, received(event(0)), received(event(1))]
    found = run("picture of the event", [*numbers, received(event(2))])
    assert found["answers"][:3] == [None] * 3
    shown = [bytes(each["picture"]["data"]) for each in found["answers"][3:5]]
    assert [base64.b64encode(each).decode() for each in shown] == [
        numbers[0]["jpeg"],
        numbers[1]["jpeg"],
    ]
    assert found["answers"][5]["picture"] is None
    assert found["answers"][5]["payload"]["seq"] == 2


@needs_node
def test_the_pictures_that_the_flow_remembers_are_bounded() -> None:
    messages = [jpeg(seq) for seq in range(50)]
    garbage = [b"\xff", b"\xff\xd8\xff", b"\xff\xd8\xff\xfe\xff\xff", b"GIF89a"]
    messages += [{"jpeg": base64.b64encode(each).decode()} for each in garbage]
    found = run("picture of the event", [*messages, *(received(event(seq)) for seq in (0, 49))])
    assert found["sizes"] == [20]
    assert [each["picture"] is not None for each in found["answers"][-2:]] == [False, True]
    assert len(found["said"]) == 1


@needs_node
def test_the_button_sends_a_request_of_the_contract() -> None:
    (button,) = (node for node in FLOW if node["type"] == "inject")
    values = {each["p"]: each["v"] for each in button["props"]}
    assert values["command"] in COMMANDS
    pressed = {"_msgid": "a1", **values, "payload": json.loads(values["payload"])}
    threshold = {"_msgid": "a2", "command": "set_threshold", "payload": {"threshold": 0.6}}
    first, second = run("ask", [pressed, threshold])["answers"]
    assert first == {"topic": f"{TOPICS.base}/request/classify", "payload": {"transaction": "a1"}}
    assert problems("request", first["payload"]) == []
    assert second["topic"] == f"{TOPICS.base}/request/set_threshold"
    assert problems("request_set_threshold", second["payload"]) == []


@needs_node
def test_an_answer_is_joined_with_its_request_and_silence_is_told() -> None:
    requests = run("ask", [{"_msgid": f"a{n}", "command": "classify"} for n in range(3)])["answers"]
    good = {"status": "ok", "data": {"name": "junco"}, "transaction": "a0"}
    bad = {"status": "error", "data": {}, "error": "paused", "transaction": "a1"}
    others = {"status": "ok", "data": {}, "transaction": "b0"}
    responses = [{"topic": RESPONSE, "payload": each} for each in (others, bad, good, good)]
    found = run("wait for the answer", [*requests, *responses, {"elapse": True}])
    *nothing, foreign, refused, answered, again, late = found["answers"]
    assert [*nothing, foreign, again] == [None] * 5
    assert answered == [{"request": requests[0], "topic": RESPONSE, "payload": good["data"]}, None]
    assert refused[0] is None
    assert (refused[1]["request"], refused[1]["error"]) == (requests[1], "paused")
    assert late == [[None, {"request": requests[2], "error": "no answer within 35 s"}]]
    assert (found["sizes"], found["timers"]) == ([0], 0)


# Home Assistant


def test_the_automation_is_of_the_entities_and_topics_of_the_device() -> None:
    found = components()
    entities = {
        f"{each['platform']}.porch_{each['name'].lower().replace(' ', '_')}"
        for each in found.values()
    }
    used = set(re.findall(r"\b[a-z_]+\.porch_\w+", AUTOMATION))
    assert used == {"event.porch_label_changed", "image.porch_image"}
    assert used <= entities
    template = found["label_changed"]["value_template"]
    assert 'image.on = "event"' in AUTOMATION
    attributes = set(re.findall(r"attributes\.(\w+)", AUTOMATION))
    assert attributes <= set(re.findall(r"value_json\.(\w+)", template))


def test_the_automation_is_yaml_with_the_names_of_the_bundled_model() -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    (automation,) = yaml.safe_load(AUTOMATION)
    assert {"id", "alias", "triggers", "conditions", "actions", "mode"} <= set(automation)
    (names,) = re.findall(r"in \[(.*?)\]", automation["conditions"][1]["value_template"])
    assert set(re.findall(r"\w+", names)) <= {*names_of_the_bundled_model()}
