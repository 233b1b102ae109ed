"""What a person does with the device in Home Assistant, and what happens to either."""

import signal
import time

from support.device import of

from home_assistant.world import BUNDLED, ENTITIES, EXPIRE_AFTER_S, World

_JITTER_S = 3.0
_QUIET_S = 2.0


def is_controlled(world: World) -> None:
    """The daemon does what the controls say, and they show it."""
    check, ha = world.checks, world.ha

    check.section("the threshold")
    ha.act("number", "set_value", ENTITIES["threshold"], value=0.45)
    check.equal("the daemon's threshold", lambda: _config(world, "state", "threshold"), 0.45)
    check.equal(ENTITIES["threshold"], lambda: world.state("threshold"), "0.45")

    check.section("the model")
    ha.act("select", "select_option", ENTITIES["model"], option="tiny")
    check.equal("the daemon's model", lambda: world.published("info")["model"]["name"], "tiny")
    check.equal(ENTITIES["model"], lambda: world.state("model"), "tiny")
    check.that(
        "a label of that model", lambda: _starts(world.state("label"), ("label ", "unknown"))
    )
    world.install("another")
    world.daemon.stop(signal.SIGHUP)
    check.equal(
        "a model that was installed meanwhile is there to choose",
        lambda: world.attribute("model", "options"),
        ["another", BUNDLED, "tiny"],
    )
    ha.act("select", "select_option", ENTITIES["model"], option=BUNDLED)
    check.equal("the daemon's model", lambda: world.published("info")["model"]["name"], BUNDLED)
    check.equal(ENTITIES["model"], lambda: world.state("model"), BUNDLED)

    check.section("the switch")
    ha.act("switch", "turn_off", ENTITIES["classifying"])
    check.equal("the daemon is paused", lambda: world.published("health").get("paused"), True)
    check.equal(ENTITIES["classifying"], lambda: world.state("classifying"), "off")
    check.equal(f"predictions in {_QUIET_S:g} s", lambda: _new_predictions(world), 0, timeout_s=0)
    check.equal(
        "a label that is not repeated expires",
        lambda: world.state("label"),
        "unavailable",
        timeout_s=EXPIRE_AFTER_S + 5,
    )
    check.equal("while the rest is available", world.unavailable, 6)
    ha.act("switch", "turn_on", ENTITIES["classifying"])
    check.equal(ENTITIES["classifying"], lambda: world.state("classifying"), "on")
    check.that(f"predictions in {_QUIET_S:g} s", lambda: _new_predictions(world))
    check.equal("unavailable entities", world.unavailable, 0)

    check.section("the restart button, with a person in place of systemd")
    ha.act("button", "press", ENTITIES["restart"])
    check.that("the daemon ends", lambda: f"exit code {world.ended()}")
    check.equal("unavailable entities", world.unavailable, len(ENTITIES))
    world.start()
    check.equal("unavailable entities", world.unavailable, 0)
    check.equal("the threshold is kept", lambda: world.state("threshold"), "0.45")


def dies_and_comes_back(world: World) -> None:
    """A daemon that is killed is unavailable."""
    check = world.checks
    check.section("the daemon is killed, and started again")
    check.equal("exit code", lambda: world.end(signal.SIGKILL), -signal.SIGKILL, timeout_s=0)
    check.equal("unavailable entities", world.unavailable, len(ENTITIES))
    world.start()
    check.equal("unavailable entities", world.unavailable, 0)


def outlives_home_assistant(world: World) -> None:
    """It announces itself again when Home Assistant has started."""
    check = world.checks
    check.section("Home Assistant starts again, on a broker that has lost the message")
    world.ha.stop()
    topic, births = world.config_topic, "homeassistant/status"
    before = world.watching.payloads(births).count(b"online")
    world.watching.publish(topic, b"", retain=True)
    check.equal("the broker has lost it", lambda: world.watching.payloads(topic)[-1], b"")
    sent = len(world.watching.payloads(topic))
    world.ha.start()
    check.that(
        "it says that it is there",
        lambda: world.watching.payloads(births).count(b"online") > before,
    )
    check.that(
        f"the daemon announces itself again, within {_JITTER_S:g} s and a little",
        lambda: len(world.watching.payloads(topic)) > sent,
        timeout_s=_JITTER_S + 2,
    )
    check.equal("unavailable entities", world.unavailable, 0)
    check.equal("the label", lambda: world.state("label") == world.published("state")["name"], True)


def is_removed(world: World) -> None:
    """Nothing is left of it."""
    check = world.checks
    check.section("the daemon stops for good, and the device is removed")
    check.equal("exit code", world.end, 0, timeout_s=0)
    check.equal("unavailable entities", world.unavailable, len(ENTITIES))
    world.site.settings["homeassistant"]["enabled"] = False
    check.that("`discovery --remove`", lambda: world.command("discovery", "--remove").strip())
    check.equal("entities", lambda: [each for each in world.ha.states() if "porch" in each], [])
    registered = "{{ integration_entities('mqtt') | length }}"
    check.equal("entities that it remembers", lambda: world.ha.render(registered), "0")


def _config(world: World, table: str, key: str) -> object:
    return world.published("info")["config"][table][key]


def _starts(state: str | None, beginnings: tuple[str, ...]) -> str:
    return state if state is not None and state.startswith(beginnings) else ""


def _new_predictions(world: World) -> int:
    def count() -> int:
        return len(of(world.watching.messages, "predictions"))

    before = count()
    time.sleep(_QUIET_S)
    return count() - before
