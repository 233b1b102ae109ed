"""Classes that the configuration names, in a real daemon with the bundled model."""

import re
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.brokers import Mosquitto, Subscriber, needs_mosquitto
from support.daemon import REPOSITORY, SAMPLES, isolated, run_cli
from support.device import Site, has_predictions, newest, of, reload_is
from support.tiny_models import LABELS

from edgeclassifier.compose.model import BUNDLED_MODEL

WEB_SITE = REPOSITORY / "docs" / "screenshot.jpg"
"""A page of the web, which the bundled model knows as "web site, website, internet site, site"."""
CAT = SAMPLES / "chelsea.png"
UNKNOWN_CLASS = 'state.exclude: the model has no class "web sit": did you mean "web site"?'


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["model"] = {"name": BUNDLED_MODEL, "store": str(tmp_path / "store")}
    site.settings["camera"]["deadline_s"] = 10.0
    return site


def examples() -> dict[str, Any]:
    """Return what the comments of config.toml suggest."""
    text = (REPOSITORY / "config.toml").read_text()
    (excluded,) = re.findall(r"^exclude = .*such as (\".+\")$", text, re.MULTILINE)
    (threshold,) = re.findall(r"^\[state\.thresholds\].*such as (\".+\" = .+)$", text, re.MULTILINE)
    return tomllib.loads(f"exclude = [{excluded}]\n[thresholds]\n{threshold}\n")


def state(site: Site, watching: Subscriber, picture: Path) -> dict[str, Any]:
    """Return the state once a few frames of a picture have been classified."""
    site.settings["camera.replay"]["path"] = str(picture)
    watching.clear()
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(3)), daemon.lines
        daemon.stop()
        assert daemon.wait() == 0, daemon.lines
    assert of(watching.messages, "predictions")[0]["predictions"][0]["score"] > 0.5
    return newest(watching.messages, "state")


@needs_mosquitto
def test_the_examples_of_the_configuration_act(site: Site, watching: Subscriber) -> None:
    seen = state(site, watching, WEB_SITE)
    assert (seen["name"], seen["label"]) == ("web site", "web site, website, internet site, site")
    given = examples()
    assert given == {"exclude": ["web site"], "thresholds": {"house finch": 0.6}}
    site.settings["state"]["exclude"] = given["exclude"]
    site.settings["state.thresholds"] = given["thresholds"]
    seen = state(site, watching, WEB_SITE)
    assert (seen["name"], seen["label"], seen["class_id"]) == ("unknown", "unknown", None)
    assert seen["predictions"][0]["name"] == "web site"


@needs_mosquitto
@pytest.mark.parametrize("word", ["web site", "Internet Site"])
def test_a_threshold_acts_by_any_synonym(site: Site, watching: Subscriber, word: str) -> None:
    site.settings["state.thresholds"] = {word: 0.99}
    assert state(site, watching, WEB_SITE)["name"] == "unknown"
    assert state(site, watching, CAT)["name"] == "Egyptian cat"
    site.settings["state.thresholds"] = {word: 0.4}
    site.settings["state"]["threshold"] = 0.99
    assert state(site, watching, WEB_SITE)["name"] == "web site"
    assert state(site, watching, CAT)["name"] == "unknown"


@needs_mosquitto
def test_a_class_that_the_model_does_not_have_keeps_the_daemon_from_starting(site: Site) -> None:
    site.settings["state"]["exclude"] = ["Egyptian cat", "web sit"]
    with site.daemon() as daemon:
        assert daemon.wait() == 78
    assert daemon.lines[-1].endswith(UNKNOWN_CLASS)


@needs_mosquitto
def test_a_reload_is_refused_for_such_a_class_and_takes_effect_without_it(
    site: Site, watching: Subscriber
) -> None:
    site.settings["camera.replay"]["path"] = str(CAT)
    with site.daemon() as daemon:
        assert watching.wait_for(lambda got: newest(got, "state").get("name") == "Egyptian cat")
        site.settings["state"]["exclude"] = ["Egyptian cat", "web sit"]
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("refused")), daemon.lines
        assert newest(watching.messages, "health")["reload"]["problem"] == UNKNOWN_CLASS
        assert newest(watching.messages, "state")["name"] == "Egyptian cat"
        site.settings["state"]["exclude"] = ["Egyptian cat", "web site"]
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        assert watching.wait_for(lambda got: newest(got, "state").get("name") == "unknown")
        # The model is another one, and so are its classes.
        site.use_model("tiny")
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("refused")), daemon.lines
        said = newest(watching.messages, "health")["reload"]["problem"]
        assert 'the model has no class "Egyptian cat": it has "label a"' in said
        site.settings["state"]["exclude"] = list(LABELS)
        site.write()
        daemon.stop(signal.SIGHUP)
        assert watching.wait_for(reload_is("applied")), daemon.lines
        assert watching.wait_for(
            lambda got: newest(got, "predictions")["predictions"][0]["name"].startswith("label")
        )
        assert newest(watching.messages, "state")["name"] == "unknown"
        daemon.stop()
        assert daemon.wait() == 0, daemon.lines


@pytest.mark.parametrize(
    ("state", "problems"),
    [
        ({"exclude": ["web sit"]}, [UNKNOWN_CLASS]),
        (
            {"exclude": ["web site"], "thresholds": {"hous finch": 0.6}},
            ['state.thresholds: the model has no class "hous finch": did you mean "house finch"?'],
        ),
        (
            {"thresholds": {"house finch": 0.6, "linnet": 0.5}},
            [
                'state.thresholds: "house finch" and "linnet" both mean '
                '"house finch": set one threshold'
            ],
        ),
        ({"exclude": ["tabby, tabby cat", "LINNET"], "thresholds": {"tabby": 0.5}}, []),
    ],
)
def test_check_finds_such_a_class(site: Site, state: dict[str, Any], problems: list[str]) -> None:
    site.settings["state.thresholds"] = state.pop("thresholds", {})
    site.settings["state"] |= state
    site.write()
    done = run_cli("check", "--config", site.config, env=isolated(site.folder))
    found = [line for line in done.stdout.splitlines() if line.startswith("FAILURE")]
    assert [line.partition("does not have: ")[2] for line in found] == problems, done.stdout
    assert done.returncode == (78 if problems else 0)


def test_check_finds_such_a_class_of_a_view(site: Site) -> None:
    site.settings["views.gate"] = {"region": [0.0, 0.0, 0.5, 1.0]}
    site.settings["views.gate.state"] = {"exclude": ["web sit"]}
    site.settings["views.yard"] = {}
    site.write()
    done = run_cli("check", "--config", site.config, env=isolated(site.folder))
    found = [line for line in done.stdout.splitlines() if line.startswith("FAILURE")]
    assert [line.partition("does not have: ")[2] for line in found] == [
        f"view gate: {UNKNOWN_CLASS}"
    ], done.stdout
    assert done.returncode == 78
