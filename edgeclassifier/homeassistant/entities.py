"""The entities of the device. Templates are Jinja, rendered by Home Assistant."""

import math
from collections.abc import Collection, Sequence
from typing import Any

from edgeclassifier.contract.messages import Topics
from edgeclassifier.homeassistant import templates

Entity = dict[str, Any]
"""What Home Assistant calls a component: its platform and that platform's options."""

COMPILED = "_edgetpu"
"""Suffix of the name of a model that is compiled for an Edge TPU; the rest names its CPU twin."""
_GRACE_S = 5
_LONGEST_STATE = 255
"""Home Assistant refuses states of more characters."""


def labels(topics: Topics, *, heartbeat_s: float, pictured: bool) -> dict[str, Entity]:
    """Return the stable label, its score, how often it was seen, and the event of its change."""
    state = {
        "platform": "sensor",
        "state_topic": topics.state,
        "expire_after": _expire_after(heartbeat_s),
    }
    return {
        "label": {
            **state,
            "name": "Label",
            "icon": "mdi:tag",
            "value_template": f"{{{{ value_json.name[:{_LONGEST_STATE}] }}}}",
            "json_attributes_topic": topics.state,
            "json_attributes_template": templates.fields("label", "predictions"),
        },
        "score": {
            **state,
            "name": "Score",
            "icon": "mdi:gauge",
            "value_template": "{{ value_json.score }}",
            "state_class": "measurement",
            "suggested_display_precision": 2,
        },
        "seen_today": {
            **state,
            "name": "Seen today",
            "icon": "mdi:counter",
            "value_template": templates.seen("today"),
            "state_class": "measurement",
        },
        "last_seen": {
            **state,
            "name": "Seen before",
            "device_class": "timestamp",
            "value_template": templates.seen("last"),
        },
        "first_today": {
            **state,
            "platform": "binary_sensor",
            "name": "First today",
            "icon": "mdi:weather-sunset-up",
            "value_template": templates.is_seen("first_today"),
        },
        "first_ever": {
            **state,
            "platform": "binary_sensor",
            "name": "First ever",
            "icon": "mdi:star",
            "value_template": templates.is_seen("first_ever"),
        },
        "label_changed": {
            "platform": "event",
            "name": "Label changed",
            "icon": "mdi:tag-multiple",
            "state_topic": topics.event,
            "event_types": ["label_changed"],
            "value_template": templates.fields(
                "event_type",
                "name",
                "previous_name",
                "label",
                "previous_label",
                "score",
                "seen",
                "timestamp",
                "clock_synchronized",
                optional=("picture", "picture_missing", "boot_id", "seq") if pictured else (),
            ),
        },
    }


def image(topics: Topics) -> Entity:
    """Return the classified crop."""
    return {
        "platform": "image",
        "name": "Image",
        "image_topic": topics.image,
        "content_type": "image/jpeg",
    }


def diagnostics(topics: Topics, *, interval_s: float) -> dict[str, Entity]:
    """Return the diagnostics of the device."""
    diagnostic = {
        "state_topic": topics.health,
        "expire_after": _expire_after(interval_s),
        "entity_category": "diagnostic",
    }
    number = {"platform": "sensor", **diagnostic, "state_class": "measurement"}
    problem = {
        "platform": "binary_sensor",
        **diagnostic,
        "device_class": "problem",
        "json_attributes_topic": topics.health,
    }
    return {
        "inference_time": {
            **number,
            "name": "Inference time",
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "suggested_display_precision": 1,
            # There are no latencies before the first frame.
            "value_template": "{{ value_json.latency_ms.get('inference', {}).get('p50') }}",
        },
        "frame_rate": {
            **number,
            "name": "Frame rate",
            "icon": "mdi:speedometer",
            "unit_of_measurement": "fps",
            "suggested_display_precision": 1,
            "value_template": "{{ value_json.fps }}",
        },
        "cpu_temperature": {
            **number,
            "name": "CPU temperature",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "suggested_display_precision": 0,
            "value_template": "{{ value_json.cpu_temperature_c }}",
        },
        "backend": {
            "platform": "sensor",
            **diagnostic,
            "name": "Backend",
            "icon": "mdi:chip",
            "value_template": "{{ value_json.backend }}",
            "json_attributes_topic": topics.health,
            "json_attributes_template": templates.fields("degraded", "degraded_reason"),
        },
        "buffer": {
            **number,
            "name": "Buffer",
            "icon": "mdi:tray-full",
            "unit_of_measurement": "messages",
            "value_template": "{{ value_json.buffer.pending }}",
        },
        "camera_problem": {
            **problem,
            "name": "Camera",
            "value_template": "{{ 'ON' if value_json.camera.problem else 'OFF' }}",
            "json_attributes_template": templates.part("camera", "problem", "recoveries"),
        },
        "accelerator_problem": {
            **problem,
            "name": "Accelerator",
            # null if none is configured, which is no problem.
            "value_template": (
                "{{ 'ON' if (value_json.accelerator or {}).get('fault') else 'OFF' }}"
            ),
            "json_attributes_template": templates.part(
                "accelerator", "reason", "failures", "returns"
            ),
        },
    }


def controls(topics: Topics, *, allowed: Collection[str]) -> dict[str, Entity]:
    """Return the controls of the device, which send commands of the device.

    One whose commands are not all `allowed` is left with its platform only.
    """
    possible = {
        "classifying": (_classifying(topics), ("pause", "resume")),
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
        # A switch has one command topic for both states.
        "command_topic": _request(topics, "pause"),
        "command_template": "{{ {'paused': value == 'OFF'} | to_json }}",
    }


def threshold(topics: Topics, least: float, greatest: float) -> Entity:
    """Return the threshold of a view, from the least to the greatest that may be set."""
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
        "value_template": f"{_of_view(topics)}{{{{ view.threshold }}}}"
        if topics.view
        else "{{ value_json.config.state.threshold }}",
        "command_topic": _request(topics, "set_threshold"),
        "command_template": _command(topics, "threshold"),
    }


def model(topics: Topics, models: Sequence[str]) -> Entity:
    """Return the model of a view, which is one of `models`."""
    return {
        "platform": "select",
        "name": "Model",
        "icon": "mdi:brain",
        "entity_category": "config",
        "options": list(models),
        "state_topic": topics.info,
        # The model on an Edge TPU is another file, which is none of the options. A name that is
        # none of them changes nothing.
        "value_template": (
            f"{_of_view(topics)}"
            f"{{% set name = {_model_of(topics)} | replace('{COMPILED}', '') %}}"
            "{{ name if name in value_json.models else '' }}"
        ),
        "command_topic": _request(topics, "set_model"),
        "command_template": _command(topics, "model"),
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


def _of_view(topics: Topics) -> str:
    """Find what info says of a view; nothing is found of the camera's only one."""
    if not topics.view:
        return ""
    return (
        f"{{% set view = value_json.views | selectattr('view', 'eq', '{topics.view}') | first %}}"
    )


def _model_of(topics: Topics) -> str:
    # null if no model works.
    return "(view.model or '')" if topics.view else "value_json.model.name"


def _command(topics: Topics, argument: str) -> str:
    view = f", 'view': '{topics.view}'" if topics.view else ""
    return f"{{{{ {{'{argument}': value{view}}} | to_json }}}}"


def _expire_after(interval_s: float) -> int:
    """Return after how many whole seconds two messages must have been missed."""
    return math.ceil(2 * interval_s) + _GRACE_S
