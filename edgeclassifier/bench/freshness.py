"""How old an answer is when it comes: a live camera that is faster than the model."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgeclassifier.bench.rig import Rig, sample_frames
from edgeclassifier.cameras import FrameFactory
from edgeclassifier.cameras.camera import Pace
from edgeclassifier.compose.engine import build_engine
from edgeclassifier.config import Config
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.results import Latency
from edgeclassifier.errors import CameraTimeout
from edgeclassifier.host.localbroker import LocalBroker

_WIDTH, _HEIGHT = 640, 480
_USUAL_HZ = 30.0
_FASTER = 1.5
"""The camera is at least this much faster than the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """From the capture of a frame to its answer, as a multiple of one inference (p50)."""

    threads: int
    camera_hz: float
    results_hz: float
    p50: float
    p99: float


class LiveCamera:
    """Gives the pictures in turn at a rate; one that is not taken is lost."""

    live = True
    unreadable = 0

    def __init__(self, pictures: Sequence[Pixels], *, rate_hz: float) -> None:
        self._pictures = tuple(pictures)
        self._frames = FrameFactory(camera_id="live")
        self._pace = Pace(rate_hz=rate_hz)
        self._given = 0

    def open(self) -> None:
        """Begin with the first picture."""
        self._given = 0

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame when it is due. Raises CameraTimeout if that is later."""
        if not self._pace.sleep(timeout_s):
            raise CameraTimeout("no frame is due")
        self._pace.taken()
        self._given += 1
        picture = self._pictures[self._given % len(self._pictures)]
        return self._frames.frame(picture, origin="live")

    def close(self) -> None:
        """Nothing is held that needs to be released."""


def measure_freshness(config: Config, broker: LocalBroker, *, seconds: float) -> Freshness:
    """Let the pipeline run on a live camera for `seconds`.

    Raises BrokerError if not everything that was published arrived at the broker.
    """
    engine = build_engine(config)
    warm_up: list[Latency] = []
    latencies: list[Latency] = []
    frames = sample_frames(_WIDTH, _HEIGHT)
    with Rig(config, engine, broker) as rig:
        rig.pipeline_hz(LiveCamera(frames, rate_hz=_USUAL_HZ), min(seconds, 1.0), warm_up)
        inference_s = statistics.median(each.inference_s for each in warm_up)
        rate_hz = max(_USUAL_HZ, _FASTER / inference_s)
        results_hz = rig.pipeline_hz(LiveCamera(frames, rate_hz=rate_hz), seconds, latencies)
        rig.drain()
    totals = sorted(each.total_s for each in latencies)
    inference_s = statistics.median(each.inference_s for each in latencies)
    return Freshness(
        threads=engine.classifier.threads,
        camera_hz=rate_hz,
        results_hz=results_hz,
        p50=statistics.median(totals) / inference_s,
        p99=totals[int(0.99 * (len(totals) - 1))] / inference_s,
    )
