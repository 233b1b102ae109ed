"""Replaying picture files."""

import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeclassifier.cameras import Camera
from edgeclassifier.cameras.camera import Pace
from edgeclassifier.cameras.replay import ReplayCamera
from edgeclassifier.errors import CameraError, CameraTimeout


def make_pictures(folder: Path, count: int) -> None:
    for index in range(count):
        Image.new("RGB", (4, 3), (index, 0, 0)).save(folder / f"{index:03}.png")


def replay(path: Path | str, *, loop: bool = False, rate_hz: float = 0) -> ReplayCamera:
    camera = ReplayCamera(camera_id="cam0", path=str(path), loop=loop, rate_hz=rate_hz)
    camera.open()
    return camera


def read_all(camera: Camera, most: int = 100) -> list[str]:
    origins: list[str] = []
    while len(origins) < most and (frame := camera.read(1)) is not None:
        origins.append(frame.origin)
    return origins


class Clock:
    """A monotonic clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


def test_a_folder_in_order_then_its_end(tmp_path: Path) -> None:
    make_pictures(tmp_path, 3)
    camera = replay(tmp_path)
    assert not camera.live
    frames = [camera.read(1) for _ in range(5)]
    assert [f and (f.origin, f.seq, f.camera, f.pixels[0, 0, 0]) for f in frames] == [
        ("000.png", 0, "cam0", 0),
        ("001.png", 1, "cam0", 1),
        ("002.png", 2, "cam0", 2),
        None,
        None,
    ]


def test_loop_goes_round(tmp_path: Path) -> None:
    make_pictures(tmp_path, 2)
    assert read_all(replay(tmp_path, loop=True), 5) == [
        "000.png", "001.png", "000.png", "001.png", "000.png",
    ]  # fmt: skip


def test_the_folder_is_listed_when_opened(tmp_path: Path) -> None:
    camera = ReplayCamera(camera_id="cam0", path=str(tmp_path), loop=False, rate_hz=0)
    with pytest.raises(CameraError, match="no picture found"):
        camera.open()
    make_pictures(tmp_path, 2)
    camera.open()
    assert len(read_all(camera)) == 2
    camera.close()
    camera.close()
    with pytest.raises(CameraError, match="not open"):
        camera.read(1)
    camera.open()
    assert len(read_all(camera)) == 2


def test_broken_pictures_are_named_and_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_pictures(tmp_path, 3)
    (tmp_path / "001.png").write_bytes(b"broken")
    camera = replay(tmp_path, loop=True)
    with caplog.at_level(logging.WARNING):
        assert read_all(camera, 5) == ["000.png", "002.png", "000.png", "002.png", "000.png"]
    assert camera.unreadable == 1
    assert [record.getMessage().count("001.png") for record in caplog.records] == [1]


def test_a_broken_last_picture_does_not_hide_the_end(tmp_path: Path) -> None:
    make_pictures(tmp_path, 2)
    (tmp_path / "001.png").write_bytes(b"broken")
    assert read_all(replay(tmp_path)) == ["000.png"]


@pytest.mark.parametrize("loop", [False, True])
def test_nothing_readable_is_an_error(tmp_path: Path, *, loop: bool) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"broken")
    camera = replay(tmp_path, loop=loop)
    for _ in range(2):
        with pytest.raises(CameraError, match="none of the pictures"):
            camera.read(1)
    assert camera.unreadable == 2


def test_a_small_loop_is_decoded_once_and_a_changed_file_again(tmp_path: Path) -> None:
    make_pictures(tmp_path, 1)
    path = tmp_path / "000.png"
    camera = replay(path, loop=True)
    first, second = camera.read(1), camera.read(1)
    assert first is not None
    assert second is not None
    assert first.pixels is second.pixels
    assert not first.pixels.flags.writeable
    Image.new("RGB", (4, 3), (99, 0, 0)).save(path)
    os.utime(path, (1, 1))
    third = camera.read(1)
    assert third is not None
    assert third.pixels[0, 0, 0] == 99


def test_a_large_loop_is_not_kept_in_memory(tmp_path: Path) -> None:
    make_pictures(tmp_path, 9)
    camera = replay(tmp_path, loop=True)
    frames = [camera.read(1) for _ in range(10)]
    assert frames[0] is not None
    assert frames[9] is not None
    assert frames[0].origin == frames[9].origin
    assert frames[0].pixels is not frames[9].pixels


def test_pacing_does_not_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pictures(tmp_path, 2)
    clock = Clock(monkeypatch)
    camera = replay(tmp_path, loop=True, rate_hz=10)
    times = []
    for _ in range(11):
        frame = camera.read(1)
        assert frame is not None
        times.append(frame.monotonic_s)
        clock.sleep(0.03)
    np.testing.assert_allclose(np.diff(times), 0.1)


def test_no_burst_after_a_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pictures(tmp_path, 2)
    clock = Clock(monkeypatch)
    camera = replay(tmp_path, loop=True, rate_hz=10)
    camera.read(1)
    clock.sleep(5)
    frames = [camera.read(1) for _ in range(3)]
    times = [frame.monotonic_s for frame in frames if frame]
    np.testing.assert_allclose(times, [1005, 1005.1, 1005.2])


def test_a_rate_slower_than_the_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reads that time out add up to the wait: the picture comes when it is due."""
    make_pictures(tmp_path, 2)
    clock = Clock(monkeypatch)
    camera = replay(tmp_path, rate_hz=0.4)
    assert camera.read(1) is not None
    for _ in range(2):
        with pytest.raises(CameraTimeout):
            camera.read(1)
    assert camera.read(1) is not None
    assert clock.now == pytest.approx(1002.5)
    assert camera.read(1) is None
    assert clock.now == pytest.approx(1002.5)


def test_contradictions_are_rejected() -> None:
    with pytest.raises(ValueError, match="rate_hz"):
        Pace(rate_hz=-1)
