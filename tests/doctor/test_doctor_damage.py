"""Machines and programs that are damaged in any way: no traceback, and an end."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.doctor_device import Device

from edgeclassifier import doctor
from edgeclassifier.doctor.examination import CHECKS, DEFECT, HANGS
from edgeclassifier.host.children import Outcome

SCHEMA = json.loads(Path(doctor.__file__).with_name("findings.schema.json").read_text())
READ_BY_OTHERS = ("idVendor", "idProduct", "temp")
"""By code that does not expect pipes and thousands of digits, which sysfs does not have."""


def furnished(folder: Path, patch: pytest.MonkeyPatch) -> Device:
    """Make a device that has everything, so that everything can be damaged."""
    device = Device(folder, patch)
    device.install(NRestarts="1")
    device.plug()
    device.write("/etc/udev/rules.d/71-x.rules", "1a6e 18d1")
    device.write("/usr/lib/python3/dist-packages/numpy/version.py", "version = '1.24.2'\n")
    device.write("/opt/x/pyvenv.cfg", "include-system-site-packages = true\n")
    device.write("/sys/class/apex/apex_0/temp", "50000\n")
    device.write("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x1ac1\n")
    device.start(700, "/usr/bin/rpicam-vid", holds=["/dev/media0"])
    device.settings["model.name"] = str(folder / "absent.tflite")
    return device


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """List the files of such a device."""
    with pytest.MonkeyPatch.context() as patch:
        root = furnished(tmp_path_factory.mktemp("tree"), patch).root
    found = (each for each in root.rglob("*") if each.is_symlink() or not each.is_dir())
    return sorted(str(each.relative_to(root)) for each in found)


def damage(file: Path, how: str, content: bytes) -> None:
    if how == "secret":
        if not file.is_symlink():
            file.chmod(0)
        return
    file.unlink()
    if how == "folder":
        file.mkdir()
    elif how == "pipe" and not file.name.endswith(READ_BY_OTHERS):
        os.mkfifo(file)
    elif how == "loop":
        file.symlink_to(file)
    elif how == "other":
        file.write_bytes(content[:100] if file.name.endswith(READ_BY_OTHERS) else content)


odd = st.sampled_from([b"-1", b"9" * 18, b"9" * 30, b"9" * 5000, b"0x", "٣".encode(), b"\xff\n"])
contents = st.one_of(st.binary(max_size=60), odd, st.text(max_size=60).map(str.encode))
kinds = st.sampled_from(["gone", "folder", "pipe", "loop", "secret", "other", "other", "other"])
facts = st.sampled_from(
    [
        *("numpy", "numpy_file", "numpy_error", "error", "runtime", "ran", "loaded", "labels"),
        *("first_names", "doubt", "missing", "cameras", "frame", "library", "version", "engine"),
        *("model", "state", "fault", "reason", "classified", "xnnpack", "numpy_clash", "input"),
    ]
)
values = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.none())
trial_words = st.dictionaries(facts, values, max_size=6).map(lambda said: json.dumps(said) + "\n")
words = st.one_of(
    st.text(max_size=80),
    trial_words,
    st.sampled_from(
        [
            "throttled=0xzz\n",
            "LoadState=loaded\nActiveState=\nNRestarts=x\n",
            "LoadState=loaded\nActiveState=active\nExecMainStatus=\n",
            "[" * 100_000,
        ]
    ),
)
outcomes: list[Outcome] = [
    *(Outcome(end="answered", code=code) for code in (0, 1, 78)),
    *(Outcome(end="crashed", signal=number) for number in (6, 11)),
    Outcome(end="killed", signal=99),
    Outcome(end="late"),
    Outcome(end="absent"),
]
answers = st.builds(
    lambda outcome, said: replace(outcome, output=said, errors=said),
    st.sampled_from(outcomes),
    words,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_damage_ends_the_examination(
    tmp_path_factory: pytest.TempPathFactory, files: list[str], data: st.DataObject
) -> None:
    """Every check says something, and none fails itself."""
    with pytest.MonkeyPatch.context() as patch:
        device = furnished(tmp_path_factory.mktemp("device"), patch)
        damaged = data.draw(st.dictionaries(st.sampled_from(files), kinds, max_size=8))
        for name, how in damaged.items():
            damage(device.root / name, how, data.draw(contents))
        programs = ("systemctl", "timedatectl", "vcgencmd", "rpicam-hello")
        device.commands |= data.draw(st.dictionaries(st.sampled_from(programs), answers))
        device.trials |= data.draw(st.dictionaries(st.sampled_from([*device.trials]), answers))
        found = device.examine()
    assert {each.check for each in found} == {"config", *(each.name for each in CHECKS)}
    assert [each.detail for each in found if each.problem in {DEFECT, HANGS}] == []
    Draft202012Validator(SCHEMA).validate([each.as_data() for each in found])
