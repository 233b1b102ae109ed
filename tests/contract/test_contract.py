"""Every payload against the contract, and the contract against payloads that break it."""

import copy
import io
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image
from support.brokers import PATIENCE_S, Mosquitto, Received, Subscriber, needs_mosquitto, wait_until
from support.contract import SCHEMA, problems, refusals
from support.tiny_models import LABELS, classifier

from edgeclassifier.config import load_config
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.health import health_payload as render_health
from edgeclassifier.contract.messages import (
    OFFLINE,
    ONLINE,
    Message,
    Payloads,
    Topics,
    encode,
    timestamp,
)
from edgeclassifier.contract.pictures import PictureMissing, described, without_picture
from edgeclassifier.contract.results import (
    CPU,
    Backend,
    Latency,
    ModelIdentity,
    Prediction,
    Result,
    State,
)
from edgeclassifier.contract.status import (
    AcceleratorStatus,
    BufferStatus,
    CameraStatus,
    CountsStatus,
    Crash,
    GuestStatus,
    KeepStatus,
    MqttStatus,
    PipelineStatus,
    ReloadStatus,
    Status,
)
from edgeclassifier.daemon.reporter import Reporter
from edgeclassifier.host.signals import StopSignal
from edgeclassifier.host.system import System
from edgeclassifier.metrics.tally import Tally
from edgeclassifier.service import run_service

DEFINITIONS = tuple(SCHEMA["$defs"])
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def decoded(payload: dict[str, Any]) -> Any:
    """Return what a subscriber sees. JSON knows neither NaN nor Infinity, Python's does."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(encode(payload), parse_constant=refuse)


# The contract itself


def test_the_contract_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_every_definition_can_be_used_and_refuses_something(definition: str) -> None:
    """A reference to nowhere would raise, and a definition without a rule accept everything."""
    assert problems(definition, {"score": "high"})
    assert problems(definition, None) or problems(definition, 0.5)


def test_availability_is_one_of_two_words() -> None:
    assert not problems("availability", ONLINE.decode())
    assert not problems("availability", OFFLINE.decode())
    assert problems("availability", "Online")
    assert problems("availability", "")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.678901Z",
        "2026-01-02T03:04:05.678+00:00",
        "2026-01-02 03:04:05.678Z",
        "at 2026-01-02T03:04:05.678Z",
        1767323045.678,
    ],
)
def test_a_timestamp_has_one_form(text: object) -> None:
    assert problems("timestamp", text)


@given(
    st.datetimes(
        datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone itself
        datetime(2100, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone itself
        timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
    )
)
def test_every_time_is_rendered_in_that_form_and_means_the_same(when: datetime) -> None:
    text = timestamp(when)
    assert not problems("timestamp", text)
    back = datetime.fromisoformat(text)
    assert timedelta(0) <= when - back < timedelta(milliseconds=1)


# Good payloads


def payloads() -> Payloads:
    return Payloads(camera="cam-0_b")


def result(*predictions: Prediction, latency_s: float = 0.0123456) -> Result:
    pixels = np.zeros((2, 2, 3), np.uint8)
    frame = Frame(
        pixels=pixels, seq=3, monotonic_s=100.0, utc=WHEN, camera="cam0", origin="Käse 1.png"
    )
    latency = Latency(
        capture_s=latency_s, preprocess_s=0.0, inference_s=latency_s, total_s=3 * latency_s
    )
    return Result(
        frame=frame,
        crop=pixels,
        predictions=predictions,
        latency=latency,
        model=ModelIdentity(name="tiny", sha256="0123456789abcdef" * 4),
        backend=CPU,
    )


def found() -> Result:
    cat = Prediction(rank=1, class_id=1, name="tabby", label='tabby, "tabby" cat', score=0.7000001)
    dog = Prediction(rank=2, class_id=0, name="Spürhund", label="Spürhund", score=0.2)
    return result(cat, dog)


PICTURE = described(b"a JPEG", topic="home/porch/cam0/image", width=2, height=2)


def prediction() -> Any:
    payload = payloads().prediction(found(), clock_synchronized=True)
    return decoded({**payload, "picture": PICTURE})


def some_state(label: str = "cat", class_id: int | None = 3, previous: str | None = "dog") -> State:
    return State(
        name=label,
        label=label,
        class_id=class_id,
        score=0.5,
        previous_name=previous,
        previous_label=previous,
        since_s=9.0,
    )


SEEN = {
    "last": "2026-01-02T03:04:05.678Z",
    "today": 2,
    "first_today": False,
    "first_ever": False,
}


def state() -> Any:
    return decoded(payloads().state(some_state(), found(), clock_synchronized=False, seen=SEEN))


def event() -> Any:
    payload = payloads().event(some_state(), found(), clock_synchronized=False, seen=SEEN)
    return decoded({**payload, "picture": PICTURE})


def classification() -> Any:
    return decoded(payloads().classification(found()))


def some_status(root: Path, tally: Tally, *, quiet: bool = False) -> Status:
    """What the parts say: all that they can, or, if `quiet`, as little as they may."""
    return Status(
        uptime_s=12.34,
        excused_s=None,
        progress=tally.progress(now_s=time.monotonic()),
        machine=System(root=root).status(),
        pipeline=PipelineStatus(
            camera=CameraStatus(state="recovering", problem="no frame for 10.2 s", recoveries=2),
            backend=CPU
            if quiet
            else Backend(name="cpu", degraded=True, reason="edgetpu is lost: killed by SIGABRT"),
            accelerator=None
            if quiet
            else AcceleratorStatus(
                state="waiting", fault="lost", reason="killed by SIGABRT", failures=1
            ),
            paused=False,
            superseded_frames=1,
            unreadable_frames=2,
        ),
        mqtt=MqttStatus(
            connected=True, published=5, dropped=3, reconnects=6, last_error="broker is gone"
        ),
        buffer=BufferStatus(pending=4, pending_bytes=2000, dropped=0, storage="memory"),
        guests=()
        if quiet
        else (GuestStatus(name="page", state="waiting", problem="KeyError: 1", restarts=1),),
        keep=None
        if quiet
        else KeepStatus(pictures=7, bytes=9000, kept=2, dropped=1, problem="no space left"),
        counts=CountsStatus(labels=3),
        reload=None
        if quiet
        else ReloadStatus(
            timestamp="2026-01-02T03:04:05.678Z", status="applied", changed=("mqtt.host",)
        ),
        last_crash=None
        if quiet
        else Crash(reason="killed", exit_code=None, timestamp="2026-01-02T03:04:05+00:00"),
    )


INFO: dict[str, Any] = {
    "schema": 1,
    "timestamp": "2026-01-02T03:04:05.678Z",
    "boot_id": "0" * 32,
    "device": "porch",
    "version": "1.0.0",
    "python": "3.13.5",
    "runtime": "litert 2.3.0",
    "threads": 3,
    "model": {"name": "tiny", "sha256": "0" * 64, "input": [224, 224], "classes": 1000},
    "backend": "cpu",
    "degraded": False,
    "degraded_reason": None,
    "cameras": ["cam0"],
    "models": ["tiny"],
    "config": {},
    "overrides": {},
}
"""As the service writes it: a real one is validated at the end of this file."""


class Reports:
    """A reporter, and what it published."""

    def __init__(self, root: Path, *, interval_s: float = 3600) -> None:
        self.messages: list[Message] = []
        self.tally = Tally(started_s=0)
        self.reporter = Reporter(
            publish=self._publish,
            topics=Topics(root="home", device="porch", camera="cam0"),
            info=lambda: INFO,
            health=lambda: render_health(some_status(root, self.tally), boot_id="0" * 32),
            interval_s=interval_s,
        )

    def _publish(self, message: Message) -> bool:
        self.messages.append(message)
        return True


PI_FILES = {
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "a0005\n",
    "proc/self/status": "VmRSS:\t90000 kB\n",
    "run/systemd/timesync/synchronized": "",
}


def make_pi(root: Path) -> Path:
    for name, content in PI_FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def health(root: Path) -> Any:
    tally = Tally(started_s=0)
    tally.count(result())
    return decoded(render_health(some_status(make_pi(root), tally), boot_id="0" * 32))


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    return {
        "prediction": prediction(),
        "state": state(),
        "event": event(),
        "info": copy.deepcopy(INFO),
        "health": health(tmp_path),
        "classification": classification(),
        "snapshot": {"topic": "t", "bytes": 9, "width": 2, "height": 2, **classification()},
    }


KINDS = ("prediction", "state", "event", "info", "health", "classification", "snapshot")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_published_keeps_the_contract(good: dict[str, Any], kind: str) -> None:
    assert problems(kind, good[kind]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_a_later_version_adds_breaks_nothing(good: dict[str, Any], kind: str) -> None:
    assert refusals(kind, {**good[kind], "later": 1}) == []


@pytest.mark.parametrize("kind", ["prediction", "state", "event", "classification"])
def test_a_payload_of_0_1_0_which_has_no_names_keeps_the_contract(
    good: dict[str, Any], kind: str
) -> None:
    """Devices of both versions are on one broker while a fleet is upgraded."""
    added = {"name", "previous_name"}
    before = {key: value for key, value in good[kind].items() if key not in added}
    before["predictions"] = [
        {key: value for key, value in each.items() if key not in added}
        for each in before["predictions"]
    ]
    assert before != good[kind]
    assert problems(kind, before) == []


PREDICTIONS = st.lists(
    st.builds(
        Prediction,
        rank=st.integers(1, 100),
        class_id=st.integers(0, 10_000),
        name=st.text(st.characters(exclude_categories=["Cs"])),
        label=st.text(st.characters(exclude_categories=["Cs"])),
        score=st.floats(0, 1) | st.floats(1, 1 + 1e-6),
    ),
    max_size=5,
)


@given(PREDICTIONS, st.floats(0, 1e4), st.booleans())
def test_every_prediction_keeps_the_contract(
    predictions: list[Prediction],
    latency_s: float,
    synchronized: bool,
) -> None:
    """Even where the sum of a softmax is a hair above 1."""
    whole = result(*predictions, latency_s=latency_s)
    payload = decoded(payloads().prediction(whole, clock_synchronized=synchronized))
    assert problems("prediction", payload) == []
    assert [(each["name"], each["label"]) for each in payload["predictions"]] == [
        (each.name, each.label) for each in predictions
    ]


@pytest.mark.parametrize("kind", ["prediction", "event"])
@pytest.mark.parametrize("reason", get_args(PictureMissing))
def test_a_message_that_lost_its_picture_keeps_the_contract(
    good: dict[str, Any], kind: str, reason: PictureMissing
) -> None:
    message = Message(topic="t", payload=encode(good[kind]), keep=True, picture=b"a JPEG")
    payload = json.loads(without_picture(message, reason).payload)
    assert problems(kind, payload) == []
    assert payload == {**good[kind], "picture": None, "picture_missing": reason}
    assert problems(kind, {**payload, "picture_missing": "lost"})


def test_a_file_whose_name_is_no_text_can_still_be_told() -> None:
    whole = result()
    nameless = replace(whole, frame=replace(whole.frame, origin=os.fsdecode(b"K\xe4se.png")))
    payload = decoded(payloads().prediction(nameless, clock_synchronized=True))
    assert problems("prediction", payload) == []
    assert payload["origin"] == "K?se.png"


def test_the_first_and_the_unknown_state_keep_the_contract() -> None:
    first = some_state(label="unknown", class_id=None, previous=None)
    build = payloads()
    assert problems("state", decoded(build.state(first, found(), clock_synchronized=True))) == []
    assert problems("event", decoded(build.event(first, found(), clock_synchronized=True))) == []


def test_health_of_a_pi_tells_everything(tmp_path: Path) -> None:
    payload = health(tmp_path)
    assert payload["cpu_temperature_c"] == 48.312
    assert payload["throttling"] == {
        "now": ["under_voltage", "throttled"],
        "since_boot": ["frequency_capped", "soft_temperature_limit"],
    }
    assert payload["memory_rss_bytes"] == 92_160_000
    assert payload["clock_synchronized"] is True
    assert payload["frames"] == 1
    assert set(payload["latency_ms"]) == {"capture", "preprocess", "inference", "total"}
    assert payload["latency_ms"]["capture"] == {"p50": 12.346, "p95": 12.346, "max": 12.346}
    assert payload["drops"] == {"superseded_frames": 1, "unreadable_frames": 2, "messages": 3}
    assert payload["buffer"]["pending"] == 4
    assert payload["degraded_reason"] == "edgetpu is lost: killed by SIGABRT"
    connection: dict[str, Any] = {"connected": True, "published": 5, "reconnects": 6}
    connection["last_error"] = "broker is gone"
    assert payload["mqtt"].items() >= connection.items()


def test_health_of_a_machine_that_tells_nothing_keeps_the_contract(tmp_path: Path) -> None:
    """Before the first frame, too."""
    quiet = some_status(tmp_path, Tally(started_s=0), quiet=True)
    payload = decoded(render_health(quiet, boot_id="0" * 32))
    assert problems("health", payload) == []
    assert [payload[key] for key in ("accelerator", "reload", "last_crash")] == [None] * 3
    unknown = ("cpu_temperature_c", "throttling", "memory_rss_bytes", "frame_age_s")
    assert [payload[key] for key in unknown] == [None] * 4
    assert payload["latency_ms"] == {}


def test_info_is_published_once_and_health_again_and_again_and_at_the_end(tmp_path: Path) -> None:
    reports = Reports(tmp_path, interval_s=0.01)
    reports.reporter.start()
    assert wait_until(lambda: len(reports.messages) >= 4)
    reports.reporter.stop()
    info, *health = reports.messages
    assert not any(thread.name == "health" for thread in threading.enumerate())
    assert (info.topic, json.loads(info.payload)) == ("home/porch/info", INFO)
    assert len(health) >= 4
    assert {each.topic for each in health} == {"home/porch/health"}
    assert all(each.retain and each.qos == 1 for each in reports.messages)
    assert [problems("health", json.loads(each.payload)) for each in health] == [[]] * len(health)


def test_health_is_published_at_once_and_at_the_end_however_long_the_interval(
    tmp_path: Path,
) -> None:
    reports = Reports(tmp_path, interval_s=3600)
    reports.reporter.start()
    assert wait_until(lambda: len(reports.messages) == 2)
    reports.reporter.stop()
    assert len(reports.messages) == 3


def test_a_reporter_that_was_not_started_can_be_stopped(tmp_path: Path) -> None:
    reports = Reports(tmp_path)
    reports.reporter.stop()
    assert reports.messages == []


# Broken payloads


def required(schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """List the paths of all fields that a definition requires, nested ones too."""
    for part in schema.get("allOf", []):
        yield from required(resolve(part))
    for key in schema.get("required", []):
        yield (key,)
    for key, value in schema.get("properties", {}).items():
        for path in required(resolve(value)):
            yield (key, *path)


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = SCHEMA["$defs"][reference.rpartition("/")[2]]
    return found


REQUIRED = [(kind, path) for kind in KINDS for path in required(SCHEMA["$defs"][kind])]


@pytest.mark.parametrize(
    ("kind", "path"), REQUIRED, ids=[f"{kind}-{'.'.join(path)}" for kind, path in REQUIRED]
)
def test_a_payload_without_a_field_breaks_the_contract(
    good: dict[str, Any], kind: str, path: tuple[str, ...]
) -> None:
    payload = good[kind]
    table = payload
    for key in path[:-1]:
        table = table[key]
    del table[path[-1]]
    assert problems(kind, payload)


BROKEN_HEAD: list[tuple[str, object]] = [
    ("schema", 2),
    ("timestamp", "2026-01-02T03:04:05Z"),
    ("timestamp", 1767323045.678),
    ("clock_synchronized", "true"),
    ("boot_id", "1234"),
    ("seq", -1),
    ("seq", 1.5),
    ("seq", "1"),
    ("camera", "cam/0"),
    ("camera", ""),
]
BROKEN: dict[str, list[tuple[str, object]]] = {
    "prediction": [
        *BROKEN_HEAD,
        ("origin", None),
        ("model.sha256", "0" * 63),
        ("model.sha256", "X" * 64),
        ("model", "tiny"),
        ("backend", None),
        ("degraded", "no"),
        ("latency_ms.total", -0.1),
        ("latency_ms.total", "30 ms"),
        ("latency_ms.capture", None),
        ("predictions", None),
        ("predictions", {}),
        ("predictions.0", "cat"),
        ("predictions.0.rank", 0),
        ("predictions.0.class_id", -1),
        ("predictions.0.label", 7),
        ("predictions.0.name", None),
        ("predictions.1.score", 1.01),
        ("predictions.1.score", -0.01),
        ("predictions.1.score", "0.5"),
        ("picture", "t"),
        ("picture.sha256", "0" * 63),
        ("picture.bytes", 0),
    ],
    "classification": [("timestamp", 7), ("camera", ""), ("answer_age_s", -1), ("repeated", "no")],
    "snapshot": [("bytes", 0), ("width", 0), ("height", 1.5), ("topic", None)],
    "state": [
        *BROKEN_HEAD,
        ("predictions.0.rank", 0),
        ("predictions.0.name", 7),
        ("name", None),
        ("label", None),
        ("class_id", -1),
        ("class_id", "3"),
        ("score", 1.5),
        ("score", None),
    ],
    "event": [
        *BROKEN_HEAD,
        ("name", 3),
        ("label", None),
        ("score", -1),
        ("event_type", "changed"),
        ("event_type", None),
        ("previous_name", 3),
        ("previous_label", 3),
        ("picture.topic", None),
        ("picture.width", 0),
    ],
    "info": [
        ("schema", "1"),
        ("timestamp", "yesterday"),
        ("device", "my device"),
        ("threads", 0),
        ("threads", 1.5),
        ("model.input", [224]),
        ("model.input", [224, 224, 3]),
        ("model.input", "224x224"),
        ("model.classes", 1),
        ("model.sha256", ""),
        ("degraded", None),
        ("cameras", "cam0"),
        ("cameras", ["a b"]),
        ("models", "tiny"),
        ("overrides", None),
        ("config", "[mqtt]"),
    ],
    "health": [
        ("schema", 0),
        ("clock_synchronized", None),
        ("uptime_s", -1),
        ("uptime_s", "1 day"),
        ("frames", -1),
        ("frames", 0.5),
        ("frame_age_s", "old"),
        ("fps", -1),
        ("fps", None),
        ("latency_ms", None),
        ("latency_ms.total.p95", -1),
        ("latency_ms.total", {"p50": 1}),
        ("memory_rss_bytes", 1.5),
        ("cpu_temperature_c", "48 C"),
        ("throttling", {"now": []}),
        ("throttling.now", ["hot"]),
        ("throttling.now", "throttled"),
        ("buffer.pending", -1),
        ("drops.messages", None),
        ("paused", None),
        ("mqtt.connected", "yes"),
        ("mqtt.reconnects", -1),
        ("mqtt.last_error", 5),
        ("last_crash", {}),
        ("last_crash.reason", None),
        ("degraded_reason", 1),
        ("accelerator.fault", "tired"),
        ("camera.state", "asleep"),
        ("buffer.storage", "tape"),
        ("reload.status", "maybe"),
    ],
}
BROKEN_CASES = [(kind, path, value) for kind in KINDS for path, value in BROKEN[kind]]


@pytest.mark.parametrize(("kind", "path", "value"), BROKEN_CASES)
def test_a_payload_with_a_wrong_value_breaks_the_contract(
    good: dict[str, Any], kind: str, path: str, value: object
) -> None:
    payload = good[kind]
    *parents, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
    table = payload
    for key in parents:
        table = table[key]
    assert table[last] != value
    table[last] = value
    assert problems(kind, payload)


# The daemon over a real broker


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        pixels = np.zeros((2, 2, 3), np.uint8)
        pixels.reshape(-1)[number // 2] = 255
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@contextmanager
def daemon(tmp_path: Path, pictures: Path, port: int) -> Iterator[None]:
    """Run the daemon in a thread, on the pictures round and round, until the block ends."""
    model, labels = tmp_path / "tiny.tflite", tmp_path / "labels.txt"
    model.write_bytes(classifier("uint8", scale=1 / 256))
    labels.write_text("\n".join(LABELS))
    settings = {
        "device.id": "porch",
        "device.state_directory": str(tmp_path / "state"),
        "camera.source": "replay",
        "camera.replay.path": str(pictures),
        "camera.replay.loop": True,
        "camera.replay.rate_hz": 50,
        "preprocess.crop_fraction": 1,
        "model.name": str(model),
        "model.labels": str(labels),
        "model.store": str(tmp_path / "store"),
        "state.hold_s": 0,
        "state.window_s": 0,
        "image.enabled": True,
        "mqtt.port": port,
        "mqtt.host": "127.0.0.1",
        "mqtt.root": "home",
        "mqtt.max_rate_hz": 0,
    }
    config = load_config(None, overrides=[f"{key}={json.dumps(settings[key])}" for key in settings])
    stop = StopSignal()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run_service, config, stop=stop)
        try:
            yield
        finally:
            stop.set()
            running.result(PATIENCE_S)


TOPICS = {
    "home/porch/availability": "availability",
    "home/porch/info": "info",
    "home/porch/health": "health",
    "home/porch/cam0/predictions": "prediction",
    "home/porch/cam0/state": "state",
    "home/porch/cam0/event": "event",
}
RETAINED = ("availability", "info", "health", "state")


@needs_mosquitto
def test_everything_the_daemon_publishes_keeps_the_contract(tmp_path: Path, pictures: Path) -> None:
    def enough(messages: list[Received]) -> bool:
        counts = Counter(message.topic for message in messages)
        return counts["home/porch/cam0/event"] >= 8 and counts["home/porch/cam0/image"] >= 1

    with Mosquitto(tmp_path) as broker:
        with Subscriber(broker.port, "home/#") as subscriber:
            with daemon(tmp_path, pictures, broker.port):
                assert subscriber.wait_for(enough)
            assert subscriber.wait_for(lambda got: got[-1].payload == OFFLINE)
            messages = subscriber.messages
        with Subscriber(broker.port, "home/#") as late:
            assert late.wait_for(lambda got: len(got) >= len(RETAINED))
            retained = {message.topic for message in late.messages}
    assert {message.topic for message in messages} == {*TOPICS, "home/porch/cam0/image"}
    assert retained == {topic for topic, kind in TOPICS.items() if kind in RETAINED}
    for message in messages:
        if message.topic.endswith("/image"):
            with Image.open(io.BytesIO(message.payload)) as image:
                assert (image.format, image.size) == ("JPEG", (2, 2))
        else:
            assert problems(TOPICS[message.topic], value_of(message)) == []
    assert_story(messages)


def assert_story(messages: list[Received]) -> None:
    """Six pictures of three classes, each shown twice, round and round.

    What was published before the connection stood is lost, and a state may give way to a newer.
    """

    def values(name: str) -> list[Any]:
        return [value_of(each) for each in messages if each.topic.endswith(f"/{name}")]

    assert values("availability") == ["online", "offline"]
    predictions, events = values("predictions"), values("event")
    for each in predictions:
        number = int(each["origin"].removesuffix(".png"))
        assert each["predictions"][0]["label"] == LABELS[number // 2]
    for before, after in pairwise(events):
        assert before["label"] == after["previous_label"] != after["label"]
    numbered = predictions + values("state") + events
    assert len({each["seq"] for each in numbered}) == len(numbered)
    for each in (predictions, values("state"), events):
        assert [one["seq"] for one in each] == sorted(one["seq"] for one in each)
    assert values("health")[-1]["frames"] >= len(predictions)
    assert values("info")[0]["model"]["classes"] == len(LABELS)
    told = [*values("health"), *values("info"), *numbered]
    assert len({each["boot_id"] for each in told}) == 1


def value_of(message: Received) -> Any:
    """Return JSON as data, and the plain text of the availability as a string."""
    text = message.payload.decode()
    return text if message.topic.endswith("/availability") else json.loads(text)
