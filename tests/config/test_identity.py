"""What a device is called if nobody names it."""

import socket

import pytest

from edgeclassifier.compose.identity import device_id


@pytest.mark.parametrize(
    ("host", "device"),
    [
        ("porch", "porch"),
        ("cam.porch.example", "cam-porch-example"),
        ("cam.garden.example", "cam-garden-example"),
        ("cam.porch", "cam-porch"),
        ("cam.local", "cam"),
        ("cam.porch.local", "cam-porch"),
        ("Cam.LAN", "Cam"),
        ("cam.home", "cam"),
        ("cam.home.arpa", "cam"),
        ("cam.fritz.box", "cam"),
        ("cam.example.com.", "cam-example-com"),
        ("cam.localdomain.", "cam"),
        ("cam.localhost", "cam-localhost"),
        ("homelan", "homelan"),
        ("local", "local"),
        ("küche.lan", "k-che"),
        ("...", "device"),
        (".local", "device"),
        ("", "device"),
    ],
)
def test_every_level_of_a_host_name_tells_devices_apart(
    monkeypatch: pytest.MonkeyPatch, host: str, device: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert device_id("") == device


def test_a_configured_id_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "cam.porch.example")
    assert device_id("Porch_1") == "Porch_1"
