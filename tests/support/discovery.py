"""The document that Home Assistant gets."""

import json
from typing import Any

from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.messages import Message, Topics
from edgeclassifier.homeassistant import (
    discovery_message,
)

TOPICS = Topics(root="edgeclassifier", device="porch", camera="cam0")


def message(**changes: Any) -> Message:
    arguments = {
        "topics": TOPICS,
        "prefix": "homeassistant",
        "version": "1.2.3",
        "models": ["small", "large"],
        "threshold_range": (0.2, 1.0),
        "heartbeat_s": 60.0,
        "health_interval_s": 30.0,
        "controls": COMMANDS,
        "image_enabled": True,
    }
    return discovery_message(**{**arguments, **changes})


def components(**changes: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(message(**changes).payload)["components"]
    return found
