"""PiCamera against a stand-in for picamera2, with the interface and habits of the real one."""

import atexit
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.picamera2 import FULL, IMX219_MODES, FakePicamera2, install

from edgeclassifier.cameras import Camera
from edgeclassifier.cameras.picamera import PiCamera
from edgeclassifier.errors import CameraError, CameraTimeout


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    """An imx219 behind the image processor, where a test does not say otherwise."""
    return install(monkeypatch)


def make(index: int = 0, frame_rate_hz: float = 10) -> PiCamera:
    return PiCamera(camera_id="cam0", index=index, frame_rate_hz=frame_rate_hz)


@pytest.fixture
def opened() -> Iterator[Callable[[], tuple[PiCamera, FakePicamera2]]]:
    cameras: list[PiCamera] = []

    def open_() -> tuple[PiCamera, FakePicamera2]:
        camera = make()
        camera.open()
        cameras.append(camera)
        return camera, FakePicamera2.last

    yield open_
    for camera in cameras:
        camera.close()


Opened = Callable[[], tuple[PiCamera, FakePicamera2]]


def test_full_view_is_configured_before_the_crop_is_set(opened: Opened) -> None:
    _, fake = opened()
    assert fake.calls == ["sensor_modes", "configure", "set_controls", "start"]
    assert fake.config["main"] == {"size": (320, 320), "format": "BGR888"}
    assert fake.config["raw"] is None
    assert fake.config["sensor"] == {"output_size": (1640, 1232), "bit_depth": 10}
    assert fake.set == {
        "FrameDurationLimits": (100000, 100000),
        "ScalerCrop": (408, 0, 2464, 2464),
    }


@pytest.mark.parametrize(
    ("modes", "sensor"),
    [
        ([{"format": "RGGB16_ODD"}], {}),
        (
            [{"format": "RGGB16_ODD"}, IMX219_MODES[0]],
            {"output_size": (640, 480), "bit_depth": 10},
        ),
    ],
)
def test_modes_that_picamera2_knows_nothing_of(
    opened: Opened,
    fake: type[FakePicamera2],
    monkeypatch: pytest.MonkeyPatch,
    modes: list[dict[str, Any]],
    sensor: dict[str, Any],
) -> None:
    monkeypatch.setattr(fake, "modes", modes)
    _, camera = opened()
    assert camera.config["sensor"] == sensor


def test_the_crop_of_each_stream_is_set_too_where_there_is_one(
    opened: Opened, fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = fake.controls | {"ScalerCrops": ((0, 0, 1, 1), FULL, FULL)}
    monkeypatch.setattr(fake, "controls", controls)
    _, camera = opened()
    assert camera.set["ScalerCrops"] == [(408, 0, 2464, 2464)]


@pytest.mark.parametrize(("rate_hz", "size"), [(30, (1640, 1232)), (100, (1640, 1232))])
def test_the_view_counts_more_than_the_rate(rate_hz: float, size: tuple[int, int]) -> None:
    camera = make(frame_rate_hz=rate_hz)
    camera.open()
    assert FakePicamera2.last.config["sensor"]["output_size"] == size
    shortest = 23900
    assert FakePicamera2.last.set["FrameDurationLimits"][0] == max(round(1e6 / rate_hz), shortest)
    camera.close()


@pytest.mark.parametrize(("colour_range", "value"), [("Full", 100), ("Limited", 98), (None, 98)])
def test_a_usb_camera_with_its_own_format(
    opened: Opened,
    fake: type[FakePicamera2],
    monkeypatch: pytest.MonkeyPatch,
    colour_range: str | None,
    value: int,
) -> None:
    monkeypatch.setattr(fake, "properties", {})
    monkeypatch.setattr(fake, "controls", {})
    monkeypatch.setattr(fake, "adjusted", {"format": "YUYV", "size": (4, 2)})
    monkeypatch.setattr(fake, "colour_range", colour_range)
    camera, device = opened()
    assert "sensor_modes" not in device.calls
    assert device.config["sensor"] == {}
    assert device.set == {}
    array = np.full((2, 6, 2), 128, np.uint8)  # two padding pixels in each row
    array[:, :, 0] = 100
    device.frames = [array]
    frame = camera.read(1)
    assert frame is not None
    assert frame.pixels.tolist() == [[[value] * 3] * 4] * 2
    assert frame.origin == "picamera2:0"
    assert device.held == 0


def test_nv12_and_rgb_frames(
    opened: Opened, fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, device = opened()
    picture = np.arange(320 * 320 * 3, dtype=np.uint32).astype(np.uint8).reshape(320, 320, 3)
    device.frames = [picture]
    frame = camera.read(1)
    assert frame is not None
    np.testing.assert_array_equal(frame.pixels, picture)
    monkeypatch.setattr(fake, "adjusted", {"format": "NV12", "size": (4, 4)})
    camera, device = opened()
    device.frames = [np.full((6, 4), 128, np.uint8)]
    frame = camera.read(1)
    assert frame is not None
    assert frame.pixels.tolist() == [[[128] * 3] * 4] * 4


def test_an_unsupported_format_is_named(
    opened: Opened, fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "adjusted", {"format": "RGB161616"})
    camera, device = opened()
    device.frames = [np.zeros((320, 320, 3), np.uint8)]
    with pytest.raises(CameraError, match="RGB161616"):
        camera.read(1)


def test_time_of_capture_comes_from_the_sensor(opened: Opened) -> None:
    camera, device = opened()
    picture = np.zeros((320, 320, 3), np.uint8)
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    before_s = time.monotonic()
    device.frames = [picture, picture, picture, picture]
    ages = []
    for stamp_ns in (boot_ns - 2_000_000_000, boot_ns + 10**13, boot_ns - 10**12, None):
        device.metadata = {} if stamp_ns is None else {"SensorTimestamp": stamp_ns}
        frame = camera.read(1)
        assert frame is not None
        ages.append(before_s - frame.monotonic_s)
    assert ages[0] == pytest.approx(2, abs=0.1)
    assert all(-60 < age <= 0 for age in ages[1:]), "an impossible time stamp was believed"


def test_a_timeout_drops_the_waiting_job_and_the_camera_goes_on(opened: Opened) -> None:
    camera, device = opened()
    for timeout_s in (0.1, 0.0):
        with pytest.raises(CameraTimeout, match="no frame"):
            camera.read(timeout_s)
    device.frames = [np.zeros((320, 320, 3), np.uint8)]
    assert camera.read(1) is not None
    assert device.held == 0


def test_broken_jpegs_are_skipped_and_counted(
    opened: Opened, fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "adjusted", {"format": "MJPEG", "size": (4, 2)})
    camera, device = opened()
    device.frames = [
        OSError("image file is truncated"),
        ValueError("cannot reshape array"),
        np.full((2, 4, 3), 9, np.uint8),
    ]
    frame = camera.read(1)
    assert frame is not None
    assert frame.pixels[0, 0, 0] == 9
    assert frame.seq == 0
    assert camera.unreadable == 2
    assert device.held == 0


def test_a_failure_of_libcamera_is_a_camera_error(opened: Opened) -> None:
    camera, device = opened()
    device.frames = [RuntimeError("failed to find\nbuffer")]
    with pytest.raises(CameraError, match="failed to find buffer"):
        camera.read(1)


def test_no_camera(fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "cameras", [])
    with pytest.raises(CameraError, match="finds no camera"):
        make().open()


def test_a_number_too_high_lists_what_there_is() -> None:
    with pytest.raises(CameraError, match="no camera 1, there is 0: imx219"):
        make(index=1).open()


def test_busy_names_the_cause(fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "busy", True)
    with pytest.raises(CameraError, match=r"busy \(another program uses the camera"):
        make().open()


def test_a_camera_that_does_not_start_is_released(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "fail_to_start", True)
    camera = make()
    with pytest.raises(CameraError, match="Cannot allocate memory"):
        camera.open()
    assert FakePicamera2.last.calls[-1] == "close"
    monkeypatch.setattr(fake, "fail_to_start", False)
    camera.open()
    camera.close()


def test_picamera2_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match="apt install python3-picamera2"):
        make().open()


def test_picamera2_built_for_another_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setitem(sys.modules, "picamera2", Module("picamera2"))
    with pytest.raises(CameraError, match="remove NumPy from the virtual environment"):
        make().open()


def test_close_releases_once_and_open_works_again(opened: Opened) -> None:
    camera, device = opened()
    camera.close()
    camera.close()
    assert device.calls[-3:] == ["cancel_all_and_flush", "stop", "close"]
    with pytest.raises(CameraError, match="not open"):
        camera.read(1)
    camera.open()
    assert FakePicamera2.last is not device
    assert FakePicamera2.last.started


def test_a_stop_that_hangs_does_not_hang_close(
    fake: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    monkeypatch.setattr(fake, "hang", hang)
    camera = PiCamera(camera_id="cam0", index=0, frame_rate_hz=10, close_timeout_s=0.05)
    camera.open()
    device = fake.last
    unregistered: list[Any] = []
    monkeypatch.setattr(atexit, "unregister", unregistered.append)
    camera.close()
    assert "stop" not in device.calls
    assert device.close in unregistered, "picamera2 would hang again when the process ends"
    with pytest.raises(CameraError, match="restart the service"):
        camera.open()
    hang.set()
    deadline_s = time.monotonic() + 10
    while "close" not in device.calls and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert device.calls[-1] == "close"


def test_it_is_a_camera_and_rejects_nonsense() -> None:
    camera: Camera = make()
    assert camera.live
    assert camera.unreadable == 0
    camera.close()
    with pytest.raises(ValueError, match="index"):
        make(index=-1)
    with pytest.raises(ValueError, match="frame_rate_hz"):
        make(frame_rate_hz=0)
