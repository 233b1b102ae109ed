"""The health gate: which devices it lets pass, and what it says of the others."""

from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from types import SimpleNamespace

import pytest
from deployment import ROLE, load

NOW = datetime(2026, 1, 2, tzinfo=UTC)

GOOD_UNIT = {
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "ExecMainStatus": "0",
    "NRestarts": "0",
}
GOOD_BROKER = {"problem": "", "availability": "online", "captured": NOW}


@pytest.mark.parametrize(
    ("unit", "broker", "expected"),
    [
        ({}, {}, ""),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, {}, "the unit is activating"),
        ({}, {"problem": "no route"}, "no route"),
        ({}, {"availability": "offline"}, "availability is offline"),
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
