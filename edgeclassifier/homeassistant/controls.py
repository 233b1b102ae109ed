"""The entities that do something: each sends a command of the device."""

from collections.abc import Collection, Sequence

from edgeclassifier.contract.payloads import Topics
from edgeclassifier.homeassistant.readings import Entity

COMPILED = "_edgetpu"
"""How the name of a model ends that is compiled for an Edge TPU; the rest is that of its twin."""


def controls(
    topics: Topics,
    *,
    models: Sequence[str],
    threshold_range: tuple[float, float],
    allowed: Collection[str],
) -> dict[str, Entity]:
    """Return the controls; one whose commands are not all `allowed` is left with its platform."""
    possible = {
        "classifying": (_classifying(topics), ("pause", "resume")),
        "threshold": (_threshold(topics, *threshold_range), ("set_threshold",)),
        "model": (_model(topics, models), ("set_model",)),
        "restart": (_restart(topics), ("restart",)),
    }
    return {
        key: entity if set(needs) <= set(allowed) else {"platform": entity["platform"]}
        for key, (entity, needs) in possible.items()
    }


def _classifying(topics: Topics) -> Entity:
    return {
        "platform": "switch",
        "name": "Classifying",
        "icon": "mdi:eye",
        "state_topic": topics.health,
        "value_template": "{{ 'OFF' if value_json.paused else 'ON' }}",
        # A switch has one topic for both.
        "command_topic": _request(topics, "pause"),
        "command_template": "{{ {'paused': value == 'OFF'} | to_json }}",
    }


def _threshold(topics: Topics, least: float, greatest: float) -> Entity:
    return {
        "platform": "number",
        "name": "Threshold",
        "icon": "mdi:tune",
        "entity_category": "config",
        "min": least,
        "max": greatest,
        "step": 0.01,
        "mode": "box",
        "state_topic": topics.info,
        "value_template": "{{ value_json.config.state.threshold }}",
        "command_topic": _request(topics, "set_threshold"),
        "command_template": "{{ {'threshold': value} | to_json }}",
    }


def _model(topics: Topics, models: Sequence[str]) -> Entity:
    return {
        "platform": "select",
        "name": "Model",
        "icon": "mdi:brain",
        "entity_category": "config",
        "options": list(models),
        "state_topic": topics.info,
        # The model on an Edge TPU is another file, which nobody chooses. What is not among the
        # options, such as a file that was configured for an accelerator, changes nothing.
        "value_template": (
            f"{{% set name = value_json.model.name | replace('{COMPILED}', '') %}}"
            "{{ name if name in value_json.models else '' }}"
        ),
        "command_topic": _request(topics, "set_model"),
        "command_template": "{{ {'model': value} | to_json }}",
    }


def _restart(topics: Topics) -> Entity:
    return {
        "platform": "button",
        "name": "Restart",
        "entity_category": "config",
        "device_class": "restart",
        "command_topic": _request(topics, "restart"),
        "payload_press": "{}",
    }


def _request(topics: Topics, command: str) -> str:
    return f"{topics.base}/request/{command}"
