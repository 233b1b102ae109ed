"""The role's templates and facts, by Ansible itself."""

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.deployment import ROLE, run_tool
from support.programs import run

ODD = {
    "state": {
        "threshold": 0.5,
        "thresholds": {
            "house finch": 0.6,
            "tit, blue": 1e-05,
            "Blaumeise \u00e4\u00f6\u00fc": 1e16,
            'a "quoted" one': 1,
            "back\\slash": -0.0,
            "a.dot": 0.25,
            "a-b_c1": 0.75,
            "line\nbreak": 0.125,
            "tab\tand \x7f and \x1f": 0.0625,
            "42": 0.3,
            "\U0001f426": 0.4,
            "": 0.9,
        },
        "exclude": ["it's", 'he said "no"', "\u00e9\U0001f426", "back\\slash\n", "\x7f\x00", ""],
    },
    "web": {"enabled": True, "port": 8080, "more": {"off": False, "none": [], "empty": {}}},
    "mixed": {"list": [[1, 2], ["x"], {"a key": [True, {"b": 0.5}]}], "": {"deep er": {"x": "#"}}},
    "top": "level",
    "empty": {},
}


def play(tasks: list[dict[str, Any]], variables: str, folder: Path) -> str:
    """Let Ansible carry out tasks here, with variables in JSON or YAML; return what it says."""
    book = [
        {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks},
    ]
    (folder / "play.yml").write_text(json.dumps(book))
    (folder / "vars.yml").write_text(variables)
    arguments = ("-i", "localhost,", "-e", f"@{folder}/vars.yml", "-vv", f"{folder}/play.yml")
    done = run_tool("ansible-playbook", *arguments, home=folder)
    assert done.returncode == 0, done.stdout
    return done.stdout


def part_of_the_role(name: str) -> dict[str, Any]:
    return {"ansible.builtin.include_role": {"name": "edgeclassifier", "tasks_from": name}}


def rendered(variables: str, folder: Path) -> str:
    """Render the configuration as the role does, of variables in JSON or YAML."""
    template = ROLE / "templates" / "config.toml.j2"
    content = f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}"
    task = {"ansible.builtin.copy": {"content": content, "dest": f"{folder}/out"}}
    play([task], variables, folder)
    return (folder / "out").read_text(encoding="utf-8")


def test_the_configuration_is_what_the_inventory_says(tmp_path: Path) -> None:
    variables = json.dumps({"edgeclassifier_config": ODD})
    assert tomllib.loads(rendered(variables, tmp_path)) == ODD


def test_what_yaml_alone_can_say_is_understood(tmp_path: Path) -> None:
    """Numbers as keys, and keys without a value, which have their default."""
    config = "{state: {window_s: null, thresholds: {42: 0.5}}, web: {port: }}"
    text = rendered(f"edgeclassifier_config: {config}", tmp_path)
    assert text.endswith("\n\n[state]\n\n[state.thresholds]\n42 = 0.5\n\n[web]\n")


@pytest.mark.parametrize("system", ["python3.11", "python3.13"])
def test_the_command_says_what_to_do_after_an_upgrade_of_python(
    tmp_path: Path, system: str
) -> None:
    """A release is for one Python; the link to the system's leads to another one then."""
    release = tmp_path / "current"
    (release / "lib" / "python3.11").mkdir(parents=True)
    (release / "bin").mkdir()
    (tmp_path / system).touch()
    (release / "bin" / "python").symlink_to(tmp_path / system)
    (release / "bin" / "edgeclassifier").write_text(
        '#!/bin/sh\necho "$EDGECLASSIFIER_MODELS" "$@"\n'
    )
    (release / "bin" / "edgeclassifier").chmod(0o755)
    command = tmp_path / "edgeclassifier"
    template = ROLE / "templates" / "command.sh.j2"
    content = f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}"
    task = {"ansible.builtin.copy": {"content": content, "dest": str(command)}}
    play([task], json.dumps({"edgeclassifier_base": str(tmp_path)}), tmp_path)
    done = run(["sh", command, "check", "--json"], env={"PATH": os.environ["PATH"]})
    if system == "python3.11":
        assert (done.returncode, done.stdout.strip()) == (0, f"{tmp_path}/models check --json")
    else:
        assert done.returncode == 1
        assert "made for another Python than python3.13" in done.stdout
        assert "deploy/install.sh" in done.stdout


def test_the_oldest_releases_are_removed(tmp_path: Path) -> None:
    newest_first = [f"1.{number}" for number in reversed(range(12))]
    for name in newest_first:
        (tmp_path / "releases" / name).mkdir(parents=True)
    given = {
        "edgeclassifier_base": str(tmp_path),
        "edgeclassifier_keep_releases": 6,
        "edgeclassifier_new": "1.11",
        "edgeclassifier_probe": {"releases": newest_first, "current": "1.11", "previous": "1.0"},
    }
    play([part_of_the_role("prune")], json.dumps(given), tmp_path)
    left = {path.name for path in (tmp_path / "releases").iterdir()}
    assert left == {"1.11", "1.10", "1.9", "1.8", "1.7", "1.0"}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_each_password_belongs_to_who_reads_it_and_none_takes_nothing_away(tmp_path: Path) -> None:
    given = {"edgeclassifier_etc": str(tmp_path), "edgeclassifier_user": "daemon"}
    for passwords in (
        {"mqtt": "for the broker", "web": "geh\u00e4im '\"{"},
        {"mqtt": "", "web": ""},
    ):
        variables = {f"edgeclassifier_{name}_password": text for name, text in passwords.items()}
        said = play([part_of_the_role("passwords")], json.dumps(given | variables), tmp_path)
        assert "for the broker" not in said
    mqtt, web = tmp_path / "mqtt-password", tmp_path / "web-password"
    assert (mqtt.read_text(), mqtt.owner()) == ("for the broker\n", "root")
    assert (web.read_text(), web.owner(), web.group()) == ("geh\u00e4im '\"{\n", "daemon", "daemon")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (mqtt, web)} == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_a_password_that_was_replaced_comes_back_and_a_new_one_stays(tmp_path: Path) -> None:
    given = {
        "edgeclassifier_etc": str(tmp_path),
        "edgeclassifier_user": "daemon",
        "edgeclassifier_mqtt_password": "new of the broker",
        "edgeclassifier_web_password": "new of the page",
        "edgeclassifier_passwords_in_use": {
            "results": [{"rc": 1, "stdout": ""}, {"rc": 0, "stdout": "old of the page"}]
        },
    }
    tasks = [part_of_the_role("passwords"), part_of_the_role("passwords_back")]
    said = play(tasks, json.dumps(given), tmp_path)
    assert "of the page" not in said
    mqtt, web = tmp_path / "mqtt-password", tmp_path / "web-password"
    assert mqtt.read_text() == "new of the broker\n"
    assert (web.read_text(), web.owner(), web.group()) == ("old of the page\n", "daemon", "daemon")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (mqtt, web)} == {0o600}
