"""Which release a device gets, and how it gets the same one anew."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.deployment import ROLE, load, make_archive, run_tool, says

A = "1.0-0123456789ab"
B = "0.9-ba9876543210"
WHEELHOUSE = """\
import json
print(json.dumps({"release": "%s", "path": "%s", "changed": False}))
"""
PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: edgeclassifier, tasks_from: collect}
    - ansible.builtin.include_role: {name: edgeclassifier, tasks_from: release}
      when: install | default(false)
    - ansible.builtin.copy:
        content: "{{ {'name': edgeclassifier_new, 'is_new': edgeclassifier_is_new} | to_json }}"
        dest: "{{ answers }}/{{ inventory_hostname }}"
"""


def deploy(folder: Path, devices: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Say, by device, the name of the release that it gets, and whether it has to be installed."""
    (folder / "deploy").mkdir(exist_ok=True)
    (folder / "deploy" / "wheelhouse.py").write_text(WHEELHOUSE % (A, folder))
    hosts = {name: {"ansible_connection": "local", **device} for name, device in devices.items()}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "play.yml").write_text(PLAY)
    (answers := folder / "answers").mkdir(exist_ok=True)
    given = {
        "edgeclassifier_repository": str(folder),
        "edgeclassifier_base": str(folder / "opt/edgeclassifier"),
        "answers": str(answers),
    }
    arguments = ("-i", f"{folder}/hosts.json", "-e", json.dumps(given), f"{folder}/play.yml")
    done = run_tool("ansible-playbook", *arguments, home=folder)
    assert done.returncode == 0, done.stdout
    found = {name: json.loads((answers / name).read_text()) for name in devices}
    return {name: (answer["name"], answer["is_new"]) for name, answer in found.items()}


def device(*releases: str, current: str = "", half: str = "", anew: bool = False) -> dict[str, Any]:
    """Describe a device with complete releases, the newest first, and one that is not complete."""
    return {
        "edgeclassifier_probe": {
            "python": "3.13.5",
            "machine": "aarch64",
            "current": current,
            "complete": sorted(releases),
            "releases": [half, *releases] if half else [*releases],
        },
        "edgeclassifier_reinstall": anew,
    }


def test_which_release_a_device_gets(tmp_path: Path) -> None:
    cases = {
        "from nothing": (device(), (A, True)),
        "another": (device(B, current=B), (A, True)),
        "the same": (device(A, current=A), (A, False)),
        "gone back from it": (device(A, B, current=B), (A, False)),
        "interrupted": (device(B, current=B, half=A), (A, True)),
        "anew": (device(A, current=A, anew=True), (f"{A}-2", True)),
        "anew, interrupted": (device(A, current=A, half=f"{A}-2", anew=True), (f"{A}-2", True)),
        "after it": (device(f"{A}-2", A, current=f"{A}-2"), (f"{A}-2", False)),
        "after it, gone back": (device(f"{A}-2", A, B, current=A), (A, False)),
        "after it, and another": (device(B, f"{A}-10", f"{A}-9", current=B), (f"{A}-10", False)),
        "anew once more": (device(f"{A}-2", A, current=f"{A}-2", anew=True), (f"{A}-3", True)),
        "anew, without the first": (device(f"{A}-2", current=f"{A}-2", anew=True), (A, True)),
        "its mark is gone": (device(B, current=A, half=A), (f"{A}-2", True)),
    }
    devices = {name.replace(" ", "_"): given for name, (given, _) in cases.items()}
    found = deploy(tmp_path, devices)
    assert found == {name.replace(" ", "_"): expected for name, (_, expected) in cases.items()}


@pytest.mark.skipif(os.geteuid() != 0, reason="a release belongs to root")
def test_a_damaged_release_is_made_anew_beside_itself(tmp_path: Path) -> None:
    base = tmp_path / "opt" / "edgeclassifier"
    (base / "releases").mkdir(parents=True)
    make_archive(tmp_path, own="whole")

    def run(*, anew: bool = False) -> tuple[str, bool]:
        probed = load(ROLE / "files" / "probe.py").main(tmp_path)
        given = {"edgeclassifier_probe": probed, "edgeclassifier_reinstall": anew, "install": True}
        return deploy(tmp_path, {"pi": {**given, "edgeclassifier_picamera2": False}})["pi"]

    assert run() == (A, True)
    first, second = base / "releases" / A, base / "releases" / f"{A}-2"
    (base / "current").symlink_to(f"releases/{A}")
    (first / "config.toml").write_text("[camera]\n")
    for module in first.glob("lib/*/site-packages/*.py"):
        module.write_text("def main(): print('damaged')\n")
    assert run(anew=True) == (f"{A}-2", True)
    assert says(second, "edgeclassifier") == "whole\n"
    assert says(second, "dependency") == "dependency\n"
    assert (first / "config.toml").read_text() == "[camera]\n"
    (base / "current").unlink()
    (base / "current").symlink_to(f"releases/{A}-2")
    assert run() == (f"{A}-2", False)
