"""Runs in Home Assistant's environment: its own schemas, strictly, on a document from stdin.

Home Assistant itself drops options of discovery messages that it does not know, without a word.
"""

import asyncio
import importlib
import json
import sys
import tempfile
from typing import Any


async def problems(document: dict[str, Any]) -> list[str]:
    """Return what the schemas refuse."""
    # Elsewhere these do not exist, and the name of Home Assistant's package is this folder's.
    core = importlib.import_module("homeassistant.core")
    invalid = importlib.import_module("voluptuous").Invalid
    schemas = importlib.import_module("homeassistant.components.mqtt.schemas")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        # Templates cannot be parsed without one.
        hass = core.HomeAssistant(folder)
        try:
            schemas.DEVICE_DISCOVERY_SCHEMA(document)
        except invalid as error:
            found.append(f"the document: {error}")
        for key, entity in document["components"].items():
            platform = entity.pop("platform")
            module = importlib.import_module(f"homeassistant.components.mqtt.{platform}")
            try:
                if entity:
                    module.PLATFORM_SCHEMA_MODERN(entity)
            except invalid as error:
                found.append(f"{key}: {error}")
        await hass.async_stop(force=True)
    return found


if __name__ == "__main__":
    json.dump(asyncio.run(problems(json.load(sys.stdin))), sys.stdout)
