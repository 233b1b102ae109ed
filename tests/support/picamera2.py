"""A stand-in for picamera2 and libcamera, with the interface and habits of the real ones."""

import atexit
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

FULL = (0, 0, 3280, 2464)
IMX219_MODES = [
    {"size": (640, 480), "bit_depth": 10, "crop_limits": (1000, 752, 1280, 960), "fps": 206.0},
    {"size": (1640, 1232), "bit_depth": 8, "crop_limits": FULL, "fps": 41.8},
    {"size": (1640, 1232), "bit_depth": 10, "crop_limits": FULL, "fps": 41.8},
    {"size": (1920, 1080), "bit_depth": 10, "crop_limits": (680, 692, 1920, 1080), "fps": 47.6},
    {"size": (3280, 2464), "bit_depth": 10, "crop_limits": FULL, "fps": 21.2},
]


IMX708_CONTROLS: dict[str, tuple[Any, Any, Any]] = {
    "AeConstraintMode": (0, 3, 0),
    "AeEnable": (False, True, True),
    "AeExposureMode": (0, 3, 0),
    "AeFlickerMode": (0, 1, 0),
    "AeMeteringMode": (0, 3, 0),
    "AfMetering": (0, 1, 0),
    "AfMode": (0, 2, 0),
    "AfPause": (0, 2, 0),
    "AfRange": (0, 2, 0),
    "AfSpeed": (0, 1, 0),
    "AfTrigger": (0, 1, 0),
    "AfWindows": ((0, 0, 0, 0), (65535, 65535, 65535, 65535), (0, 0, 0, 0)),
    "AnalogueGain": (1.0, 16.0, 1.0),
    "AwbEnable": (False, True, None),
    "AwbMode": (0, 7, 0),
    "Brightness": (-1.0, 1.0, 0.0),
    "ColourGains": (0.0, 32.0, None),
    "Contrast": (0.0, 32.0, 1.0),
    "ExposureTime": (26, 220417486, 20000),
    "ExposureValue": (-8.0, 8.0, 0.0),
    "FrameDurationLimits": (17849, 220417486, 33333),
    "HdrMode": (0, 4, 0),
    "LensPosition": (0.0, 32.0, 1.0),
    "NoiseReductionMode": (0, 4, 0),
    "Saturation": (0.0, 32.0, 1.0),
    "ScalerCrop": ((0, 0, 128, 128), (0, 0, 4608, 2592), (576, 0, 3456, 2592)),
    "Sharpness": (0.0, 16.0, 1.0),
}


class Transform:
    """libcamera's: pybind11 takes numbers for truth values, and shows truth values."""

    def __init__(self, *, hflip: bool = False, vflip: bool = False) -> None:
        self.hflip = bool(hflip)
        self.vflip = bool(vflip)
        self.transpose = False


def _accepted(least: Any) -> Any:
    """Return the types that libcamera's bindings convert to that of a control."""
    kinds: dict[type, Any] = {bool: bool, int: int | tuple, float: int | float | tuple}
    return kinds.get(type(least), tuple | list)


class Request:
    def __init__(self, camera: "FakePicamera2", frame: "NDArray[np.uint8] | Exception") -> None:
        self._camera = camera
        self._frame = frame

    def get_metadata(self) -> dict[str, Any]:
        return self._camera.metadata

    def make_array(self, name: str) -> NDArray[np.uint8]:
        assert name == "main"
        if isinstance(self._frame, Exception):
            raise self._frame
        transform = self._camera.config["transform"]
        turned = self._frame[::-1] if transform.vflip else self._frame
        return np.ascontiguousarray(turned[:, ::-1] if transform.hflip else turned)

    def release(self) -> None:
        self._camera.held -= 1


class FakePicamera2:
    """The parts that are used, with signatures as in 0.3.38."""

    cameras: ClassVar[list[dict[str, Any]]] = []
    busy: ClassVar[bool] = False
    properties: ClassVar[dict[str, Any]] = {}
    modes: ClassVar[list[dict[str, Any]]] = []
    controls: ClassVar[dict[str, tuple[Any, Any, Any]]] = {}
    adjusted: ClassVar[dict[str, Any]] = {}
    can_flip: ClassVar[bool] = True
    colour_range: ClassVar[str | None] = "Full"
    fail_to_start: ClassVar[bool] = False
    hang: ClassVar[threading.Event | None] = None
    last: ClassVar["FakePicamera2"]

    def __init__(self, camera_num: int = 0, tuning: str | None = None) -> None:
        self.tuning = tuning
        self.calls: list[str] = []
        self.frames: list[NDArray[np.uint8] | Exception] = []
        self.metadata: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.set: dict[str, Any] = {}
        self.jobs = 0
        self.held = 0
        self.started = False
        FakePicamera2.last = self
        if self.busy:
            cause = RuntimeError("Failed to acquire camera: Device or resource busy")
            raise RuntimeError("Camera __init__ sequence did not complete.") from cause
        assert camera_num < len(self.cameras)
        atexit.register(self.close)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return FakePicamera2.cameras

    @property
    def camera_properties(self) -> dict[str, Any]:
        return self.properties

    @property
    def sensor_modes(self) -> list[dict[str, Any]]:
        self.calls.append("sensor_modes")
        return self.modes

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        return self.controls

    @property
    def libcamera_config(self) -> Any:
        space = None
        if self.colour_range is not None:
            space = SimpleNamespace(range=SimpleNamespace(name=self.colour_range))
        return SimpleNamespace(at=lambda index: SimpleNamespace(color_space=[space][index]))

    def create_preview_configuration(
        self,
        *,
        main: dict[str, Any],
        raw: dict[str, Any] | None,
        sensor: dict[str, Any],
        buffer_count: int = 4,
        queue: bool = True,
        display: str | None = "main",
        encode: str | None = "main",
        transform: Transform | None = None,
    ) -> dict[str, Any]:
        assert all(length % 2 == 0 for length in main["size"])
        assert set(sensor) <= {"output_size", "bit_depth"}
        assert display is encode is None
        assert queue
        assert buffer_count > 1
        transform = transform or Transform()
        return {"main": main, "raw": raw, "sensor": sensor, "transform": transform}

    def configure(self, config: dict[str, Any]) -> None:
        self.calls.append("configure")
        self.set = {}
        self.config = config | {"main": config["main"] | self.adjusted}
        if not self.can_flip:
            self.config["transform"] = Transform()

    def camera_configuration(self) -> dict[str, Any]:
        return self.config

    def set_controls(self, controls: dict[str, Any]) -> None:
        for name in controls:
            if name not in self.controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self.calls.append("set_controls")
        self.set |= controls

    def start(self) -> None:
        if self.fail_to_start:
            raise RuntimeError("Failed to start camera: Cannot allocate memory")
        for name, value in self.set.items():
            accepted = _accepted(self.controls[name][0])
            if not isinstance(value, accepted) or (accepted is bool) != isinstance(value, bool):
                raise RuntimeError(f"Unable to cast {value!r} for {name}")
        self.calls.append("start")
        self.started = True

    @contextmanager
    def captured_request(self, wait: float | None = None) -> Iterator[Request]:
        assert self.started
        assert isinstance(wait, float | int)
        assert wait > 0, "the real one returns a job instead"
        assert self.jobs == 0, "a job left over from an earlier timeout takes this frame"
        self.jobs += 1
        if not self.frames:
            raise TimeoutError
        self.jobs -= 1
        frame = self.frames.pop(0)
        if isinstance(frame, RuntimeError):
            raise frame
        self.held += 1
        request = Request(self, frame)
        try:
            yield request
        finally:
            request.release()

    def cancel_all_and_flush(self) -> None:
        self.calls.append("cancel_all_and_flush")
        self.jobs = 0

    def stop(self) -> None:
        if self.hang is not None:
            self.hang.wait()
        self.calls.append("stop")
        self.started = False

    def close(self) -> None:
        atexit.unregister(self.close)
        self.stop()
        self.calls.append("close")


def install(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    """Let an imx219 behind the image processor be found where picamera2 is imported."""
    for name, member in (("picamera2", FakePicamera2), ("libcamera", Transform)):
        module = ModuleType(name)
        setattr(module, member.__name__.removeprefix("Fake"), member)
        monkeypatch.setitem(sys.modules, name, module)
    settings: dict[str, Any] = {
        "cameras": [{"Model": "imx219", "Id": "/base/i2c/imx219@10", "Num": 0}],
        "properties": {"ColorFilterArrangement": 0},
        "modes": IMX219_MODES,
        "controls": {
            "FrameDurationLimits": (23900, 11767556, 33333),
            "ScalerCrop": ((0, 0, 128, 128), FULL, FULL),
        },
        "adjusted": {},
        "can_flip": True,
        "colour_range": "Full",
        "busy": False,
        "fail_to_start": False,
        "hang": None,
    }
    for name, value in settings.items():
        monkeypatch.setattr(FakePicamera2, name, value, raising=False)
    return FakePicamera2
