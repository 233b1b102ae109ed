"""The one message that tells Home Assistant all entities of the device, and where each is found.

Home Assistant leaves an entity as it is when a later message does not mention it, and removes it
when nothing but its platform is left of it: so every entity is mentioned in every message.
"""

import re
from collections.abc import Collection, Sequence

from edgeclassifier.contract.message import Message
from edgeclassifier.contract.payloads import JSON, Topics, encode
from edgeclassifier.homeassistant.controls import controls as control_entities
from edgeclassifier.homeassistant.readings import diagnostics, image, labels

_NAME = "edgeclassifier"


def discovery_message(
    *,
    topics: Topics,
    prefix: str,
    version: str,
    models: Sequence[str],
    threshold_range: tuple[float, float],
    heartbeat_s: float,
    health_interval_s: float,
    controls: Collection[str],
    image_enabled: bool,
) -> Message:
    """Describe the device.

    `models` may be chosen from, `threshold_range` are the least and the greatest threshold that
    may be set. State is published every `heartbeat_s`, health every `health_interval_s`; what
    missed two of them is unavailable. `controls` are the commands that the device takes: each
    control needs its own.
    """
    device = _object_id(topics)
    entities = {
        **labels(topics, heartbeat_s=heartbeat_s),
        "image": image(topics) if image_enabled else {"platform": "image"},
        **diagnostics(topics, interval_s=health_interval_s),
        **control_entities(
            topics,
            models=models,
            threshold_range=threshold_range,
            allowed=controls,
        ),
    }
    for key, entity in entities.items():
        if len(entity) > 1:
            entity |= {"unique_id": f"{device}_{key}", "qos": 1}
    document = {
        "device": {
            "identifiers": [device],
            "name": topics.device,
            "manufacturer": _NAME,
            "model": "image classifier",
            "sw_version": version,
        },
        "origin": {"name": _NAME, "sw_version": version},
        "availability_topic": topics.availability,
        "components": entities,
    }
    return Message(
        topic=_topic(topics, prefix), payload=encode(document), retain=True, content_type=JSON
    )


def removal_message(*, topics: Topics, prefix: str) -> Message:
    """Take the device out of Home Assistant, with all its entities."""
    return Message(topic=_topic(topics, prefix), payload=b"", retain=True)


def _topic(topics: Topics, prefix: str) -> str:
    return f"{prefix}/device/{_object_id(topics)}/config"


def _object_id(topics: Topics) -> str:
    """Name the device in the characters that Home Assistant allows, the same at every start."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", f"{topics.root}-{topics.device}")
