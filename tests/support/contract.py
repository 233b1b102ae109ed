"""The MQTT contract, as a subscriber checks what it gets."""

import json
from typing import Any

from jsonschema import Draft202012Validator

from edgeclassifier.contract.payloads import (
    SCHEMA_FILE,
)

SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())


def problems(definition: str, payload: object) -> list[str]:
    """List what the contract has against a payload."""
    schema = {**SCHEMA, "$ref": f"#/$defs/{definition}"}
    return [each.message for each in Draft202012Validator(schema).iter_errors(payload)]
