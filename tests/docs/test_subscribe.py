"""What the pages tell subscribers is so: the payloads, the commands, the examples."""

import json
import re
import shlex
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from generate import rows, sections
from support.brokers import PATIENCE_S, Mosquitto, Subscriber, needs_mosquitto
from support.contract import SCHEMA, problems
from support.daemon import REPOSITORY
from support.device import has_predictions
from support.examples import EXAMPLES, unhurried
from support.pages import DOCS, PAGES, fences, lines, links

from edgeclassifier.contract.commands import COMMANDS

PAGE = DOCS / "subscribe.md"
needs_clients = pytest.mark.skipif(
    shutil.which("mosquitto_rr") is None, reason="needs mosquitto_rr (apt: mosquitto-clients)"
)


@pytest.mark.parametrize("definition", sections(SCHEMA))
def test_every_field_has_a_meaning(definition: str) -> None:
    """If not: it lacks a description in v1.schema.json."""
    assert [row.path for row in rows(SCHEMA, definition) if not row.meaning] == []


def test_every_payload_has_a_section() -> None:
    """But that of availability, which is a word."""
    objects = {name for name, each in SCHEMA["$defs"].items() if {"properties", "allOf"} & {*each}}
    assert objects - {"model", "ranked", "picture"} == {*sections(SCHEMA)}


def test_the_sample_is_a_prediction_of_the_contract() -> None:
    (sample,) = fences(PAGE, "json")
    assert problems("prediction", json.loads(sample)) == []


def test_every_command_has_a_row() -> None:
    _, _, section = PAGE.read_text().partition("\n## Commands\n")
    section, _, _ = section.partition("\n## ")
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*COMMANDS]


def test_the_pages_lead_to_every_example() -> None:
    linked = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    assert {*EXAMPLES.iterdir()} - linked == set()


def commands() -> list[str]:
    found = [line for page in (REPOSITORY / "README.md", PAGE) for line in lines(page)]
    return [line for line in found if line.startswith("mosquitto_")]


@needs_mosquitto
@needs_clients
def test_the_commands_work(tmp_path: Path, broker: Mosquitto) -> None:
    """One that ends with & waits for what the others bring about."""
    site = unhurried(tmp_path, broker)
    site.settings["mqtt"]["root"] = "edgeclassifier"
    site.settings["commands"] = {"max_rate_hz": 100.0}
    site.settings["image"] = {"on_request": True}
    assert len(commands()) >= 5
    waiting = []
    with (
        Subscriber(broker.port) as watching,
        site.daemon() as daemon,
        ExitStack() as started,
    ):
        assert watching.wait_for(has_predictions(3)), daemon.lines
        for line in commands():
            shown, _, more = line.partition(" > ")
            program, *arguments = shlex.split(shown, comments=True)
            arguments += ["-W", "15"] if program != "mosquitto_pub" else []
            arguments += ["-C", "1"] if program == "mosquitto_sub" else []
            process = started.enter_context(
                subprocess.Popen(
                    [program, "-p", str(broker.port), *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            if "&" in shlex.split(more, comments=True):
                waiting.append((line, process))
                continue
            output, errors = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, (line, errors)
            assert output or program == "mosquitto_pub", line
            if program == "mosquitto_rr":
                assert json.loads(output)["status"] == "ok", line
        for line, process in waiting:
            output, errors = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, (line, errors)
            assert output.startswith(b"\xff\xd8"), line
