"""What the README tells subscribers is so: the tables, the commands, the examples."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from generate import OPEN, SCHEMA_FILE, folded, payload_tables, rows, tables_of
from support.brokers import PATIENCE_S, Mosquitto, Subscriber, needs_mosquitto
from support.daemon import REPOSITORY
from support.device import has_predictions
from support.examples import EXAMPLES, unhurried

README = REPOSITORY / "README.md"
CONTRACT = json.loads(SCHEMA_FILE.read_text())
needs_clients = pytest.mark.skipif(
    shutil.which("mosquitto_rr") is None, reason="needs mosquitto_rr (apt: mosquitto-clients)"
)


def test_the_readme_has_the_tables_of_the_contract() -> None:
    """If not: python docs/generate.py README.md."""
    assert tables_of(README.read_text()) == payload_tables(CONTRACT)


@pytest.mark.parametrize("definition", [*OPEN, *folded(CONTRACT)])
def test_every_field_has_a_meaning(definition: str) -> None:
    """If not: it lacks a description in v1.schema.json."""
    assert [row.path for row in rows(CONTRACT, definition) if not row.meaning] == []


def test_every_payload_has_a_table() -> None:
    """But that of availability, which is a word."""
    objects = {
        name for name, each in CONTRACT["$defs"].items() if {"properties", "allOf"} & {*each}
    }
    assert objects - {"model"} == {*OPEN, *folded(CONTRACT)}


def test_the_readme_leads_to_every_example() -> None:
    text = README.read_text()
    assert [
        each.name for each in EXAMPLES.iterdir() if f"({each.relative_to(REPOSITORY)})" not in text
    ] == []


def commands() -> list[str]:
    fences = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    lines = [line for fence in fences for line in fence.splitlines()]
    return [line for line in lines if line.startswith("mosquitto_")]


@needs_mosquitto
@needs_clients
def test_the_commands_of_the_readme_work(tmp_path: Path, broker: Mosquitto) -> None:
    site = unhurried(tmp_path, broker)
    site.settings["mqtt"]["root"] = "edgeclassifier"
    site.settings["image"] = {"enabled": True, "max_rate_hz": 100.0}
    site.settings["commands"] = {"max_rate_hz": 100.0}
    assert len(commands()) >= 5
    with Subscriber(broker.port) as watching, site.daemon() as daemon:
        assert watching.wait_for(has_predictions(3)), daemon.lines
        for line in commands():
            program, *arguments = shlex.split(line.split(" > ")[0], comments=True)
            more = ["-W", "15"] if program != "mosquitto_pub" else []
            more += ["-C", "1"] if program == "mosquitto_sub" else []
            done = subprocess.run(
                [program, "-p", str(broker.port), *arguments, *more],
                capture_output=True,
                check=False,
                timeout=PATIENCE_S,
            )
            assert done.returncode == 0, (line, done.stderr)
            assert done.stdout or program == "mosquitto_pub", line
            if program == "mosquitto_rr":
                assert json.loads(done.stdout)["status"] == "ok", line
