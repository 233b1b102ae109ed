"""The unit: what systemd says of it, and that its numbers fit those of the daemon."""

import re
import shutil
from pathlib import Path

import pytest
from support.programs import run

from edgeclassifier.accelerator import devices
from edgeclassifier.compose.golden import TRIAL_TIMEOUT_S
from edgeclassifier.config import Config
from edgeclassifier.errors import EXIT_CONFIG, ConfigError
from edgeclassifier.host.credentials import read_password
from edgeclassifier.host.signals import STOP_WITHIN_S

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "edgeclassifier.service"
DROP_INS = SYSTEMD / "drop-ins"
RISING_DELAY_SINCE = 254
MOST_EXPOSED = 1.5

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (systemd)"
)


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


SETTINGS = settings(UNIT.read_text(encoding="utf-8"))


def analyze(*arguments: str) -> str:
    return run(["systemd-analyze", *arguments], timeout_s=60).stdout


def with_drop_ins(folder: Path, *names: str) -> Path:
    """Copy the unit, with a program that exists on this machine in place of the daemon."""
    unit = folder / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", text), encoding="utf-8")
    (folder / f"{UNIT.name}.d").mkdir()
    for name in names:
        shutil.copy(DROP_INS / name, folder / f"{UNIT.name}.d")
    return unit


@needs_systemd_analyze
def test_systemd_has_nothing_to_complain_of(tmp_path: Path) -> None:
    assert analyze("verify", str(with_drop_ins(tmp_path, "20-other-clock.conf"))) == ""


@needs_systemd_analyze
def test_systemd_knows_the_rising_delay(tmp_path: Path) -> None:
    version = re.match(r"systemd (\d+)", analyze("--version"))
    assert version is not None
    said = analyze("verify", str(with_drop_ins(tmp_path, "10-rising-delay.conf")))
    if int(version[1]) < RISING_DELAY_SINCE:
        assert "RestartSteps" in said, "this systemd could have it, too"
    else:
        assert said == ""


@needs_systemd_analyze
def test_the_exposure_is_small() -> None:
    said = analyze("security", "--offline=true", str(UNIT))
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= MOST_EXPOSED, said


def test_the_watchdog_leaves_the_daemon_time_to_recover_or_to_say_why_it_cannot() -> None:
    (watchdog_s,) = SETTINGS["WatchdogSec"]
    config = Config()
    assert float(watchdog_s) > max(config.camera.deadline_s, config.model.deadline_s)


def test_the_start_has_time_for_the_trial_of_a_model_and_an_accelerator() -> None:
    (start_s,) = SETTINGS["TimeoutStartSec"]
    assert float(start_s) > TRIAL_TIMEOUT_S + Config().accelerator.load_deadline_s + 60


def test_the_end_has_the_time_that_the_daemon_takes() -> None:
    (stop_s,) = SETTINGS["TimeoutStopSec"]
    assert float(stop_s) > STOP_WITHIN_S


def test_wrong_configuration_is_the_only_reason_not_to_start_again() -> None:
    assert SETTINGS["Restart"] == ["always"]
    assert SETTINGS["RestartPreventExitStatus"] == [str(EXIT_CONFIG)]
    assert SETTINGS["StartLimitIntervalSec"] == ["0"]


def test_neither_network_nor_clock_is_waited_for() -> None:
    assert SETTINGS["After"] == ["network.target"]
    assert not {"Wants", "Requires", "BindsTo", "Requisite"} & SETTINGS.keys()


def test_udev_knows_every_usb_id_of_the_accelerator() -> None:
    rules = (SYSTEMD / "71-edgeclassifier.rules").read_text(encoding="utf-8")
    found = re.findall(r'idVendor\}=="(\w+)".*idProduct\}=="(\w+)".*GROUP="plugdev"', rules)
    assert set(found) == set(devices._USB_IDS)


@pytest.mark.parametrize("blank", ["", "\n"])
def test_a_blank_credential_stands_for_none(
    blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit gives a blank one where /etc/edgeclassifier/mqtt-password is not there."""
    assert SETTINGS["SetCredential"] == ["mqtt-password:\\n"]
    given, file = tmp_path / "given", tmp_path / "mqtt-password"
    given.mkdir()
    (given / file.name).write_text(blank)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    with pytest.raises(ConfigError, match="no such file"):
        read_password(file)
    file.write_text("from the file\n")
    file.chmod(0o600)
    assert read_password(file) == "from the file"


def test_a_credential_takes_the_place_of_the_file_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "mqtt-password").write_text("from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    assert read_password(Path("/etc/edgeclassifier/mqtt-password")) == "from systemd"
