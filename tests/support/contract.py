"""The MQTT contract, as a subscriber checks what it gets."""

import json
from typing import Any

from jsonschema import Draft202012Validator

from edgeclassifier.contract.messages import (
    SCHEMA_FILE,
)

SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())


PAYLOADS = (
    *("prediction", "state", "event", "info", "health", "classification", "snapshot"),
    *("kept", "kept_picture"),
)


def _strict(schema: Any) -> Any:
    """Let no object have a field that the contract does not describe."""
    if not isinstance(schema, dict):
        return schema
    strict = dict(schema)
    for key in ("properties", "$defs"):
        if key in schema:
            strict[key] = {name: _strict(each) for name, each in schema[key].items()}
    if "items" in schema:
        strict["items"] = _strict(schema["items"])
    described = {"properties", "allOf", "$ref"} & schema.keys()
    if described and "additionalProperties" not in schema:
        strict["unevaluatedProperties"] = False
    return strict


_DEFINITIONS = {
    name: {**definition, "properties": _strict(definition).get("properties", {})}
    if "properties" in definition
    else definition
    for name, definition in SCHEMA["$defs"].items()
}
"""Each with strict fields, and open itself: others build on it."""


def problems(definition: str, payload: object) -> list[str]:
    """List what the contract has against a payload, and what of it the contract does not know."""
    schema: dict[str, Any] = {"$defs": _DEFINITIONS, "$ref": f"#/$defs/{definition}"}
    if definition in PAYLOADS:
        schema["unevaluatedProperties"] = False
    return [each.message for each in Draft202012Validator(schema).iter_errors(payload)]


def refusals(definition: str, payload: object) -> list[str]:
    """List what a reader has against a payload, who takes no notice of fields it does not know."""
    schema = {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{definition}"}
    return [each.message for each in Draft202012Validator(schema).iter_errors(payload)]
