"""Frames through crop, resize and inference, each in a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgeclassifier.cameras import Camera, Frame
from edgeclassifier.classifier import Classifier
from edgeclassifier.errors import CameraError, CameraTimeout
from edgeclassifier.mailbox import Closed, Mailbox
from edgeclassifier.preprocess import Pixels, Preprocessor
from edgeclassifier.results import Latency, Result

_POLL_S = 0.2
"""How long a wait lasts before it looks whether the pipeline was stopped."""
_JOIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    frame: Frame
    crop: Pixels
    tensor: NDArray[Any]
    received_s: float
    ready_s: float


class Pipeline:
    """Joins a camera and a classifier.

    One thread reads the camera and prepares tensors, another runs the interpreter, and the
    caller's thread takes the results: none of them waits for the work of the others. From a live
    camera the newest frame wins; from files every frame is classified.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        preprocessor: Preprocessor,
        classifier: Classifier,
        deadline_s: float,
    ) -> None:
        self._camera = camera
        self._preprocessor = preprocessor
        self._classifier = classifier
        self._deadline_s = deadline_s
        self._prepared: Mailbox[_Prepared] = Mailbox()
        self._results: Mailbox[Result] = Mailbox()
        self._reading_since_s: float | None = None
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(stage,), name=name, daemon=True)
            for name, stage in (("capture", self._capture), ("inference", self._infer))
        ]

    @property
    def superseded(self) -> int:
        """How many frames gave way to a newer one before they were classified."""
        return self._prepared.replaced

    def results(self, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[Result]:
        """Open the camera and classify its frames until it ends, or until `stopped()`.

        Raises CameraError where the camera cannot be opened, fails, or delivers no frame within
        the deadline.
        """
        for thread in self._threads:
            thread.start()
        try:
            while not stopped():
                try:
                    result = self._results.take(_POLL_S)
                except Closed:
                    break
                if result is not None:
                    yield result
                else:
                    self._check_that_read_returns()
        finally:
            self._close()
            deadline_s = time.monotonic() + _JOIN_S
            for thread in self._threads:
                # A driver may hang; the process does not wait for that.
                thread.join(max(0.0, deadline_s - time.monotonic()))
        if self._failure is not None and not stopped():
            raise self._failure

    def _close(self) -> None:
        self._prepared.close()
        self._results.close()

    def _check_that_read_returns(self) -> None:
        since_s = self._reading_since_s
        blocked_s = 0.0 if since_s is None else time.monotonic() - since_s
        if blocked_s > self._deadline_s + _POLL_S:
            raise self._no_frame(blocked_s)

    def _no_frame(self, silent_s: float) -> CameraError:
        return CameraError(
            f"no frame for {silent_s:.1f} s, more than camera.deadline_s "
            f"({self._deadline_s:g}): check the camera and its cable"
        )

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._close()

    def _infer(self) -> None:
        try:
            while True:
                prepared = self._prepared.take(_POLL_S)
                if prepared is not None and not self._results.put_next(self._classify(prepared)):
                    return
        except Closed:
            self._results.close()

    def _classify(self, prepared: _Prepared) -> Result:
        started_s = time.monotonic()
        predictions = self._classifier.top(self._classifier.invoke(prepared.tensor))
        done_s = time.monotonic()
        captured_s = prepared.frame.monotonic_s
        return Result(
            frame=prepared.frame,
            crop=prepared.crop,
            predictions=predictions,
            latency=Latency(
                capture_s=prepared.received_s - captured_s,
                preprocess_s=prepared.ready_s - prepared.received_s,
                inference_s=done_s - started_s,
                total_s=done_s - captured_s,
            ),
        )

    def _capture(self) -> None:
        try:
            self._camera.open()
            self._read_frames()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            # Told before close() is called, which may hang.
            self._fail(error)
        finally:
            self._prepared.close()
            self._camera.close()

    def _read_frames(self) -> None:
        last_frame_s = time.monotonic()
        while not self._prepared.closed:
            self._reading_since_s = time.monotonic()
            try:
                frame = self._camera.read(_POLL_S)
            except CameraTimeout:
                silent_s = time.monotonic() - last_frame_s
                if silent_s > self._deadline_s:
                    raise self._no_frame(silent_s) from None
                continue
            finally:
                self._reading_since_s = None
            if frame is None:
                return
            last_frame_s = time.monotonic()
            prepared = self._prepare(frame, received_s=last_frame_s)
            if self._camera.live:
                self._prepared.put(prepared)
            elif not self._prepared.put_next(prepared):
                return

    def _prepare(self, frame: Frame, *, received_s: float) -> _Prepared:
        crop, tensor = self._preprocessor(frame.pixels)
        return _Prepared(
            frame=frame,
            crop=crop,
            tensor=tensor,
            received_s=received_s,
            ready_s=time.monotonic(),
        )
