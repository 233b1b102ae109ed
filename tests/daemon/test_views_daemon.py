"""Several views of one camera: the real daemon, a real broker, pictures with a colour a side."""

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.brokers import Mosquitto, Received, Subscriber, needs_mosquitto
from support.contract import PAYLOADS, problems
from support.daemon import Daemon, isolated, run_cli
from support.device import RATE_HZ, Site, newest, of, reload_is
from support.tiny_models import LABELS

pytestmark = needs_mosquitto

LEFT, RIGHT = [0.0, 0.0, 0.375, 1.0], [0.625, 0.0, 0.375, 1.0]
RED, GREEN, BLUE = LABELS[:3]
"""What the model calls a picture of one colour: the first of its pixels that is brightest."""


MODEL_FILES = (("model", "tflite"), ("labels", "txt"))


def picture(left: int, right: int) -> Image.Image:
    """Make a frame of two colours, 0 to 2 for red, green and blue."""
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, :64, left] = pixels[:, 64:, right] = 200
    return Image.fromarray(pixels)


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    picture(0, 2).save(pictures / "a.png")
    site.settings["camera.replay"]["path"] = str(pictures)
    site.settings["commands"] = {"max_rate_hz": 1000.0}
    site.settings["views.left"] = {"region": LEFT}
    site.settings["views.right"] = {"region": RIGHT}
    return site


def seen(messages: Sequence[Received], view: str, kind: str = "predictions") -> list[Any]:
    return of(messages, f"{view}/{kind}")


def each_has(count: int, *views: str) -> Callable[[list[Received]], bool]:
    return lambda got: all(len(seen(got, view)) >= count for view in views)


def best(payload: dict[str, Any]) -> str:
    name: str = payload["predictions"][0]["name"]
    return name


def view_of(messages: Sequence[Received], kind: str, view: str) -> dict[str, Any]:
    """Return what the newest info or health says of a view."""
    found = [each for each in newest(messages, kind).get("views", ()) if each["view"] == view]
    return found[0] if found else {}


def ask(site: Site, watching: Subscriber, command: str, **arguments: Any) -> dict[str, Any]:
    topic = f"{site.topic}/response/{command}"
    before = len(watching.payloads(topic))
    watching.publish(f"{site.topic}/request/{command}", json.dumps(arguments))
    assert watching.wait_for(lambda _got: len(watching.payloads(topic)) > before)
    answer: dict[str, Any] = json.loads(watching.payloads(topic)[-1])
    assert problems("response", answer) == []
    return answer


def reload(site: Site, watching: Subscriber, daemon: Daemon, status: str = "applied") -> None:
    before = (newest(watching.messages, "health").get("reload") or {}).get("timestamp")
    site.write()
    daemon.stop(signal.SIGHUP)
    assert watching.wait_for(
        lambda got: (
            reload_is(status)(got) and newest(got, "health")["reload"]["timestamp"] != before
        )
    ), daemon.lines


def assert_in_contract(messages: Sequence[Received]) -> None:
    definitions = {"predictions": "prediction", "state": "state", "event": "event"}
    definitions |= {"info": "info", "health": "health"}
    for each in messages:
        definition = definitions.get(each.topic.rpartition("/")[2])
        asked = each.topic.split("/")[-2] in {"request", "response"}
        if definition in PAYLOADS and each.payload and not asked:
            assert problems(definition, json.loads(each.payload)) == []


def test_each_view_says_what_is_in_its_own_part_of_the_frame(
    site: Site, watching: Subscriber
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(20, "left", "right")), daemon.lines
        assert watching.wait_for(lambda got: view_of(got, "info", "right")), daemon.lines
        health = ask(site, watching, "health")["data"]
        daemon.stop()
        assert daemon.wait() == 0, daemon.lines
    assert_in_contract(watching.messages)
    assert sum("model tiny" in line for line in daemon.lines) == 1, "they share one interpreter"
    for view, label, region in (("left", RED, LEFT), ("right", BLUE, RIGHT)):
        for kind in ("predictions", "state", "event"):
            payloads = seen(watching.messages, view, kind)
            assert {(each["view"], each["camera"]) for each in payloads} == {(view, "cam0")}
        assert {best(each) for each in seen(watching.messages, view)} == {label}
        assert seen(watching.messages, view, "state")[-1]["name"] == label
        assert len(seen(watching.messages, view, "event")) == 1
        assert view_of(watching.messages, "info", view)["region"] == region
    assert [each["view"] for each in health["views"]] == ["left", "right"]
    assert all(each["fps"] > 0 and each["problem"] is None for each in health["views"])
    numbered = [
        each["seq"]
        for kind in ("predictions", "state", "event")
        for view in ("left", "right")
        for each in seen(watching.messages, view, kind)
    ]
    assert sorted(numbered) == [*range(len(numbered))], "one numbering over all views"
    assert not any("/cam0/" in each.topic for each in watching.messages)


def test_a_view_whose_model_is_missing_says_so_and_the_others_go_on(
    site: Site, watching: Subscriber
) -> None:
    site.settings["views.gate"] = {"model": str(site.folder / "gate.tflite")}
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(10, "left", "right")), daemon.lines
        assert watching.wait_for(lambda got: view_of(got, "health", "gate")), daemon.lines
        said = view_of(watching.messages, "health", "gate")
        assert "gate.tflite" in said["problem"]
        assert said["model"] is None
        assert said["frames"] == 0
        assert view_of(watching.messages, "health", "left")["problem"] is None
        assert any("view gate" in line and "gate.tflite" in line for line in daemon.lines)
        assert "gate.tflite" in ask(site, watching, "classify", view="gate")["error"]
        # Another change is not refused for it.
        site.settings["views.left"]["threshold"] = 0.4
        reload(site, watching, daemon)
        assert view_of(watching.messages, "health", "gate")["problem"]
        site.add_model("gate")
        site.settings["views.gate"]["labels"] = str(site.folder / "gate.txt")
        reload(site, watching, daemon)
        assert watching.wait_for(each_has(3, "gate")), daemon.lines
        assert watching.wait_for(
            lambda got: (
                view_of(got, "health", "gate")["problem"] is None
                and view_of(got, "health", "gate")["model"] == "gate"
            )
        )
        daemon.stop()
        assert daemon.wait() == 0
    assert_in_contract(watching.messages)


def test_without_any_model_that_works_it_does_not_start(site: Site) -> None:
    for view in ("left", "right"):
        site.settings[f"views.{view}"]["model"] = str(site.folder / "none.tflite")
    with site.daemon() as daemon:
        assert daemon.wait() == 78
    assert "none.tflite" in daemon.lines[-1]


def test_views_come_change_and_go_while_it_runs(site: Site, watching: Subscriber) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(10, "left", "right")), daemon.lines
        site.settings["views.all"] = {"crop_fraction": 1.0}
        del site.settings["views.right"]
        site.settings["views.left"]["region"] = RIGHT
        reload(site, watching, daemon)
        assert watching.wait_for(each_has(5, "all")), daemon.lines
        cleared = f"{site.topic}/right/state"
        assert watching.wait_for(
            lambda got: [each.payload for each in got if each.topic == cleared][-1] == b""
        ), daemon.lines
        assert watching.wait_for(lambda got: best(seen(got, "left")[-1]) == BLUE), daemon.lines
        gone = len(seen(watching.messages, "right"))
        so_far = len(seen(watching.messages, "left"))
        assert watching.wait_for(each_has(so_far + RATE_HZ, "left"))
        assert len(seen(watching.messages, "right")) == gone
        assert [each["view"] for each in newest(watching.messages, "info")["views"]] == [
            "left",
            "all",
        ]
        for view in ("views.left", "views.all"):
            del site.settings[view]
        reload(site, watching, daemon)
        assert watching.wait_for(each_has(5, "cam0")), daemon.lines
        assert view_of(watching.messages, "info", "cam0")
        daemon.stop()
        assert daemon.wait() == 0
    # Not one frame was missed by the view that stayed, up to the end of views.
    seqs = {each["seq"] for each in seen(watching.messages, "left")}
    assert len(seqs) == len(seen(watching.messages, "left"))
    assert_in_contract(watching.messages)


def test_a_model_that_does_not_work_is_refused_by_a_reload(
    site: Site, watching: Subscriber
) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(5, "left", "right")), daemon.lines
        site.settings["views.left"]["model"] = str(site.folder / "none.tflite")
        reload(site, watching, daemon, "refused")
        count = len(seen(watching.messages, "left"))
        assert watching.wait_for(each_has(count + 5, "left", "right")), daemon.lines
        assert view_of(watching.messages, "info", "left")["model"] == "tiny"


def test_what_is_asked_for_is_asked_of_one_view(site: Site, watching: Subscriber) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(5, "left", "right")), daemon.lines
        assert watching.wait_for(lambda got: newest(got, "info")), daemon.lines
        for view, name in ((None, "left"), ("left", "left"), ("right", "right")):
            asked = {} if view is None else {"view": view}
            data = ask(site, watching, "classify", **asked)["data"]
            assert problems("classification", data) == []
            assert (data["view"], data["camera"]) == (name, "cam0")
            assert best(data) == (RED if name == "left" else BLUE)
        for unknown in ("middle", "cam0", "Left"):
            answer = ask(site, watching, "classify", view=unknown)
            assert answer["error"] == f"there is no view {unknown!r}: there are left, right"
        answer = ask(site, watching, "set_region", view="right", region=[0.5, 0.5, 0.6, 0.5])
        assert "inside it" in answer["error"]
        daemon.stop()
        assert daemon.wait() == 0


def test_a_rectangle_set_on_request_outlives_a_restart_until_it_is_taken_back(
    site: Site, watching: Subscriber
) -> None:
    key = "views.right.region"
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(5, "left", "right")), daemon.lines
        answer = ask(site, watching, "set_region", view="right", region=LEFT)
        assert answer["data"] == {"region": LEFT, "view": "right"}
        answer = ask(site, watching, "set_threshold", view="right", threshold=0.6)
        assert answer["data"] == {"threshold": 0.6, "view": "right"}
        assert watching.wait_for(lambda got: best(seen(got, "right")[-1]) == RED), daemon.lines
        assert watching.wait_for(lambda got: newest(got, "info")["overrides"].get(key) == LEFT)
        daemon.stop()
        assert daemon.wait() == 0
    count = len(seen(watching.messages, "right"))
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(count + 5, "right")), daemon.lines
        assert best(seen(watching.messages, "right")[-1]) == RED
        assert watching.wait_for(
            lambda got: view_of(got, "info", "right").get("threshold") == 0.6
        ), daemon.lines
        assert view_of(watching.messages, "info", "left")["threshold"] != 0.6
        said = [line for line in daemon.lines if key in line]
        assert '"view": "right"' in said[0], "it says how to take that back"
        assert ask(site, watching, "set_region", view="right", region=None)["data"] == {
            "region": RIGHT,
            "view": "right",
        }
        assert watching.wait_for(lambda got: best(seen(got, "right")[-1]) == BLUE), daemon.lines
        assert watching.wait_for(lambda got: key not in newest(got, "info")["overrides"])
        daemon.stop()
        assert daemon.wait() == 0


def test_the_only_view_of_a_camera_has_its_rectangle_set_in_the_same_way(
    site: Site, watching: Subscriber
) -> None:
    del site.settings["views.left"], site.settings["views.right"]
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(5, "cam0")), daemon.lines
        assert ask(site, watching, "set_region", region=RIGHT)["data"] == {"region": RIGHT}
        assert watching.wait_for(lambda got: best(seen(got, "cam0")[-1]) == BLUE), daemon.lines
        assert watching.wait_for(
            lambda got: newest(got, "info").get("overrides") == {"preprocess.region": RIGHT}
        ), daemon.lines
        data = ask(site, watching, "classify", view="cam0")["data"]
        assert (data["view"], data["camera"]) == ("cam0", "cam0")
        daemon.stop()
        assert daemon.wait() == 0
    assert_in_contract(watching.messages)


def test_only_the_view_in_which_something_changes_is_classified(
    site: Site, watching: Subscriber
) -> None:
    picture(1, 2).save(site.folder / "pictures" / "b.png")
    site.settings["idle"] = {"skip_unchanged": True}
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(40, "left", "right")), daemon.lines
        daemon.stop()
        assert daemon.wait() == 0
    left, right = (seen(watching.messages, view) for view in ("left", "right"))
    assert {best(each) for each in left} == {RED, GREEN}
    assert not any(each["repeated"] for each in left)
    assert sum(not each["repeated"] for each in right) <= 3
    assert {best(each) for each in right} == {BLUE}


def test_a_view_can_have_a_model_and_rules_of_its_own(site: Site, watching: Subscriber) -> None:
    site.add_model("other")
    (site.folder / "other.txt").write_text("\n".join(f"other {each}" for each in "abcdefghijkl"))
    site.settings["state"]["exclude"] = [BLUE]
    site.settings["views.right"] |= {
        "model": str(site.folder / "other.tflite"),
        "labels": str(site.folder / "other.txt"),
        "threshold": 0.9,
    }
    site.settings["views.right.state"] = {"exclude": ["other a"], "heartbeat_s": 0.2}
    site.settings["views.left.idle"] = {"skip_unchanged": True}
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(20, "left", "right")), daemon.lines
        assert watching.wait_for(lambda got: view_of(got, "info", "right")), daemon.lines
        daemon.stop()
        assert daemon.wait() == 0
    right = seen(watching.messages, "right")
    assert {best(each) for each in right} == {"other c"}
    assert {each["model"]["name"] for each in right} == {"other"}
    assert seen(watching.messages, "right", "state")[-1]["name"] == "unknown"
    assert len(seen(watching.messages, "right", "state")) > 1
    assert len(seen(watching.messages, "left", "state")) == 1
    assert any(each["repeated"] for each in seen(watching.messages, "left"))
    assert not any(each["repeated"] for each in right)
    said = view_of(watching.messages, "info", "left")
    assert (said["model"], said["skip_unchanged"]) == ("tiny", True)


def test_fifty_views_work(site: Site, watching: Subscriber) -> None:
    site.settings["camera.replay"]["rate_hz"] = 2
    names = [f"v{number}" for number in range(50)]
    for name in names:
        site.settings[f"views.{name}"] = {"region": LEFT if int(name[1:]) % 2 else RIGHT}
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(3, *names)), daemon.lines
        assert watching.wait_for(lambda got: len(newest(got, "info").get("views", ())) == 52)
        daemon.stop()
        assert daemon.wait() == 0
    for name in names:
        label = RED if int(name[1:]) % 2 else BLUE
        assert {best(each) for each in seen(watching.messages, name)} == {label}
    assert sum("model tiny" in line for line in daemon.lines) == 1
    assert_in_contract(watching.messages)


OF_A_VIEW = {"label", "score", "label_changed", "image", "threshold", "model"}


def test_home_assistant_has_the_entities_of_the_views_that_there_are(
    site: Site, watching: Subscriber
) -> None:
    """A view that went is taken out, also if it went while the daemon did not run."""
    site.settings["homeassistant"] = {"enabled": True, "prefix": f"{site.folder.name}/ha"}

    def entities(got: Sequence[Received]) -> dict[str, bool]:
        """Return which of those that are mentioned are there; the others are removed."""
        documents = [each.payload for each in got if "/ha/device/" in each.topic and each.payload]
        components = json.loads(documents[-1])["components"] if documents else {}
        return {key: len(entity) > 1 for key, entity in components.items()}

    def of_view(got: Sequence[Received], view: str) -> bool | None:
        known = entities(got)
        named = {known.get(f"{view}{key}") for key in OF_A_VIEW - {"image"}}
        assert len(named) == 1
        return named.pop()

    with site.daemon() as daemon:
        assert watching.wait_for(lambda got: of_view(got, "left_") is True), daemon.lines
        assert of_view(watching.messages, "right_") is True
        assert of_view(watching.messages, "") is False, "of a run without views"
        del site.settings["views.right"]
        reload(site, watching, daemon)
        assert watching.wait_for(lambda got: of_view(got, "right_") is False), daemon.lines
        assert of_view(watching.messages, "left_") is True
        daemon.stop()
        assert daemon.wait() == 0
    del site.settings["views.left"]
    watching.clear()
    with site.daemon() as daemon:
        assert watching.wait_for(lambda got: of_view(got, "") is True), daemon.lines
        assert of_view(watching.messages, "left_") is False
        cleared = f"{site.topic}/left/state"
        assert watching.wait_for(
            lambda got: any(each.topic == cleared and not each.payload for each in got)
        )
        daemon.stop()
        assert daemon.wait() == 0
    watching.clear()
    with site.daemon() as daemon:
        assert watching.wait_for(lambda got: of_view(got, "") is True), daemon.lines
        assert of_view(watching.messages, "left_") is None
        assert of_view(watching.messages, "cam0_") is None
        daemon.stop()
        assert daemon.wait() == 0


def test_check_tries_the_models_of_the_views(site: Site) -> None:
    site.settings["views.left"]["model"] = str(site.folder / "none.tflite")
    site.add_model("broken", b"no model")
    site.settings["views.right"]["model"] = str(site.folder / "broken.tflite")
    site.write()
    done = run_cli("check", "--config", site.config, env=isolated(site.folder))
    assert done.returncode == 78
    assert "views.left.model" in done.stdout
    assert "views.right.model" in done.stdout
    for view in ("left", "right"):
        del site.settings[f"views.{view}"]["model"]
    site.write()
    assert run_cli("check", "--config", site.config, env=isolated(site.folder)).returncode == 0


def install(site: Site, name: str) -> None:
    store = site.folder / "store"
    store.mkdir(exist_ok=True)
    site.settings["model"]["store"] = str(store)
    (store / f"{name}.tflite").write_bytes((site.folder / "tiny.tflite").read_bytes())
    (store / f"{name}.labels.txt").write_text("\n".join(LABELS))


def test_a_model_that_fails_at_work_in_one_view_gives_way_to_the_one_before(
    site: Site, watching: Subscriber
) -> None:
    site.environment = {"EDGECLASSIFIER_LIVE": "1"}
    for name in ("good", "bad"):
        install(site, name)
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(5, "left", "right")), daemon.lines
        data = ask(site, watching, "set_model", view="right", model="good")["data"]
        assert data == {"model": "good", "view": "right"}
        ask(site, watching, "pause")
        assert ask(site, watching, "set_model", view="right", model="bad")["status"] == "ok"
        site.fault.write_text("inference fails bad.tflite")
        ask(site, watching, "resume")
        assert watching.wait_for(reload_is("refused")), daemon.lines
        site.fault.unlink()
        assert watching.wait_for(
            lambda got: newest(got, "info")["overrides"] == {"views.right.model": "good"}
        ), daemon.lines
        assert watching.wait_for(lambda got: view_of(got, "info", "right")["model"] == "good")
        assert view_of(watching.messages, "info", "left")["model"] == "tiny"
        count = len(seen(watching.messages, "right"))
        assert watching.wait_for(each_has(count + 5, "left", "right")), daemon.lines
        assert seen(watching.messages, "right")[-1]["model"]["name"] == "good"
        daemon.stop()
        assert daemon.wait() == 0
    # One that is gone at the next start is taken back, and the view goes on without it.
    (site.folder / "store" / "good.tflite").unlink()
    watching.clear()
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(5, "left", "right")), daemon.lines
        assert seen(watching.messages, "right")[-1]["model"]["name"] == "tiny"
        assert watching.wait_for(lambda got: newest(got, "info").get("overrides") == {})
        daemon.stop()
        assert daemon.wait() == 0


def test_a_model_that_fails_for_good_takes_only_its_own_view_along(
    site: Site, watching: Subscriber
) -> None:
    site.environment = {"EDGECLASSIFIER_LIVE": "1"}
    site.add_model("own")
    names = {key: str(site.folder / f"own.{end}") for key, end in MODEL_FILES}
    site.settings["views.right"] |= names
    with site.daemon() as daemon:
        assert watching.wait_for(each_has(20, "left", "right")), daemon.lines
        site.fault.write_text("inference fails own.tflite")
        assert watching.wait_for(lambda got: view_of(got, "health", "right")["problem"])
        site.fault.unlink()
        count = len(seen(watching.messages, "left"))
        assert watching.wait_for(each_has(count + RATE_HZ, "left")), daemon.lines
        assert view_of(watching.messages, "health", "left")["problem"] is None
        assert any("view right: its model fails" in line for line in daemon.lines)
        daemon.stop()
        assert daemon.wait() == 0
    assert_in_contract(watching.messages)
