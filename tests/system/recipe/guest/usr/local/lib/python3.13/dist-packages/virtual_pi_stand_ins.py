"""Stand-ins for parts of libcamera and picamera2, see virtual_pi."""

import mmap
import queue
import threading
import time
from types import TracebackType
from typing import Any

_DEFAULT_INTERVAL_S = 1 / 30


class Mapping:
    """The whole buffer of a frame, readable for the time of the context."""

    def __init__(self, _allocator: object, buffer: Any, write: bool) -> None:
        self._buffer = buffer
        self._access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
        self._memory: mmap.mmap | None = None

    def __enter__(self) -> mmap.mmap:
        planes = self._buffer.planes
        size = max(plane.offset + plane.length for plane in planes)
        self._memory = mmap.mmap(planes[0].fd, size, access=self._access)
        return self._memory

    def __exit__(
        self,
        _kind: type[BaseException] | None = None,
        _error: BaseException | None = None,
        _traceback: TracebackType | None = None,
    ) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None


class _Success:
    """Frame metadata, as far as picamera2 asks for it."""

    def __init__(self) -> None:
        import libcamera

        self.status = libcamera.FrameMetadata.Status.Success


class _FilledBuffer:
    """A frame buffer whose metadata say that the frame is good."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self.metadata = _Success()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buffer, name)


class FilledRequest:
    """A request whose buffers hold good frames."""

    def __init__(self, request: Any) -> None:
        """Stand in for `request`."""
        self.request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)

    @property
    def buffers(self) -> dict[Any, _FilledBuffer]:
        """Those of the request."""
        return {stream: _FilledBuffer(each) for stream, each in self.request.buffers.items()}


class PacedCamera:
    """A libcamera.Camera whose requests are queued one frame interval apart.

    The virtual camera fills a request as soon as it gets it.
    """

    def __init__(self, camera: Any) -> None:
        """Stand in for `camera`."""
        self._camera = camera
        self._interval_s = _DEFAULT_INTERVAL_S
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    def start(self, controls: dict[Any, Any]) -> Any:
        """Start at the rate that FrameDurationLimits asks for."""
        for control, value in controls.items():
            if control.name == "FrameDurationLimits":
                self._interval_s = min(value) / 1e6
        result = self._camera.start(controls)
        self._requests = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._work, args=(self._requests,), name="virtual-sensor", daemon=True
        )
        self._thread.start()
        return result

    def queue_request(self, request: Any) -> None:
        """Have the request filled when its frame is due."""
        self._requests.put(request.request if isinstance(request, FilledRequest) else request)

    def stop(self) -> Any:
        """Forget the requests that are not filled yet, and stop."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._requests.put(None)
            thread.join()
        return self._camera.stop()

    def _work(self, requests: "queue.SimpleQueue[Any]") -> None:
        due_s = time.monotonic()
        while (request := requests.get()) is not None:
            time.sleep(max(0.0, due_s - time.monotonic()))
            self._camera.queue_request(request)
            due_s = max(due_s, time.monotonic() - self._interval_s) + self._interval_s
