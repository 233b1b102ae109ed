"""Keeping and counting in the real daemon, over a real broker, and the command beside it."""

import csv
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.brokers import Mosquitto, Subscriber, needs_mosquitto, wait_until
from support.contract import problems
from support.daemon import Daemon, isolated, run_cli
from support.device import Site, continues, has_predictions, newest, of
from support.tiny_models import LABELS

from edgeclassifier.contract.commands import BY_DEFAULT
from edgeclassifier.keep.store import Store

pytestmark = needs_mosquitto
USAGE, CONFIG = 2, 78
MANY = {"per_hour": 3600, "per_day": 86_400}


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Site:
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["commands"] = {"max_rate_hz": 1000.0, "allow": [*BY_DEFAULT, "label"]}
    site.settings["keep"] = {"kinds": ["changed", "uncertain", "random"]}
    site.settings["keep.changed"] = MANY
    site.settings["mqtt"]["health_interval_s"] = 1.0
    return site


@dataclass(frozen=True, slots=True)
class Device:
    site: Site
    subscriber: Subscriber
    daemon: Daemon

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        topic = f"{self.site.topic}/response/{command}"
        before = len(self.subscriber.payloads(topic))
        self.subscriber.publish(f"{self.site.topic}/request/{command}", json.dumps(arguments))
        assert wait_until(lambda: len(self.subscriber.payloads(topic)) > before), self.daemon.lines
        answer: dict[str, Any] = json.loads(self.subscriber.payloads(topic)[-1])
        assert problems("response", answer) == []
        return answer

    def health(self) -> dict[str, Any]:
        return newest(self.subscriber.messages, "health")

    def has_kept(self, count: int) -> bool:
        return wait_until(lambda: ((self.health().get("keep") or {}).get("kept") or 0) >= count)


@contextmanager
def running(site: Site, watching: Subscriber) -> Iterator[Device]:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(3)), daemon.lines
        yield Device(site, watching, daemon)
        daemon.stop()
        assert daemon.wait() == 0, daemon.lines


def store(site: Site) -> Store:
    return Store(site.state / "kept")


def command(site: Site, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return run_cli("kept", *words, "--config", site.config, env=isolated(site.folder))


def told(site: Site, *words: str | Path) -> str:
    done = command(site, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nothing_is_kept_unless_it_is_asked_for(site: Site, watching: Subscriber) -> None:
    site.settings["keep"] = {"kinds": []}
    with running(site, watching) as device:
        assert continues(watching)
        assert wait_until(lambda: "keep" in device.health())
        assert device.health()["keep"] is None
        assert device.ask("kept")["data"]["pictures"] == []
    assert not (site.state / "kept").exists()


def test_the_picture_of_a_change_is_kept_with_its_prediction(
    site: Site, watching: Subscriber
) -> None:
    with running(site, watching) as device:
        assert device.has_kept(6)
        answer = device.ask("kept", kind="changed", limit=3)["data"]
        assert problems("kept", answer) == []
        assert len(answer["pictures"]) == 3
        assert answer["before"] == answer["pictures"][-1]["id"]
        more = device.ask("kept", kind="changed", limit=3, before=answer["before"])["data"]
        ids = [int(each["id"]) for each in [*answer["pictures"], *more["pictures"]]]
        assert ids == sorted(ids, reverse=True)
    predictions = {
        (each["boot_id"], each["seq"]): each for each in of(watching.messages, "predictions")
    }
    found = [*store(site).pictures()]
    changed = [each for each in found if each.kind == "changed"]
    assert len(changed) >= 6
    for each in changed:
        payload = dict(each.prediction)
        assert problems("prediction", payload) == []
        assert predictions[payload["boot_id"], payload["seq"]] == payload
        assert payload["predictions"][0]["name"] == each.name
        assert each.view == "cam0"
        with Image.open(io.BytesIO(store(site).jpeg(each.number))) as image:
            image.verify()


def test_a_label_goes_from_mqtt_to_the_export_that_evaluate_reads(
    site: Site, watching: Subscriber
) -> None:
    out = site.folder / "out"
    odd = 'a/b\n"<b>🦆</b>", ' + "x" * 280
    with running(site, watching) as device:
        assert device.has_kept(3)
        rows = device.ask("kept", limit=2)["data"]["pictures"]
        right = device.ask("label", id=rows[0]["id"], label=rows[0]["name"])
        assert problems("kept_picture", right["data"]) == []
        assert right["data"]["label"] == rows[0]["name"]
        assert device.ask("label", id=rows[1]["id"], label=odd)["data"]["label"] == odd
        shown = device.ask("kept", label=odd)["data"]["pictures"]
        assert [each["id"] for each in shown] == [rows[1]["id"]]
        # The command sees the same beside the daemon, and what it says is seen there.
        listed = json.loads(told(site, "list", "--json", "--label", odd))
        assert [each["id"] for each in listed] == [rows[1]["id"]]
        told(site, "label", rows[1]["id"], LABELS[0])
        again = device.ask("kept", label=LABELS[0])["data"]["pictures"]
        assert rows[1]["id"] in {each["id"] for each in again}
        assert device.ask("label", id="999999", label="x")["error"] == (
            "no picture 999999 is kept here"
        )
        done = device.ask("kept", labelled=True)["data"]["pictures"]
        assert {each["id"] for each in done} == {each["id"] for each in rows}
        rest = device.ask("kept", labelled=False, limit=100)["data"]["pictures"]
        assert not {each["id"] for each in rows} & {each["id"] for each in rest}
        for wrong in ({"id": "x", "label": "a"}, {"id": "1", "label": ""}, {"id": "1"}):
            assert device.ask("label", **wrong)["status"] == "error"
        summary = json.loads(told(site, "export", out, "--json"))
        assert (summary["pictures"], summary["left_out"]) == (2, 0)
    with (out / "labels.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert {each["label"] for each in listed} == {rows[0]["name"], LABELS[0]}
    assert all((out / each["file"]).is_file() for each in listed)
    evaluated = run_cli(
        "evaluate", out, "--labels", out / "labels.csv", "--json",
        "--config", site.config, env=isolated(site.folder),
    )  # fmt: skip
    assert (evaluated.returncode, evaluated.stderr) == (0, "")
    assert json.loads(evaluated.stdout)["pictures"] == 2


def test_label_is_refused_unless_it_is_allowed_by_name(site: Site, watching: Subscriber) -> None:
    del site.settings["commands"]["allow"]
    with running(site, watching) as device:
        assert device.has_kept(1)
        assert device.ask("kept")["status"] == "ok"
        refused = device.ask("label", id="0", label="cat")
        assert "not among commands.allow" in refused["error"]
    assert {each.label for each in store(site).pictures()} == {None}


def test_a_disk_that_is_full_or_read_only_is_shown_and_classifying_goes_on(
    site: Site, watching: Subscriber
) -> None:
    site.state.mkdir()
    (site.state / "kept").write_text("in the way")
    with running(site, watching) as device:
        assert wait_until(lambda: (device.health().get("keep") or {}).get("problem"))
        assert "not a directory" in device.health()["keep"]["problem"]
        assert continues(watching)
        assert device.ask("kept")["status"] == "error"


def test_kill_9_leaves_all_that_was_kept(site: Site, watching: Subscriber) -> None:
    with site.daemon() as daemon:
        assert watching.wait_for(has_predictions(60)), daemon.lines
        daemon.stop(signal.SIGKILL)
        daemon.wait()
    kept = [*store(site).pictures()]
    assert len(kept) > 10
    page = json.loads(told(site, "list", "--json", "--limit", "0"))
    assert [each["id"] for each in page] == [each.id for each in kept]
    with Subscriber(site.port, f"{site.folder.name}/#") as again, running(site, again) as device:
        assert device.has_kept(1)
    assert int(next(iter(store(site).pictures())).id) > kept[0].number


def test_the_state_says_how_often_its_label_was_seen_over_a_restart(
    site: Site, watching: Subscriber
) -> None:
    with running(site, watching):
        assert continues(watching)
    first = of(watching.messages, "event")
    assert first[0]["seen"]["first_ever"] is True
    assert all(problems("event", each) == [] for each in first)
    with Subscriber(site.port, f"{site.folder.name}/#") as again, running(site, again):
        assert continues(again)
        events = [each for each in of(again.messages, "event") if each["seen"]]
    assert events
    assert not any(each["seen"]["first_ever"] for each in events)


def test_a_time_zone_that_does_not_exist_is_said(site: Site) -> None:
    site.settings["device"]["time_zone"] = "Europe/Zurch"
    with site.daemon() as daemon:
        assert daemon.wait() == CONFIG
        assert "Europe/Zurich" in daemon.lines[-1]


# The command alone


def test_without_a_daemon_the_command_lists_labels_and_clears(
    site: Site, watching: Subscriber
) -> None:
    with running(site, watching) as device:
        assert device.has_kept(3)
    table = told(site, "list", "--limit", "2").splitlines()
    assert table[0].split() == ["ID", "KIND", "TIME", "VIEW", "TAKEN", "FOR", "SCORE", "LABEL"]
    assert len(table) == 3
    number = table[1].split()[0]
    assert told(site, "label", number, "two\nlines").startswith(f"{number}: two\\u000alines (taken")
    assert "two\\u000alines" in told(site, "list", "--limit", "1")
    assert told(site, "label", number, "--none").startswith(f"{number}: no label")
    count = len([*store(site).pictures()])
    assert told(site, "clear") == f"{count} pictures thrown away in {site.state / 'kept'}\n"
    assert told(site, "list", "--json") == "[]\n"
    done = command(site, "export", site.folder / "out")
    assert "no picture has a label" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["label", "x", "cat"], "x is no id of a kept picture: see `kept list`"),
        (["label", "7", "cat"], "no picture 7 is kept here"),
        (["label", "7"], "say LABEL, or --none to take it back"),
        (["label", "7", "cat", "--none"], "say LABEL, or --none to take it back"),
        (["label", "7", " "], "a label is a text of 1 to 500 characters"),
        (["label", "7", "x" * 501], "a label is a text of 1 to 500 characters"),
        (["list", "--limit", "-1"], "--limit: expected a number from 0 up"),
    ],
)
def test_wrong_words_are_one_line(site: Site, words: list[str], said: str) -> None:
    site.write()
    done = command(site, *words)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr == f"edgeclassifier: {said}\n"


def test_damaged_lines_are_counted(site: Site, watching: Subscriber) -> None:
    with running(site, watching) as device:
        assert device.has_kept(2)
    [lines] = (site.state / "kept").rglob("lines.jsonl")
    with lines.open("ab") as file:
        file.write(b"\xff\xfe\n{]")
    done = command(site, "list")
    assert done.returncode == 0
    assert done.stderr.endswith("2 damaged lines: their pictures are not listed\n")


def test_the_death_of_the_keeper_is_shown_and_another_takes_its_place(
    site: Site, watching: Subscriber
) -> None:
    with running(site, watching) as device:
        assert device.has_kept(2)
        site.fault.write_text("thread keep dies")
        assert device.daemon.wait_for_line("keep does not run: InjectedError: : trying again")
        assert continues(watching)
        before = len([*store(site).pictures()])
        site.fault.unlink()
        assert wait_until(lambda: len([*store(site).pictures()]) > before)
        guests = {each["name"]: each for each in device.health()["guests"]}
        assert guests.keys() == {"keep", "seen"}
        assert wait_until(
            lambda: next(each for each in device.health()["guests"] if each["name"] == "keep")[
                "restarts"
            ]
        )
        assert problems("health", device.health()) == []


def test_a_fault_in_what_sees_each_result_ends_the_keeper_and_not_the_daemon(
    site: Site, watching: Subscriber
) -> None:
    injected = site.folder / "sitecustomize.py"
    injected.write_text(
        "from edgeclassifier.keep.policy import Policy\n"
        "def kind(*_arguments):\n"
        "    raise KeyError('a fault')\n"
        "Policy.kind = kind\n"
    )
    site.write()
    env = isolated(site.folder, PYTHONPATH=str(site.folder))
    with Daemon(env=env, config=site.config) as daemon:
        assert daemon.wait_for_line("keep does not run: KeyError: 'a fault': trying again")
        assert continues(watching)
        daemon.stop()
        assert daemon.wait() == 0, daemon.lines
