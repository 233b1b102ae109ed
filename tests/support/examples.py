"""What the tests of the examples share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgeclassifier.contract.messages import timestamp
from support.brokers import (
    PATIENCE_S,
    Mosquitto,
)
from support.contract import problems
from support.daemon import REPOSITORY
from support.device import Site

EXAMPLES = REPOSITORY / "deploy" / "examples"


def unhurried(folder: Path, broker: Mosquitto) -> Site:
    """Return a device whose camera does not fail because this machine is busy."""
    site = Site(folder=folder, port=broker.port)
    site.settings["camera"]["deadline_s"] = PATIENCE_S
    return site


def event(seq: int, **changes: object) -> dict[str, Any]:
    payload = {
        "schema": 1,
        "timestamp": timestamp(datetime.now(UTC)),
        "clock_synchronized": True,
        "boot_id": "0f" * 16,
        "seq": seq,
        "camera": "cam0",
        "name": "junco",
        "label": "junco, snowbird",
        "class_id": 13,
        "score": 0.75,
        "predictions": [],
        "event_type": "label_changed",
        "previous_name": None,
        "previous_label": None,
        **changes,
    }
    assert problems("event", payload) == []
    return payload
