"""A device for the page: real pictures and a real model, without the rest of a daemon."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any, BinaryIO

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.compose.engine import build_inference
from edgeclassifier.compose.model import find_model
from edgeclassifier.compose.publisher import state_rules
from edgeclassifier.config import Config
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.results import Latency, Result
from edgeclassifier.daemon.stable_label import StableLabel
from edgeclassifier.engine.inference import Inference
from edgeclassifier.engine.pictures import decode_untrusted, load_picture
from edgeclassifier.engine.preprocess import crop_box
from edgeclassifier.errors import EdgeclassifierError, RequestError
from edgeclassifier.web.live import Live
from edgeclassifier.web.server import WebServer
from support.daemon import SAMPLES

CROP_FRACTION = 0.875


class WebDevice:
    """Answers as a daemon does. `inference` is used under the lock."""

    def __init__(self, inference: Inference, pictures: Sequence[Pixels], **state: Any) -> None:
        """Take what the camera sees, and fields of health."""
        self.live = Live()
        self.paused = False
        self.state = state
        self.threshold = 0.3
        self.models = ["bundled", "garden_birds"]
        self.model = "bundled"
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        self.refuse: EdgeclassifierError | None = None
        self.kept: dict[str, bytes] = {}
        self._inference = inference
        self._lock = threading.Lock()
        self._frames = FrameFactory(camera_id="cam0")
        self._label = StableLabel(state_rules(Config().state, inference.classifier.names))
        self._pictures = cycle(pictures)
        self._shown = next(self._pictures)
        self._started_s = time.monotonic()

    def next_picture(self) -> None:
        """Put something else before the camera."""
        self._shown = next(self._pictures)

    def step(self) -> Result:
        """Let one frame through."""
        result = self.take()
        self.live.handle(result, self._label.update(result.predictions, now_s=time.monotonic()))
        return result

    @contextmanager
    def running(self, *, rate_hz: float, scene_s: float) -> Iterator[None]:
        """Let frames through, and change the scene every `scene_s`."""
        stop = threading.Event()

        def run() -> None:
            scene_until_s = time.monotonic() + scene_s
            while not stop.wait(1 / rate_hz):
                if time.monotonic() > scene_until_s:
                    self.next_picture()
                    scene_until_s += scene_s
                if not self.paused:
                    self.step()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def info(self) -> Mapping[str, Any]:
        return {
            "device": "porch",
            "version": "1.2.3",
            "runtime": "ai-edge-litert 2.3",
            "models": self.models,
            "model": {"name": self.model},
            "config": {"state": {"threshold": self.threshold}, "mqtt": {"host": "broker.lan"}},
        }

    def health(self) -> Mapping[str, Any]:
        return {
            "paused": self.paused,
            "mqtt": {"connected": True, "last_error": None},
            "camera": {"state": "ok", "problem": None},
            "buffer": {"pending": 0},
            "cpu_temperature_c": 51.2,
            "uptime_s": time.monotonic() - self._started_s,
            **self.state,
        }

    def request(self, command: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        self.requests.append((command, data))
        match command:
            case "pause" | "resume":
                self.paused = command == "pause"
            case "set_threshold":
                self.threshold = 0.3 if data["threshold"] is None else data["threshold"]
            case "set_model" if data["model"] in {None, *self.models}:
                self.model = data["model"] or "bundled"
            case _:
                return {"status": "error", "data": {}, "error": f"{command}: not on this device"}
        return {"status": "ok", "data": {}}

    def kept_picture(self, number: str) -> bytes:
        if number not in self.kept:
            raise RequestError(f"no picture {number} is kept here")
        return self.kept[number]

    def throw_away(self, number: str) -> None:
        self.kept_picture(number)
        del self.kept[number]

    def take(self, view: str = "") -> Result:  # noqa: ARG002
        if self.refuse is not None:
            raise self.refuse
        return self._classified(self._frames.frame(self._shown, origin="camera 0"))

    def classify(self, picture: BinaryIO, view: str) -> Mapping[str, Any]:  # noqa: ARG002
        if self.refuse is not None:
            raise self.refuse
        frame = self._frames.frame(decode_untrusted(picture), origin="visitor")
        shown = self._classified(frame).predictions
        return {"predictions": [{"label": each.label, "score": each.score} for each in shown]}

    def crop_box(
        self,
        height: int,
        width: int,
        view: str,  # noqa: ARG002  # there is one
    ) -> tuple[float, float, float, float]:
        box = crop_box(width, height, crop_fraction=CROP_FRACTION)
        return box.x, box.y, box.width, box.height

    def _classified(self, frame: Frame) -> Result:
        with self._lock:
            started_s = time.monotonic()
            crop, tensor = self._inference.prepare(frame.pixels)
            answer = self._inference.run(tensor)
            done_s = time.monotonic()
            return Result(
                frame=frame,
                crop=crop,
                predictions=self._inference.predictions(answer),
                latency=Latency(
                    capture_s=0.0,
                    preprocess_s=0.0,
                    inference_s=done_s - started_s,
                    total_s=done_s - frame.monotonic_s,
                ),
                model=self._inference.model(answer.backend),
                backend=answer.backend,
            )


def bundled_inference() -> Inference:
    config = Config()
    return build_inference(config, find_model(config.model))


def sample_pictures() -> list[Pixels]:
    folder = SAMPLES
    return [load_picture(path) for path in sorted(folder.glob("*.*g"))]


class Hanging(WebDevice):
    """Never answers a request, until it is let go."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def request(self, command: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.set()
        if not self.let_go.wait(60):
            raise RequestError("it was not let go")
        return super().request(command, data)


def serving(device: WebDevice, **more: Any) -> WebServer:
    fields = {"host": "127.0.0.1", "port": 0, "password": None, **more}
    server = WebServer(live=device.live, device=device, **fields)
    server.start()
    return server


def web_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("web")]
