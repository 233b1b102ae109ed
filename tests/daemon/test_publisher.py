"""What of the results is published, when, and as what kind of message."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.contract import pictures
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.messages import JSON, Message, Payloads, Topics
from edgeclassifier.contract.pictures import JPEG
from edgeclassifier.contract.results import CPU, UNKNOWN, Latency, ModelIdentity, Prediction, Result
from edgeclassifier.daemon.publisher import Publisher, PublisherSettings, clock_lead_s
from edgeclassifier.daemon.sightings import Sightings
from edgeclassifier.daemon.stable_label import StableLabel, StateRules

START = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
LEAD_S = START.timestamp() - 1000
"""How far the wall clock is ahead of the monotonic one, unless it is set."""
LATENCY = Latency(capture_s=0.0031, preprocess_s=0.0019, inference_s=0.02461, total_s=0.03)


def result(now_s: float, label: str | None, *, score: float = 0.9, width: int = 6) -> Result:
    predictions = () if label is None else (
        Prediction(rank=1, class_id=ord(label[0]), name=label, label=label, score=score),
        Prediction(rank=2, class_id=0, name="second", label="second, 2nd", score=0.05),
    )  # fmt: skip
    pixels = np.full((4, 6, 3), 128, np.uint8)
    frame = Frame(
        pixels=pixels,
        seq=0,
        monotonic_s=1000 + now_s,
        utc=START + timedelta(seconds=now_s),
        camera="cam0",
        origin="picture.png",
    )
    crop = np.full((4, width, 3), (250, 20, 20), np.uint8)
    return Result(
        frame=frame,
        crop=crop,
        predictions=predictions,
        latency=LATENCY,
        model=ModelIdentity(name="tiny", sha256="0" * 64),
        backend=CPU,
    )


class Outbox:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    def of(self, kind: str) -> list[Message]:
        return [each for each in self.messages if each.topic == f"home/porch/cam0/{kind}"]

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(each.payload) for each in self.of(kind)]


def published(
    results: Sequence[Result],
    *,
    hold_s: float = 0.0,
    max_rate_hz: float = 0.0,
    heartbeat_s: float = 60.0,
    image_max_rate_hz: float | None = None,
    cool_down_s: float = 0.0,
    sightings: Sightings | None = None,
    clock_synchronized: Callable[[], bool] = lambda: True,
    clock_lead_s: Callable[[], float] = lambda: LEAD_S,
    **more: Any,
) -> Outbox:
    outbox = Outbox()
    publisher = Publisher(
        publish=outbox.publish,
        payloads=Payloads(camera="cam0"),
        label=StableLabel(
            StateRules(threshold=0.5, leave_threshold=0.5, window_s=hold_s, hold_s=hold_s)
        ),
        settings=PublisherSettings(
            topics=Topics(root="home", device="porch", camera="cam0"),
            max_rate_hz=max_rate_hz,
            heartbeat_s=heartbeat_s,
            image_max_rate_hz=image_max_rate_hz,
            image_quality=80,
            cool_down_s=cool_down_s,
            **more,
        ),
        sightings=sightings,
        clock_lead_s=clock_lead_s,
    )
    for each in results:
        publisher.clock_synchronized = clock_synchronized()
        publisher.handle(each)
    return outbox


def test_a_result_is_published_as_it_is() -> None:
    [payload] = published([result(0, "cat", score=0.8765432)]).payloads("predictions")
    boot_id = payload.pop("boot_id")
    assert len(boot_id) == 32
    assert payload == {
        "schema": 1,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "clock_synchronized": True,
        "seq": 0,
        "camera": "cam0",
        "view": "cam0",
        "origin": "picture.png",
        "repeated": False,
        "answer_age_s": 0.0,
        "model": {"name": "tiny", "sha256": "0" * 64},
        "backend": "cpu",
        "degraded": False,
        "degraded_reason": None,
        "latency_ms": {"capture": 3.1, "preprocess": 1.9, "inference": 24.61, "total": 30.0},
        "predictions": [
            {"rank": 1, "class_id": 99, "name": "cat", "label": "cat", "score": 0.87654},
            {"rank": 2, "class_id": 0, "name": "second", "label": "second, 2nd", "score": 0.05},
        ],
    }


def test_a_change_of_state_is_published_as_state_and_as_event() -> None:
    outbox = published([result(0, "cat"), result(1, "dog", score=0.7)])
    states, events = outbox.payloads("state"), outbox.payloads("event")
    assert [(each["label"], each["class_id"], each["score"]) for each in states] == [
        ("cat", 99, 0.9),
        ("dog", 100, 0.7),
    ]
    assert [(each["label"], each["previous_label"], each["event_type"]) for each in events] == [
        ("cat", None, "label_changed"),
        ("dog", "cat", "label_changed"),
    ]
    assert [each["timestamp"] for each in states] == [
        "2026-01-02T03:04:05.678Z",
        "2026-01-02T03:04:06.678Z",
    ]


@pytest.mark.parametrize("weak", [result(0, "cat", score=0.49), result(0, None)])
def test_no_label_above_the_threshold_is_the_state_unknown(weak: Result) -> None:
    [state] = published([weak]).payloads("state")
    assert (state["label"], state["class_id"]) == (UNKNOWN, None)


def test_the_state_is_retained_and_nothing_else_is() -> None:
    outbox = published([result(0, "cat"), result(1, "dog")], image_max_rate_hz=10)
    assert {message.topic.rpartition("/")[2]: message.retain for message in outbox.messages} == {
        "predictions": False,
        "state": True,
        "event": False,
        "image": False,
    }


def test_pictures_may_be_lost_and_nothing_else() -> None:
    outbox = published([result(0, "cat")], image_max_rate_hz=10)
    assert {message.topic.rpartition("/")[2]: message.qos for message in outbox.messages} == {
        "predictions": 1,
        "state": 1,
        "event": 1,
        "image": 0,
    }


def test_every_message_says_what_it_is() -> None:
    outbox = published([result(0, "cat")], image_max_rate_hz=10)
    assert [message.content_type for message in outbox.messages] == [JSON, JSON, JSON, JPEG]


LABELS = st.lists(st.sampled_from(["cat", "dog", None]), min_size=1, max_size=40)


@given(LABELS, st.sampled_from([0.0, 2.0]), st.sampled_from([0.0, 1.0]), st.sampled_from([0.5, 3]))
def test_numbers_count_all_messages_that_have_one_without_a_gap(
    labels: list[str | None], max_rate_hz: float, hold_s: float, heartbeat_s: float
) -> None:
    outbox = published(
        [result(number / 4, label) for number, label in enumerate(labels)],
        max_rate_hz=max_rate_hz,
        hold_s=hold_s,
        heartbeat_s=heartbeat_s,
        image_max_rate_hz=1,
    )
    numbered = [json.loads(each.payload) for each in outbox.messages if each.content_type == JSON]
    assert [each["seq"] for each in numbered] == list(range(len(numbered)))
    assert len({each["boot_id"] for each in numbered}) == 1


@given(LABELS, st.sampled_from([0.0, 1.0]))
def test_every_event_has_its_state_right_before_it(labels: list[str | None], hold_s: float) -> None:
    frames = [result(number / 4, label) for number, label in enumerate(labels)]
    outbox = published(frames, hold_s=hold_s, heartbeat_s=0.5)
    for index, message in enumerate(outbox.messages):
        if message.topic.endswith("/event"):
            before = outbox.messages[index - 1]
            assert before.topic.endswith("/state")
            assert json.loads(before.payload)["label"] == json.loads(message.payload)["label"]


def test_two_runs_have_different_boot_ids() -> None:
    first, second = (published([result(0, "cat")]).payloads("state")[0] for _ in range(2))
    assert first["boot_id"] != second["boot_id"]


def test_state_and_event_say_how_often_the_label_was_seen() -> None:
    labels = ["cat", "dog", "cat", None]
    outbox = published(
        [result(number, label) for number, label in enumerate(labels)],
        sightings=Sightings(None, zone=UTC),
    )
    seen = [each["seen"] for each in outbox.payloads("event")]
    assert seen == [each["seen"] for each in outbox.payloads("state")]
    assert seen[0] == {"last": None, "today": 1, "first_today": True, "first_ever": True}
    assert seen[2] == {
        "last": "2026-01-02T03:04:06.678Z",
        "today": 2,
        "first_today": False,
        "first_ever": False,
    }
    assert seen[3] is None


def test_within_the_cool_down_of_a_label_its_event_is_not_repeated_but_the_state_is() -> None:
    frames = [result(number, "cat" if number % 2 == 0 else "dog") for number in range(11)]
    outbox = published([*frames, result(11, None), result(12, None)], cool_down_s=5)
    events = [(each["label"], each["timestamp"][17:19]) for each in outbox.payloads("event")]
    assert events == [
        *(("cat", "05"), ("dog", "06"), ("cat", "11"), ("dog", "12"), ("unknown", "16"))
    ]
    assert len(outbox.payloads("state")) == 12
    numbered = [json.loads(each.payload)["seq"] for each in outbox.messages]
    assert numbered == list(range(len(numbered)))


# How often

STEADY = [result(number / 4, "cat") for number in range(81)]
"""20 seconds at 4 Hz."""


@pytest.mark.parametrize(
    ("max_rate_hz", "fewest", "most"), [(0, 81, 81), (4, 81, 81), (1, 20, 21), (0.1, 2, 3)]
)
def test_predictions_are_published_at_no_more_than_their_rate(
    max_rate_hz: float, fewest: int, most: int
) -> None:
    outbox = published(STEADY, max_rate_hz=max_rate_hz)
    assert fewest <= len(outbox.of("predictions")) <= most


def test_the_state_is_not_held_back_by_the_rate_of_predictions() -> None:
    changing = [result(number / 4, "cat" if number % 2 else "dog") for number in range(40)]
    outbox = published(changing, max_rate_hz=0.1)
    assert len(outbox.of("event")) == len(outbox.of("state")) == 40


def test_a_state_that_lasts_is_repeated_as_a_heartbeat_but_is_no_event() -> None:
    outbox = published(STEADY, heartbeat_s=5)
    assert [each["timestamp"][17:-1] for each in outbox.payloads("state")] == [
        "05.678", "10.678", "15.678", "20.678", "25.678"
    ]  # fmt: skip
    assert len(outbox.of("event")) == 1


def test_the_heartbeat_counts_from_the_latest_change() -> None:
    frames = [result(number / 4, "cat" if number < 12 else "dog") for number in range(40)]
    states = published(frames, heartbeat_s=5).payloads("state")
    assert [(each["label"], each["timestamp"][17:-1]) for each in states] == [
        ("cat", "05.678"),
        ("dog", "08.678"),
        ("dog", "13.678"),
    ]


def test_a_heartbeat_repeats_the_state_that_holds_not_what_flickers() -> None:
    frames = [
        result(number / 4, "dog" if number % 4 == 0 and number else "cat") for number in range(40)
    ]
    outbox = published(frames, hold_s=1, heartbeat_s=1)
    assert {each["label"] for each in outbox.payloads("state")} == {"cat"}
    assert len(outbox.of("state")) == 10


def test_each_message_says_whether_the_clock_was_set_at_that_time() -> None:
    answers = iter([False, False, True])
    outbox = published(
        [result(0, "cat"), result(1, "cat"), result(2, "dog")],
        clock_synchronized=lambda: next(answers),
    )
    told = [each["clock_synchronized"] for each in outbox.payloads("predictions")]
    assert told == [False, False, True]
    assert [each["clock_synchronized"] for each in outbox.payloads("state")] == [False, True]


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0, 5.0])
def test_a_frame_from_before_the_clock_was_set_has_a_time_that_is_not_to_be_believed(
    ahead_s: float,
) -> None:
    """It is answered when the clock is right already: the model is slow, or there was a pause."""
    before, after = result(0, "cat"), result(1, "dog")
    after = replace(
        after, frame=replace(after.frame, utc=after.frame.utc + timedelta(seconds=ahead_s))
    )
    outbox = published([before, after], clock_lead_s=lambda: LEAD_S + ahead_s + 0.01)
    for kind in ("predictions", "state", "event"):
        told = [each["clock_synchronized"] for each in outbox.payloads(kind)]
        assert told == [False, True], kind


def test_a_frame_is_dated_by_the_clock_as_it_is() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    captured_s = time.monotonic() - 3600
    frame = FrameFactory(camera_id="cam0").frame(pixels, origin="a", monotonic_s=captured_s)
    lead_s = frame.utc.timestamp() - frame.monotonic_s
    assert lead_s == pytest.approx(clock_lead_s(), abs=30)


# Pictures


def test_without_images_in_the_configuration_there_are_none() -> None:
    assert published(STEADY, image_max_rate_hz=None).of("image") == []


@pytest.mark.parametrize("width", [6, 11])
def test_the_picture_is_the_crop_as_a_jpeg(width: int) -> None:
    [message] = published([result(0, "cat", width=width)], image_max_rate_hz=1).of("image")
    with Image.open(io.BytesIO(message.payload)) as image:
        assert image.format == "JPEG"
        assert image.size == (width, 4)
        red, green, blue = np.asarray(image).reshape(-1, 3).mean(axis=0)
    assert red > 230
    assert green < 50
    assert blue < 50


def test_pictures_have_a_rate_of_their_own() -> None:
    outbox = published(STEADY, max_rate_hz=0, image_max_rate_hz=0.5)
    assert 10 <= len(outbox.of("image")) <= 11
    assert len(outbox.of("predictions")) == len(STEADY)


CHANGING = [result(number / 4, "cat" if number // 4 % 2 else "dog") for number in range(24)]
"""6 seconds at 4 Hz, with another label in each."""


@pytest.mark.parametrize(("on", "kind"), [("event", "event"), ("prediction", "predictions")])
def test_a_message_that_has_a_picture_names_it_and_the_picture_names_the_message(
    on: str, kind: str
) -> None:
    outbox = published(CHANGING, image_max_rate_hz=1, image_on=on)
    assert outbox.of("image") == []
    others = {"event", "predictions", "state"} - {kind}
    assert not any(each.picture for other in others for each in outbox.of(other))
    assert not any("picture" in each for other in others for each in outbox.payloads(other))
    pictured = [each for each in outbox.of(kind) if each.picture]
    assert 6 <= len(pictured) <= 7
    for message in pictured:
        payload = json.loads(message.payload)
        assert message.picture is not None
        with Image.open(io.BytesIO(message.picture)) as image:
            assert image.format == "JPEG"
            said = json.loads(image.info["comment"])
            assert image.size == (payload["picture"]["width"], payload["picture"]["height"])
        assert (said["boot_id"], int(said["seq"])) == (payload["boot_id"], payload["seq"])
        assert (said["view"], said["timestamp"]) == (payload["camera"], payload["timestamp"])
        assert said["label"] in {"cat", "dog"}
        assert payload["picture"]["topic"] == "home/porch/cam0/image"
        assert payload["picture"]["bytes"] == len(message.picture)
        assert payload["picture"]["sha256"] == hashlib.sha256(message.picture).hexdigest()
        ahead = pictures.ahead_of(message)
        assert (ahead.topic, ahead.payload, ahead.qos) == (
            "home/porch/cam0/image",
            message.picture,
            1,
        )
        assert dict(ahead.user_properties) == said


def test_every_event_has_its_picture_however_fast_they_come() -> None:
    outbox = published(CHANGING, image_max_rate_hz=0.01, image_on="event")
    assert len(outbox.of("event")) == 6
    assert all(each.picture for each in outbox.of("event"))


def test_the_picture_of_an_event_is_of_the_frame_that_decided() -> None:
    frames = [result(0, "cat", width=6), result(1, "dog", width=11), result(2, "dog", width=16)]
    events = published(frames, image_max_rate_hz=1, image_on="event").payloads("event")
    assert [each["picture"]["width"] for each in events] == [6, 11]


@pytest.mark.parametrize("on", ["event", "prediction", "interval"])
def test_without_images_in_the_configuration_no_message_has_one(on: str) -> None:
    outbox = published(CHANGING, image_max_rate_hz=None, image_on=on)
    assert not any(each.picture or each.topic.endswith("/image") for each in outbox.messages)
    assert not any("picture" in each for each in outbox.payloads("event"))


def test_the_broker_is_told_how_long_to_keep_predictions_and_events_and_pictures_longer() -> None:
    outbox = published(
        CHANGING,
        image_max_rate_hz=1,
        image_on="event",
        prediction_expiry_s=60,
        event_expiry_s=3600,
    )
    kinds = {each.topic.rpartition("/")[2]: each.expiry_s for each in outbox.messages}
    assert kinds == {"predictions": 60, "event": 3600, "state": 0}
    assert pictures.ahead_of(outbox.of("event")[0]).expiry_s > 3600
