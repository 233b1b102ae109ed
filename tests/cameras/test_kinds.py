"""Each kind of camera that the configuration knows can be built from its section."""

import dataclasses
import typing

import pytest

from edgeclassifier.compose.camera import build_camera
from edgeclassifier.config import CameraConfig
from edgeclassifier.config.schema import StreamConfig

HINTS = typing.get_type_hints(CameraConfig)
KINDS = [name for name, hint in HINTS.items() if dataclasses.is_dataclass(hint)]


@pytest.mark.parametrize("source", KINDS)
def test_a_kind_takes_the_keys_of_its_section(source: str) -> None:
    [accepts] = CameraConfig.__dataclass_fields__["source"].metadata["checks"]
    assert accepts(source) is None
    config = CameraConfig(source=source, stream=StreamConfig(url="/dev/video0"))
    camera = build_camera(config)
    assert camera.live == (source != "replay")
    assert camera.unreadable == 0
