"""The document that Home Assistant gets."""

import json
from typing import Any

from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.messages import Message, Topics
from edgeclassifier.homeassistant import ViewEntities, discovery_message

TOPICS = Topics(root="edgeclassifier", device="porch", camera="cam0")


def message(**changes: Any) -> Message:
    arguments = {
        "topics": TOPICS,
        "prefix": "homeassistant",
        "version": "1.2.3",
        "models": ["small", "large"],
        "health_interval_s": 30.0,
        "controls": COMMANDS,
        "image_enabled": True,
    }
    topics = changes.get("topics", TOPICS)
    heartbeat_s = changes.pop("heartbeat_s", 60.0)
    threshold_range = changes.pop("threshold_range", (0.2, 1.0))
    arguments["views"] = [
        ViewEntities(topics=topics, heartbeat_s=heartbeat_s, threshold_range=threshold_range)
    ]
    return discovery_message(**{**arguments, **changes})


def components(**changes: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(message(**changes).payload)["components"]
    return found
