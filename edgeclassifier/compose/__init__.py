"""Builds the parts from the configuration. Only this package knows both."""

from edgeclassifier.compose.broker import (
    broker_access,
    build_session,
    device_id,
    probe_broker,
)
from edgeclassifier.compose.camera import build_camera
from edgeclassifier.compose.engine import Engine, around_interpreter_nice, build_engine
from edgeclassifier.compose.model import (
    BUNDLED_MODEL,
    PREFERRED_MODEL,
    ModelFile,
    find_model,
    model_store,
)

__all__ = [
    "BUNDLED_MODEL",
    "PREFERRED_MODEL",
    "Engine",
    "ModelFile",
    "around_interpreter_nice",
    "broker_access",
    "build_camera",
    "build_engine",
    "build_session",
    "device_id",
    "find_model",
    "model_store",
    "probe_broker",
]
