"""The device in Home Assistant, by MQTT discovery."""

from edgeclassifier.homeassistant.discovery import (
    Announcer,
    ViewEntities,
    birth_topic,
    discovery_message,
    removal_message,
)
from edgeclassifier.homeassistant.entities import COMPILED

__all__ = [
    "COMPILED",
    "Announcer",
    "ViewEntities",
    "birth_topic",
    "discovery_message",
    "removal_message",
]
