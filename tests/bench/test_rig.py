"""Frames from memory, for measuring everything but the camera."""

import numpy as np

from edgeclassifier.bench.rig import MemoryCamera
from edgeclassifier.cameras import Camera

FRAMES = [np.full((2, 2, 3), value, np.uint8) for value in (7, 8)]


def test_memory_gives_so_many_frames() -> None:
    camera: Camera = MemoryCamera(frames=FRAMES, count=3)
    camera.open()
    values = []
    while (frame := camera.read(0)) is not None:
        values.append((frame.seq, int(frame.pixels[0, 0, 0])))
    assert values == [(0, 7), (1, 8), (2, 7)]
    assert camera.read(0) is None
    camera.close()
    assert not camera.live
    assert camera.unreadable == 0


def test_memory_without_end() -> None:
    camera = MemoryCamera(frames=FRAMES)
    camera.open()
    assert all(camera.read(0) is not None for _ in range(50))
