"""The health gate: which devices it lets pass, and what it says of the others."""

import json
import time
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest
from paho.mqtt import publish
from support.brokers import PATIENCE_S, Mosquitto, needs_mosquitto
from support.deployment import ROLE, load

from edgeclassifier.compose.broker import broker_access
from edgeclassifier.compose.publisher import publisher_settings
from edgeclassifier.config import Config, DeviceConfig, MqttConfig

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLUGINS = sorted(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))

GOOD_UNIT = {
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "ExecMainStatus": "0",
    "NRestarts": "0",
}
GOOD_BROKER = {"problem": "", "availability": "online", "captured": NOW, "paused": False}


@pytest.mark.parametrize(
    ("unit", "broker", "expected"),
    [
        ({}, {}, ""),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, {}, "the unit is activating"),
        ({}, {"problem": "no route"}, "no route"),
        ({}, {"availability": "offline"}, "availability is offline"),
        ({}, {"availability": "unknown", "silence": "nothing arrives"}, "nothing arrives"),
        ({}, {"captured": NOW - timedelta(seconds=1)}, "no prediction of a new frame"),
    ],
)
def test_the_health_gate_says_what_is_missing(
    unit: dict[str, str], broker: dict[str, object], expected: str
) -> None:
    gate = load(ROLE / "files" / "health_gate.py")
    said = gate.missing(GOOD_UNIT | unit, SimpleNamespace(**(GOOD_BROKER | broker)), since=NOW)
    assert said.startswith(expected)
    assert bool(said) == bool(expected)


@pytest.mark.parametrize(
    ("reported_before_s", "runs_for_s", "is_well"),
    [
        (20.0, 1000.0, True),
        (200.0, 1000.0, False),
        (20.0, 10.0, False),
    ],
    ids=["of late", "long ago", "by the process before"],
)
def test_a_device_that_is_paused_is_well(
    reported_before_s: float, runs_for_s: float, is_well: bool
) -> None:
    started_s = time.monotonic() - runs_for_s
    unit = GOOD_UNIT | {"ExecMainStartTimestampMonotonic": str(round(started_s * 1e6))}
    broker = GOOD_BROKER | {
        "captured": NOW - timedelta(days=1),
        "paused": True,
        "reported": datetime.now(UTC) - timedelta(seconds=reported_before_s),
        "report_lasts_s": 45.0,
    }
    gate = load(ROLE / "files" / "health_gate.py")
    said = gate.missing(unit, SimpleNamespace(**broker), since=NOW)
    assert said == ("" if is_well else "no prediction of a new frame has arrived")


def ask_until(expected: str, port: int) -> str:
    """Let the gate of the device "porch" listen to a broker until it says this."""
    config = Config(device=DeviceConfig(id="porch"), mqtt=MqttConfig(host="127.0.0.1", port=port))
    topics = publisher_settings(config).topics
    gate = load(ROLE / "files" / "health_gate.py")
    access = broker_access(config.mqtt, device=topics.device)
    broker = gate.Broker(access, topics, health_interval_s=30.0)
    unit = GOOD_UNIT | {"ExecMainStartTimestampMonotonic": "0"}
    deadline_s = time.monotonic() + PATIENCE_S
    said: str = ""
    while time.monotonic() < deadline_s:
        broker.step()
        said = gate.missing(unit, broker, since=datetime.now(UTC))
        if said.startswith(expected) if expected else not said:
            return said
    raise AssertionError(said)


def a_paused_device(port: int) -> None:
    """Leave at the broker what a device that is paused does."""
    health = {"timestamp": datetime.now(UTC).isoformat(), "paused": True}
    left = {"availability": "online", "health": json.dumps(health)}
    publish.multiple(
        [(f"edgeclassifier/porch/{name}", payload, 1, True) for name, payload in left.items()],
        hostname="127.0.0.1",
        port=port,
    )


@needs_mosquitto
@pytest.mark.parametrize(
    ("may", "expected"),
    [("readwrite", ""), ("write", "nothing arrives: ")],
)
def test_a_broker_that_tells_a_device_nothing_of_itself(
    may: str, expected: str, tmp_path: Path
) -> None:
    (rules := tmp_path / "rules").write_text(f"topic {may} edgeclassifier/porch/#\n")
    rules.chmod(0o600)
    with Mosquitto(tmp_path, lines=[f"acl_file {rules}"]) as mosquitto:
        a_paused_device(mosquitto.port)
        said = ask_until(expected, mosquitto.port)
    whom = "does not let a client without user name read edgeclassifier/porch/#, which it has to"
    assert said.endswith(whom if expected else "")


@needs_mosquitto
@pytest.mark.skipif(not PLUGINS, reason="needs mosquitto's plugin for dynamic security")
def test_a_broker_that_refuses_what_a_device_subscribes_to(tmp_path: Path) -> None:
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False}
    (rules := tmp_path / "rules.json").write_text(json.dumps({"defaultACLAccess": access}))
    rules.chmod(0o600)
    lines = [f"plugin {PLUGINS[0]}", f"plugin_opt_config_file {rules}"]
    with Mosquitto(tmp_path, lines=lines) as mosquitto:
        said = ask_until("the broker does not let ", mosquitto.port)
    assert said.endswith("which it has to (Not authorized)")


FAILED_UNIT = GOOD_UNIT | {"ActiveState": "failed", "Result": "exit-code", "InvocationID": "a"}
ENDED_UNIT = GOOD_UNIT | {
    "ActiveState": "activating",
    "SubState": "auto-restart",
    "ExecMainStatus": "3",
    "InvocationID": "a",
}
STARTING_UNIT = GOOD_UNIT | {"ActiveState": "activating", "InvocationID": "a"}


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([FAILED_UNIT], "systemd will not start it again"),
        (
            [ENDED_UNIT, *(STARTING_UNIT | {"NRestarts": str(number)} for number in range(4))],
            "(auto-restart, result success, exit code 3, 0 restarts); it ends each time",
        ),
        # What was counted before the start does not matter.
        (
            [STARTING_UNIT | {"NRestarts": number} for number in ("7", "0", "1")],
            "s after the start",
        ),
    ],
)
def test_the_health_gate_does_not_wait_for_what_has_failed_for_good(
    units: list[dict[str, str]], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = load(ROLE / "files" / "health_gate.py")
    seen = chain(units, repeat(units[-1]))
    monkeypatch.setattr(gate, "unit_state", lambda: next(seen))
    monkeypatch.setattr(gate, "_STARTING_S", 0.0)
    broker = SimpleNamespace(step=lambda: None, **GOOD_BROKER)
    deadline_s = 0.2 if expected.startswith("s after") else 60.0
    said = gate.watch(broker, deadline_s=deadline_s, settle_s=0.0)
    assert said.endswith(expected)
