"""Frames from memory, for measuring everything but the camera, and who has the cores then."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
from support.tiny_models import LABELS, classifier

from edgeclassifier.bench.rig import MemoryCamera, Rig
from edgeclassifier.cameras import Camera
from edgeclassifier.compose.engine import build_engine
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.contract.frame import Frame
from edgeclassifier.host.localbroker import any_broker
from edgeclassifier.host.priority import LOWEST

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


class WatchingCamera(MemoryCamera):
    """Notes the niceness of all threads."""

    def __init__(self) -> None:
        super().__init__(frames=FRAMES)
        self.seen: set[tuple[str, int]] = set()

    def read(self, timeout_s: float) -> Frame | None:
        for name, native_id in [(each.name, each.native_id) for each in threading.enumerate()]:
            if native_id is None:
                continue
            with suppress(ProcessLookupError):  # it may just have ended
                self.seen.add((name, os.getpriority(os.PRIO_PROCESS, native_id)))
        return super().read(timeout_s)


def test_everything_makes_way_for_an_interpreter_that_has_all_cores(tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(classifier("uint8", scale=1 / 256))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    model = ModelConfig(
        name=str(tmp_path / "tiny.tflite"),
        labels=str(tmp_path / "labels.txt"),
        threads=len(os.sched_getaffinity(0)),
    )
    config, camera = Config(model=model), WatchingCamera()
    usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with any_broker() as broker, Rig(config, build_engine(config), broker) as rig:
        assert rig.pipeline_hz(camera, 0.2, []) > 0
        rig.drain()
    assert {nice for name, nice in camera.seen if name == "inference"} == {usual}
    assert ("capture", LOWEST) in camera.seen
