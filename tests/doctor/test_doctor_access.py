"""What the service's user may not read, on a recorded device, and how `check` says so."""

import json
import os
from functools import partial
from pathlib import Path

import pytest
from support.daemon import SAMPLES
from support.doctor_device import USER_ID, Device

from edgeclassifier.cli import main
from edgeclassifier.config import load_config
from edgeclassifier.doctor import machine
from edgeclassifier.doctor.service import closed_secrets

FILE = "/etc/edgeclassifier/secret"
KEYS = {
    "camera.stream.password_file": (
        *("camera.source=stream", "camera.stream.url=rtsp://host/", "camera.stream.username=x"),
        f"camera.stream.password_file={FILE}",
    ),
    "mqtt.password_file": ("mqtt.username=x", f"mqtt.password_file={FILE}"),
    "mqtt.tls.key_file": (
        *("mqtt.tls.enabled=true", "mqtt.tls.cert_file=/etc/cert"),
        f"mqtt.tls.key_file={FILE}",
    ),
    "web.password_file": ("web.enabled=true", f"web.password_file={FILE}"),
}


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """An installed one: /etc/passwd has the service's user, who owns nothing of the tree."""
    device = Device(tmp_path, monkeypatch)
    device.install()
    device.write(FILE, "secret", mode=0o600)
    return device


def closed(device: Device, *overrides: str) -> list[tuple[str, str]]:
    return list(closed_secrets(load_config(None, overrides=overrides), device.machine()))


@pytest.mark.parametrize("key", KEYS)
def test_each_secret_has_to_be_open_to_the_service(device: Device, key: str) -> None:
    assert closed(device, *KEYS[key]) == [(key, FILE)]
    device.write("/etc/passwd", f"edgeclassifier:x:{os.getuid()}:1:::\n")
    assert closed(device, *KEYS[key]) == []


def test_a_secret_in_a_closed_folder_is_closed(device: Device) -> None:
    (device.root / FILE[1:]).chmod(0o644)
    assert closed(device, *KEYS["web.password_file"]) == []
    (device.root / "etc/edgeclassifier").chmod(0o700)
    assert closed(device, *KEYS["web.password_file"]) == [("web.password_file", FILE)]


def test_systemd_reads_the_broker_s_password_for_the_service(device: Device) -> None:
    secret = "/etc/edgeclassifier/mqtt-password"
    device.write(secret, "secret", mode=0o600)
    assert closed(device, "mqtt.username=x", f"mqtt.password_file={secret}") == []


def test_without_the_service_nobody_else_has_to_read_them(device: Device) -> None:
    device.write("/etc/passwd", f"root:x:0:0:::\npi:x:{USER_ID}:{USER_ID}:::\n")
    assert closed(device, *KEYS["web.password_file"]) == []


@pytest.mark.parametrize("as_json", [False, True])
def test_check_warns_of_what_the_service_may_not_read(
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    """It passes, because this user can use everything."""
    monkeypatch.setattr(machine, "Machine", partial(machine.Machine, root=device.root))
    secret = device.folder / "web password"
    secret.touch(mode=0o600)
    secret.write_text("secret")
    # The same name in the recorded tree.
    device.write(str(secret), "secret", mode=0o600)
    settings = (
        *("camera.source=replay", f"camera.replay.path={SAMPLES}", "accelerator.delegate=none"),
        *("web.enabled=true", f"web.password_file={secret}", "metrics.textfile=/none/x.prom"),
    )
    arguments = [f"--set={each}" for each in settings]
    assert main(["check", "--config", os.devnull, *["--json"] * as_json, *arguments]) == 0
    shown = capsys.readouterr().out
    closed = f"web.password_file: {secret}"
    remedy = f"`sudo chown edgeclassifier '{secret}'`"
    if as_json:
        found = [each for each in json.loads(shown) if each["level"] != "ok"]
        assert [each["id"] for each in found] == ["metrics.folder", "service.closed_secret"]
        assert found[0]["detail"] == "/none is not there"
        assert found[1]["detail"] == closed
        assert found[1]["remedy"].startswith(remedy)
    else:
        lines = [line for line in shown.splitlines() if not line.startswith("OK ")]
        assert lines[0].startswith("warning  metrics      The metrics cannot be written: /none is")
        assert lines[2].startswith("warning  service      The service's user may not read a secret")
        assert lines[2].endswith(closed)
        assert lines[3].strip().startswith(remedy)
        assert lines[-1] == "no failures, 2 warnings"
