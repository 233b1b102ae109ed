"""Each problem on a recorded device: that finding and no other, with a remedy that is complete."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from support.doctor_cases import CASES
from support.doctor_device import Device, ids, worst

from edgeclassifier import doctor
from edgeclassifier.cli import main
from edgeclassifier.doctor.examination import CHECKS, problems
from edgeclassifier.doctor.findings import Finding, Level

SCHEMA = json.loads(Path(doctor.__file__).with_name("findings.schema.json").read_text())


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(tmp_path, monkeypatch)


def test_a_healthy_device_has_nothing_wrong_and_every_check_says_so(device: Device) -> None:
    found = device.examine()
    assert [(each.check, each.level) for each in found] == [
        (name, Level.OK) for name in ("config", *(each.name for each in CHECKS))
    ]
    assert all(each.detail and not each.problem and not each.remedy for each in found)
    details = {each.check: each.detail for each in found}
    assert details["camera"] == "picamera2: a frame of 320x320 from picamera2:0; there is imx708"
    assert details["runtime"] == "litert 2.3.0, with XNNPACK, threads: 3"
    assert details["temperature"] == "48 °C"


@pytest.mark.parametrize("name", CASES)
def test_what_happened_is_found_and_nothing_else(device: Device, name: str) -> None:
    case = CASES[name]
    case.happens(device)
    if "doctor.hangs" in case.expected:
        found = device.examine([replace(each, limit_s=2.0) for each in CHECKS])
        device.release()
        assert next(each.check for each in found if each.problem) == "crash"
    else:
        found = device.examine()
    assert ids(found) == case.expected
    assert worst(found) == case.level
    Draft202012Validator(SCHEMA).validate([each.as_data() for each in found])
    for each in found:
        assert "\n" not in each.detail
        if each.problem:
            assert each.remedy
            assert "{" not in re.sub(r"`[^`]*`", "", each.remedy)
            assert each.remedy.count("`") % 2 == 0


def test_nothing_is_examined_with_the_defaults_in_place_of_what_is_configured(
    device: Device,
) -> None:
    CASES["a_configuration_that_is_the_service_s"].happens(device)
    device.trials.clear()
    found = {each.check: each for each in device.examine()}
    assert found["config"].remedy == "`sudo edgeclassifier doctor`"
    independent = {name for name, each in found.items() if each.problem is None}
    assert independent == {"python", "clock", "power", "throttling", "temperature", "service"}


def test_every_remedy_that_repairs_an_environment_has_another_for_a_release() -> None:
    """A release has no pip, and the same one is not installed again by itself."""
    repairs = [
        each
        for each in problems()
        if re.search("-m (pip|venv)|(new environment|fresh clone)", each.remedy)
    ]
    assert len(repairs) > 5
    assert {each.id for each in repairs if "--reinstall" not in each.remedy_of_release} == set()


@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("/opt/edgeclassifier/releases/7c1f", "sudo deploy/install.sh --reinstall"),
        ("/home/pi/my venv", "'/home/pi/my venv/bin/python' -m pip install --force-reinstall"),
    ],
)
def test_the_remedy_is_the_one_for_how_it_was_installed(
    device: Device, prefix: str, remedy: str
) -> None:
    device.python = replace(device.python, prefix=prefix, executable=f"{prefix}/bin/python")
    CASES["a_runtime_for_another_cpu"].happens(device)
    command = next(iter(commands(device.examine(), "runtime.crashes")))
    assert command[: len(shlex.split(remedy))] == shlex.split(remedy)


def test_the_remedy_for_a_model_without_a_record_keeps_its_labels(device: Device) -> None:
    CASES["a_model_that_was_put_there_by_hand_with_its_labels"].happens(device)
    labels = device.folder / "models/birds.labels.txt"
    before = labels.read_text().splitlines()
    (command,) = commands(device.examine(), "model.unrecorded")[:1]
    assert command[-2:] == ["--store", str(labels.parent)]
    assert command[command.index("--labels") + 1] == str(labels)
    assert main(command[1:]) == 0
    assert labels.read_text().splitlines() == before
    assert ids(device.examine()) == set()


def test_the_remedy_for_a_model_that_was_damaged_names_its_labels(device: Device) -> None:
    CASES["a_model_that_was_damaged"].happens(device)
    labels = device.folder / "models/birds.labels.txt"
    labels.write_text("robin\n")
    (command,) = (each for each in commands(device.examine(), "model.changed") if "add" in each)
    assert command[2:6] == ["add", "FILE", "--labels", str(labels)]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a_network_camera_that_does_not_answer", "porch.example"),
        ("a_network_camera_that_hangs", "rtsp://porch.example:8554/live"),
        ("a_network_camera_that_is_off", "ping -c 3 porch.example"),
        ("a_usb_camera_without_frames", "v4l2-ctl -d /dev/video0"),
        ("a_video_file_that_is_not_there", "ls -l /srv/clip.mp4"),
        ("a_video_file_that_is_closed", "ls -l /srv/clip.mp4"),
        ("a_folder_of_pictures_that_is_not_there", "ls -l /srv/pictures"),
    ],
)
def test_the_remedy_for_a_camera_fits_where_it_is(device: Device, name: str, shown: str) -> None:
    CASES[name].happens(device)
    (found,) = (each for each in device.examine() if each.check == "camera")
    assert shown in str(found.remedy)
    assert "hunter2" not in f"{found.remedy} {found.detail}"
    if "usb" not in name:
        assert not re.search("dmesg|reboot|cable|dev/video", str(found.remedy))


def commands(found: Sequence[Finding], problem: str) -> list[list[str]]:
    """Return the commands of the remedy for a problem, each as its words."""
    (remedy,) = (each.remedy or "" for each in found if each.problem and each.problem.id == problem)
    return [shlex.split(each) for each in re.findall(r"`([^`]*)`", remedy)]


def test_every_problem_has_a_case() -> None:
    known = [each.id for each in problems()]
    assert len(known) == len({*known})
    assert {*known} == set().union(*(case.expected for case in CASES.values()))
    checks = {"config", "doctor", *(each.name for each in CHECKS)}
    assert {each.check for each in problems()} == checks


def test_the_schema_knows_every_check() -> None:
    known = SCHEMA["items"]["properties"]["check"]["enum"]
    assert known == ["config", *(each.name for each in CHECKS)]
    pattern = SCHEMA["items"]["properties"]["id"]["pattern"]
    assert all(re.search(pattern, each.id) for each in problems())


@pytest.mark.parametrize(
    ("loaded", "tried"),
    [("7f00-7f01 r-xp 0 b3:2 7 /opt/npu/libnpu.so\n", False), ("", True), (None, False)],
    ids=["loaded", "not loaded", "not to be known"],
)
def test_a_library_that_a_daemon_may_have_loaded_is_not_tried_beside_it(
    device: Device, loaded: str | None, tried: bool
) -> None:
    device.settings["accelerator.delegate"] = "/opt/npu/libnpu.so"
    device.start(812, "/opt/x/bin/edgeclassifier", "run")
    if loaded is not None:
        device.write("/proc/812/maps", loaded)
    details = {each.check: each.detail for each in device.examine()}
    assert ("a daemon runs (812)" in details["accelerator"]) is not tried


def test_a_camera_device_that_is_absent_is_no_daemon_s(device: Device) -> None:
    device.settings |= {"camera.source": "stream", "camera.stream.url": "/dev/video99"}
    device.start(812, "/opt/x/bin/edgeclassifier", "run")
    details = {each.check: each.detail for each in device.examine()}
    assert "a daemon runs" not in details["camera"]
