"""The device in Home Assistant, by MQTT discovery."""

from edgeclassifier.homeassistant.announcer import Announcer, birth_topic
from edgeclassifier.homeassistant.controls import COMPILED
from edgeclassifier.homeassistant.document import discovery_message, removal_message

__all__ = ["COMPILED", "Announcer", "birth_topic", "discovery_message", "removal_message"]
