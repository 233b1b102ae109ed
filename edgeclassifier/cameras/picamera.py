"""The camera on the ribbon cable, and others that libcamera supports, through picamera2."""

import atexit
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.cameras.controls import TABLE, Value, chosen_controls
from edgeclassifier.cameras.pixels import to_rgb
from edgeclassifier.cameras.sensor import as_transform, full_view_mode, left_to_turn, view_controls
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.orientation import UPRIGHT, Orientation
from edgeclassifier.errors import CameraError, CameraSettingError, CameraTimeout
from edgeclassifier.host import threads

# Multiples of 32, so that no row is padded; a little more than the models take.
_ISP_SIZE = (320, 320)
# A camera without an ISP does not scale: 320x320 would become its next smaller size.
_USB_SIZE = (640, 480)
_SHORTEST_WAIT_S = 0.001
_OLDEST_FRAME_S = 30.0

log = logging.getLogger(__name__)


class PiCamera:
    """Frames of a libcamera camera: the largest centred square if it has an image processor.

    picamera2 keeps the last completed frame and read() takes that one: it is at most one frame
    interval old, needs no wait if inference was slower, and is never given out twice. Waiting for
    a frame exposed after the call (`flush`) would cost up to two intervals each time, and needs
    metadata that USB cameras do not have.
    """

    live = True

    def __init__(
        self,
        *,
        camera_id: str,
        index: int,
        frame_rate_hz: float,
        focus: float | str = "continuous",
        tuning_file: str = "",
        controls: Mapping[str, Value] = MappingProxyType({}),
        orientation: Orientation = UPRIGHT,
        close_timeout_s: float = 5.0,
    ) -> None:
        """Prepare to use camera number `index`, as `rpicam-hello --list-cameras` counts them.

        `focus` and `controls` are as for chosen_controls(); `tuning_file` is one of libcamera's,
        empty for that of the sensor. A libcamera that does not close within `close_timeout_s` is
        left behind.
        """
        if index < 0:
            raise ValueError(f"index is {index}, must be 0 or more")
        if frame_rate_hz <= 0:
            raise ValueError(f"frame_rate_hz is {frame_rate_hz}, must be more than 0")
        self._frames = FrameFactory(camera_id=camera_id, orientation=orientation)
        self._camera_id = camera_id
        self._index = index
        self._frame_rate_hz = frame_rate_hz
        self._focus = focus
        self._tuning_file = tuning_file
        self._controls = dict(controls)
        self._orientation = orientation
        self._close_timeout_s = close_timeout_s
        self._origin = f"picamera2:{index}"
        self._camera: Any = None
        self._format = ""
        self._size = (0, 0)
        self._full_range = False
        self._release: threading.Thread | None = None
        self._unreadable = 0

    @property
    def unreadable(self) -> int:
        """How many frames could not be decoded (broken JPEGs of USB cameras)."""
        return self._unreadable

    def open(self) -> None:
        """Find, configure and start the camera.

        Raises CameraError if picamera2 or the camera is absent, or another program uses it, and
        CameraSettingError if the camera does not have what is set.
        """
        if self._release is not None and self._release.is_alive():
            raise CameraError(
                f"{self._camera_id}: libcamera still holds the camera; restart the service"
            )
        picamera2_class = self._import()
        tuning = self._tuning()
        try:
            model = self._check_present(picamera2_class.global_camera_info())
            self._camera = picamera2_class(self._index, **tuning)
            self._configure(self._camera, model=model)
            self._camera.start()
        except CameraError:
            self.close()
            raise
        except (RuntimeError, OSError, LookupError) as error:
            self.close()
            raise CameraError(
                f"{self._camera_id}: camera {self._index} cannot be used: {_root_cause(error)}"
            ) from None

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest frame. Raises CameraTimeout and CameraError."""
        camera = self._camera
        if camera is None:
            raise CameraError(f"{self._camera_id}: is not open")
        deadline_s = time.monotonic() + timeout_s
        while True:
            # picamera2 takes a wait of 0 for "do not wait", and gives a job instead of a frame.
            wait_s = max(_SHORTEST_WAIT_S, deadline_s - time.monotonic())
            try:
                with camera.captured_request(wait=wait_s) as request:
                    captured_s = _capture_time_s(request.get_metadata())
                    array = request.make_array("main")
            except TimeoutError:
                # The waiting job would take the next frame and never give it back.
                camera.cancel_all_and_flush()
                raise CameraTimeout(f"{self._camera_id}: no frame for {timeout_s:g} s") from None
            except RuntimeError as error:
                raise CameraError(f"{self._camera_id}: {_root_cause(error)}") from None
            except (OSError, ValueError):
                self._unreadable += 1
                continue
            return self._frames.frame(
                self._to_rgb(array), origin=self._origin, monotonic_s=captured_s
            )

    def close(self) -> None:
        """Stop and release the camera; leave it behind if libcamera hangs."""
        camera, self._camera = self._camera, None
        if camera is None:
            return
        self._release = threads.start(self._stop_and_close, name="camera-close", args=(camera,))
        self._release.join(self._close_timeout_s)
        if self._release.is_alive():
            # picamera2 closes at exit as well, and would hang there again.
            atexit.unregister(camera.close)
            log.error("%s: libcamera does not stop; a restart frees the camera", self._camera_id)

    def _import(self) -> Any:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise CameraError(
                f"{self._camera_id}: picamera2 cannot be loaded ({error}): run "
                "'apt install python3-picamera2', and let the virtual environment see it "
                "(--system-site-packages)"
            ) from None
        except ValueError as error:
            # Extension modules from apt, built for another NumPy than the environment's.
            raise CameraError(
                f"{self._camera_id}: picamera2 cannot be loaded ({error}): remove NumPy from the "
                "virtual environment, so that the system's is used"
            ) from None
        return Picamera2

    def _tuning(self) -> dict[str, str]:
        file = self._tuning_file
        if not file:
            return {}
        if not Path(file).is_file():
            raise CameraSettingError(
                f"{self._camera_id}: camera.picamera2.tuning_file: {file}: no such file; those of "
                "libcamera are in /usr/share/libcamera/ipa/rpi/vc4, and pisp for a Pi 5"
            )
        # picamera2 sets this as well, but libcamera may read it when cameras are listed before.
        os.environ["LIBCAMERA_RPI_TUNING_FILE"] = file
        return {"tuning": file}

    def _check_present(self, cameras: Sequence[Mapping[str, Any]]) -> str:
        """Return the model of the camera. Raises CameraError if it is not there."""
        if not cameras:
            raise CameraError(
                f"{self._camera_id}: libcamera finds no camera: check the cable, then "
                "'rpicam-hello --list-cameras'"
            )
        if self._index >= len(cameras):
            names = ", ".join(f"{i}: {camera.get('Model')}" for i, camera in enumerate(cameras))
            raise CameraError(f"{self._camera_id}: no camera {self._index}, there is {names}")
        return str(cameras[self._index].get("Model"))

    def _configure(self, camera: Any, *, model: str) -> None:
        # Only sensors behind the Pi's image processor have a colour filter for libcamera, and
        # modes to choose from.
        has_isp = "ColorFilterArrangement" in camera.camera_properties
        sensor = (
            full_view_mode(camera.sensor_modes, rate_hz=self._frame_rate_hz, least=max(_ISP_SIZE))
            if has_isp
            else {}
        )
        # The preview's colour space is sYCC: BT.601 in full range, like the JPEGs that models are
        # trained on. No raw stream: its buffers would take memory for nothing.
        camera.configure(
            camera.create_preview_configuration(
                main={"size": _ISP_SIZE if has_isp else _USB_SIZE, "format": "BGR888"},
                raw=None,
                sensor=sensor,
                buffer_count=4,
                queue=True,
                display=None,
                encode=None,
                **(as_transform(self._orientation) if has_isp else {}),
            )
        )
        # libcamera may have chosen another format, size and transform, without an error.
        configured = camera.camera_configuration()
        self._frames.orientation = left_to_turn(self._orientation, configured.get("transform"))
        main = configured["main"]
        self._format, self._size = str(main["format"]), main["size"]
        # Not camera_configuration()["colour_space"]: that is a standard one with the same
        # primaries only, and says "full" for the limited range of USB cameras.
        colour_space = camera.libcamera_config.at(0).color_space
        self._full_range = colour_space is not None and colour_space.range.name == "Full"
        offered = camera.camera_controls
        camera.set_controls(
            view_controls(offered, self._frame_rate_hz) | self._chosen(offered, model)
        )
        log.info("%s: %s %dx%d", self._camera_id, self._format, *self._size)

    def _chosen(self, offered: Mapping[str, tuple[Any, Any, Any]], model: str) -> dict[str, Any]:
        try:
            chosen = chosen_controls(
                focus=self._focus, controls=self._controls, offered=offered, camera=model
            )
        except CameraSettingError as error:
            raise CameraSettingError(f"{self._camera_id}: {error}") from None
        exposure_us, longest_us = chosen.get("ExposureTime", 0), 1e6 / self._frame_rate_hz
        if exposure_us > longest_us:
            # libcamera would cut it short without a word.
            raise CameraSettingError(
                f"{self._camera_id}: {TABLE}.ExposureTime = {exposure_us}: a frame takes "
                f"{longest_us:.0f} µs at camera.picamera2.frame_rate_hz = {self._frame_rate_hz:g}: "
                f"lower that to {1e6 / exposure_us:.2g}"
            )
        return chosen

    def _to_rgb(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        width, height = self._size
        return to_rgb(
            array, format=self._format, width=width, height=height, full_range=self._full_range
        )

    def _stop_and_close(self, camera: Any) -> None:
        try:
            camera.cancel_all_and_flush()
            # Ends the event loop and then stops directly; stop() would wait for ever for an event
            # loop that has died.
            camera.close()
        except (RuntimeError, OSError, LookupError) as error:
            log.warning("%s: closing: %s", self._camera_id, _root_cause(error))


def _capture_time_s(metadata: Mapping[str, Any]) -> float:
    """Convert the sensor's time stamp to the monotonic clock; now if it has none.

    libcamera's clock counts from boot and through suspension (CLOCK_BOOTTIME).
    """
    now_s = time.monotonic()
    stamp_ns = metadata.get("SensorTimestamp")
    if not stamp_ns:
        return now_s
    age_s = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - stamp_ns) / 1e9
    return now_s - age_s if 0 <= age_s <= _OLDEST_FRAME_S else now_s


def _root_cause(error: BaseException) -> str:
    """Find what libcamera said at the bottom of picamera2's chain of exceptions, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    if "busy" in text.lower():
        text += " (another program uses the camera)"
    return text
