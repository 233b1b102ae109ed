"""The entities that only show something. Templates are Jinja, rendered by Home Assistant."""

import math
from typing import Any

from edgeclassifier.contract.payloads import Topics

Entity = dict[str, Any]
"""What Home Assistant calls a component: its platform and that platform's options."""

_GRACE_S = 5
_LONGEST_STATE = 255
"""Home Assistant refuses states of more characters."""


def labels(topics: Topics, *, heartbeat_s: float) -> dict[str, Entity]:
    """Return the stable label, its score, and the event of its change."""
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
            "value_template": f"{{{{ value_json.label[:{_LONGEST_STATE}] }}}}",
            "json_attributes_topic": topics.state,
            "json_attributes_template": _fields("predictions"),
        },
        "score": {
            **state,
            "name": "Score",
            "icon": "mdi:gauge",
            "value_template": "{{ value_json.score }}",
            "state_class": "measurement",
            "suggested_display_precision": 2,
        },
        "label_changed": {
            "platform": "event",
            "name": "Label changed",
            "icon": "mdi:tag-multiple",
            "state_topic": topics.event,
            "event_types": ["label_changed"],
            "value_template": _fields(
                "event_type",
                "label",
                "previous_label",
                "score",
                "timestamp",
                "clock_synchronized",
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
    """Return how the device is."""
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
            "json_attributes_template": _fields("degraded", "degraded_reason"),
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
            "json_attributes_template": _part("camera", "problem", "recoveries"),
        },
        "accelerator_problem": {
            **problem,
            "name": "Accelerator",
            # null where none is configured, which is no problem.
            "value_template": (
                "{{ 'ON' if (value_json.accelerator or {}).get('fault') else 'OFF' }}"
            ),
            "json_attributes_template": _part("accelerator", "reason", "failures", "returns"),
        },
    }


def _expire_after(interval_s: float) -> int:
    """Return the whole seconds after which two messages must have been missed."""
    return math.ceil(2 * interval_s) + _GRACE_S


def _fields(*names: str) -> str:
    """Render an object with some fields of the payload."""
    fields = ", ".join(f"'{name}': value_json.{name}" for name in names)
    return f"{{{{ {{{fields}}} | to_json }}}}"


def _part(part: str, *names: str) -> str:
    """Render an object with some fields of a part of the payload, an empty one where it is null.

    Its field "state" is called condition, because no attribute may have that name.
    """
    fields = ", ".join(f"'{name}': part.{name}" for name in names)
    return (
        f"{{% set part = value_json.{part} %}}"
        f"{{{{ ({{'condition': part.state, {fields}}} if part else {{}}) | to_json }}}}"
    )
