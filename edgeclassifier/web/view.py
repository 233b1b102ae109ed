"""What the page shows, as plain data for JSON."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from edgeclassifier.contract.results import Result, State
from edgeclassifier.web.device import Box


def shown_result(result: Result, crop: Box) -> dict[str, Any]:
    """Describe a result, and where on the frame the `crop` was."""
    height, width = result.frame.pixels.shape[:2]
    latency = result.latency
    return {
        "origin": result.frame.origin,
        "timestamp": result.frame.utc.isoformat(timespec="milliseconds"),
        "at_s": round(result.frame.monotonic_s, 3),
        "size": [width, height],
        "crop": fractions(crop, width=width, height=height),
        "model": result.model.name,
        "backend": result.backend.name,
        "degraded_reason": result.backend.reason if result.backend.degraded else None,
        "repeated": result.repeated,
        "answer_age_s": round(result.answer_age_s, 1),
        "latency_ms": {
            "inference": round(latency.inference_s * 1000, 2),
            "total": round(latency.total_s * 1000, 2),
        },
        "predictions": [
            {"rank": each.rank, "label": each.label, "score": round(each.score, 5)}
            for each in result.predictions
        ],
    }


def fractions(box: Box, *, width: int, height: int) -> list[float]:
    """Return a box in fractions of the frame."""
    x, y, box_width, box_height = box
    shares = (x / width, y / height, box_width / width, box_height / height)
    return [round(share, 5) for share in shares]


def shown_changes(changes: Sequence[State]) -> list[dict[str, Any]]:
    """Describe the changes of the label, the newest first.

    Their times are ages: the clock of the visitor knows what time it is, a Pi's may not.
    """
    now_s = time.monotonic()
    return [
        {
            "label": each.label,
            "known": each.class_id is not None,
            "score": round(each.score, 5),
            "age_s": round(now_s - each.since_s, 1),
        }
        for each in reversed(changes)
    ]


def shown_status(info: Mapping[str, Any], health: Mapping[str, Any]) -> dict[str, Any]:
    """Pick from the payloads of info and health what the page shows.

    What is absent is None: the page leaves it out.
    """
    model, mqtt, buffer = _table(info, "model"), _table(health, "mqtt"), _table(health, "buffer")
    camera, throttling = _table(health, "camera"), _table(health, "throttling")
    config = _table(info, "config")
    return {
        "device": info.get("device"),
        "version": info.get("version"),
        "runtime": info.get("runtime"),
        "model": model.get("name"),
        "models": list(info.get("models") or ()),
        "threshold": _table(config, "state").get("threshold"),
        "broker": _table(config, "mqtt").get("host"),
        "connected": mqtt.get("connected"),
        "mqtt_problem": mqtt.get("last_error"),
        "waiting": buffer.get("pending"),
        "paused": bool(health.get("paused")),
        "camera": camera.get("state"),
        "camera_problem": camera.get("problem"),
        "view": camera.get("view"),
        "backend": health.get("backend"),
        "degraded_reason": health.get("degraded_reason") if health.get("degraded") else None,
        "temperature_c": health.get("cpu_temperature_c"),
        "throttling": list(throttling.get("now") or ()),
        "uptime_s": health.get("uptime_s"),
    }


def _table(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, Mapping) else {}
