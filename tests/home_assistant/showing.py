"""What Home Assistant shows of the device."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

from home_assistant.automation import PHONE
from home_assistant.world import BUNDLED, ENTITIES, World


def appears(world: World) -> None:
    """All entities are there, and right."""
    check, ha = world.checks, world.ha
    check.section("the daemon starts for the first time")
    printed = world.command("discovery")
    check.equal(
        "what Home Assistant's own schemas refuse of `edgeclassifier discovery`",
        lambda: world.strict_problems(printed),
        [],
        timeout_s=0,
    )
    world.start()
    check.equal(
        "entities that are missing",
        lambda: sorted(set(ENTITIES.values()) - set(ha.states())),
        [],
    )
    check.that(
        "the message is what the command prints", lambda: _announced(world) == json.loads(printed)
    )
    check.equal("unavailable entities", world.unavailable, 0)
    device = f"device_attr('{ENTITIES['label']}', '{{}}')"
    for name, wanted in (("name", "porch"), ("manufacturer", "edgeclassifier")):
        template = f"{{{{ {device.format(name)} }}}}"
        check.equal(f"the device's {name}", partial(ha.render, template), wanted)
    for key, wanted in (
        ("backend", "cpu"),
        ("camera", "off"),
        ("accelerator", "off"),
        ("classifying", "on"),
        ("threshold", "0.3"),
        ("model", BUNDLED),
        ("restart", "unknown"),
    ):
        check.equal(ENTITIES[key], partial(world.state, key), wanted)
    for key in ("inference", "rate"):
        check.that(ENTITIES[key], partial(_positive, world, key))
    check.that(ENTITIES["buffer"], lambda: str(world.state("buffer")).isdecimal())
    temperature = world.published("health")["cpu_temperature_c"]
    wanted = "unknown where there is no sensor" if temperature is None else "a number"
    check.that(
        f"{ENTITIES['temperature']}: {wanted}",
        lambda: (world.state("temperature") == "unknown") == (temperature is None),
    )
    check.equal(
        "models to choose from", lambda: world.attribute("model", "options"), [BUNDLED, "tiny"]
    )


def shows_what_is_seen(world: World) -> None:
    """The label changes with the scene, with an event and a picture."""
    check = world.checks
    check.section("the camera sees a cat")
    _label_is_right(world)
    cat, event = world.state("label"), world.state("event")

    check.section("the camera sees coffee")
    world.show("coffee.png")
    check.that("another label", lambda: world.state("label") not in {cat, "unavailable", None})
    _label_is_right(world)
    check.that("the event entity has a newer event", lambda: world.state("event") != event)
    check.equal(
        "the event tells both names",
        lambda: (world.attribute("event", "previous_name"), world.attribute("event", "name")),
        (cat, world.state("label")),
    )

    check.section("the picture")
    check.that(
        "the image entity shows a picture that was published",
        lambda: any(
            each.topic.endswith("/image") and each.payload == world.ha.picture(ENTITIES["image"])
            for each in world.watching.messages
        ),
    )
    check.equal("it is a JPEG", lambda: world.ha.picture(ENTITIES["image"])[:3], b"\xff\xd8\xff")


def notifies_with_the_picture_of_the_event(world: World) -> None:
    """The automation of the examples saves the picture of the event that it tells of."""
    check = world.checks
    for sample in ("chelsea.png", "coffee.png"):
        check.section(f"the automation: {sample}")
        before = len(world.watching.payloads(PHONE))
        world.show(sample)
        check.that("the phone is notified", partial(_notified, world, before))
        check.that("with the picture of the event", partial(_has_its_picture, world))
    check.section("an event without a picture")
    event = {**world.published("event"), "seq": 10**6, "picture": None}
    event["picture_missing"] = "buffer"
    before = len(world.watching.payloads(PHONE))
    world.watching.publish(f"{world.site.topic}/cam0/event", json.dumps(event))
    check.that("the phone is notified", partial(_notified, world, before))
    check.equal("without a picture", lambda: _notified(world, before).get("data"), {})


def _notified(world: World, before: int) -> dict[str, Any]:
    """Return the newest notification since there were so many, an empty one if there is none."""
    payloads = world.watching.payloads(PHONE)[before:]
    found: dict[str, Any] = json.loads(payloads[-1]) if payloads else {}
    return found


def _has_its_picture(world: World) -> str:
    event, told = world.published("event"), _notified(world, 0)
    file = Path(told["data"].get("image", "").replace("/media/local/", "/media/"))
    saved = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "none"
    number = f"{event['boot_id']}-{event['seq']}"
    right = saved == event["picture"]["sha256"] and number in file.name
    return file.name if right and told["title"].lower() == event["name"].lower() else ""


def has_problems(world: World) -> None:
    """A camera that fails is a problem for as long as it does."""
    check = world.checks
    check.section("the camera fails, and works again")
    world.site.fault.write_text("camera is gone")
    check.equal(ENTITIES["camera"], lambda: world.state("camera"), "on")
    check.that("it says why", lambda: world.attribute("camera", "problem"))
    world.site.fault.unlink()
    check.equal(ENTITIES["camera"], lambda: world.state("camera"), "off")
    check.equal(ENTITIES["label"], lambda: world.state("label") != "unavailable", True)


def has_an_accelerator(world: World) -> None:
    """So is an accelerator."""
    check = world.checks
    check.section("an accelerator works, fails, and works again")
    world.end()
    delegate = world.use_accelerator()
    world.start()
    check.equal(ENTITIES["backend"], lambda: world.state("backend"), "testdelegate")
    check.equal(ENTITIES["accelerator"], lambda: world.state("accelerator"), "off")
    check.equal("the model is that of the CPU", lambda: world.state("model"), "tiny")
    delegate.act("run fail")
    check.equal(ENTITIES["accelerator"], lambda: world.state("accelerator"), "on")
    check.that("it says why", lambda: world.attribute("accelerator", "reason"))
    check.equal(ENTITIES["backend"], lambda: world.state("backend"), "cpu")
    check.equal("degraded", lambda: world.attribute("backend", "degraded"), True)
    delegate.mend()
    check.equal(ENTITIES["accelerator"], lambda: world.state("accelerator"), "off")
    check.equal(ENTITIES["backend"], lambda: world.state("backend"), "testdelegate")


def has_views(world: World) -> None:
    """Each view has entities of its own, under one device, for as long as it is there."""
    check, ha = world.checks, world.ha
    check.section("the camera has two views")
    world.end()
    for name, left in (("gate", 0.0), ("yard", 0.5)):
        world.site.settings[f"views.{name}"] = {"region": [left, 0.0, 0.5, 1.0]}
    world.start()
    for name in ("gate", "yard"):
        label = f"sensor.porch_{name}_label"
        check.that(f"{label} is what is published", partial(_is_published, world, name, label))
    check.equal(
        "both belong to one device",
        lambda: (
            ha.render("{{ device_entities(device_id('sensor.porch_gate_label')) | count }}")
            == ha.render("{{ device_entities(device_id('sensor.porch_yard_label')) | count }}")
        ),
        True,
    )
    check.equal("the camera's own label is gone", lambda: ha.state(ENTITIES["label"]), None)
    check.section("the camera has one view again")
    world.end()
    for name in ("gate", "yard"):
        del world.site.settings[f"views.{name}"]
    world.start()
    check.equal("the view's label is gone", lambda: ha.state("sensor.porch_gate_label"), None)
    check.equal(
        "the camera's own label is back",
        lambda: world.state("label") not in {None, "unavailable"},
        True,
    )


def _is_published(world: World, view: str, label: str) -> str:
    """Return the label of a view, an empty string if it is not what is published."""
    topic = f"{world.site.topic}/{view}/state"
    payloads = world.watching.payloads(topic)
    found = world.ha.state(label)
    state = str(found["state"]) if found else ""
    return state if payloads and state == json.loads(payloads[-1])["name"] else ""


def _label_is_right(world: World) -> None:
    check = world.checks
    check.equal(
        "the label is the one that the daemon publishes",
        lambda: world.state("label") == world.published("state")["name"],
        True,
    )
    check.that("it is one", lambda: _shown(world))
    check.equal("how often it was seen", lambda: _seen(world), True)
    check.equal(
        "the three most likely labels, first of them the label",
        lambda: _likely(world) == (3, world.state("label")),
        True,
    )


def _seen(world: World) -> bool:
    """Tell whether the counts are those that the daemon publishes, unknown where it has none."""
    seen = world.published("state")["seen"] or {}
    words = {None: "unknown", True: "on", False: "off"}
    today = seen.get("today")
    shown = [world.state(key) for key in ("seen_today", "first_today", "first_ever")]
    return shown == [
        "unknown" if today is None else str(today),
        words[seen.get("first_today")],
        words[seen.get("first_ever")],
    ]


def _shown(world: World) -> str:
    label, score = world.state("label"), world.state("score")
    return "" if {label, score} & {"unknown", "unavailable", None} else f"{label}, score {score}"


def _announced(world: World) -> object:
    payloads = world.watching.payloads(world.config_topic)
    return json.loads(payloads[-1]) if payloads and payloads[-1] else None


def _positive(world: World, key: str) -> str:
    state = world.state(key) or ""
    try:
        return state if float(state) > 0 else ""
    except ValueError:
        return ""


def _likely(world: World) -> tuple[int, str | None]:
    predictions = world.attribute("label", "predictions") or []
    return len(predictions), predictions[0]["name"] if predictions else None
