"""What several views of one frame cost, moving and still."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeclassifier.bench.freshness import LiveCamera
from edgeclassifier.bench.rig import MemoryCamera, Rig, sample_frames
from edgeclassifier.bench.throughput import rate_hz
from edgeclassifier.compose.engine import build_engine
from edgeclassifier.config import Config
from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.results import Latency
from edgeclassifier.engine.preprocess import Area
from edgeclassifier.host.localbroker import LocalBroker
from edgeclassifier.pipeline.idle import IdleSettings

COUNTS = (1, 2, 4, 8)
_WIDTH, _HEIGHT = 1920, 1080
_LIVE_HZ = 10.0
"""Of the camera before which a scene stands still, and of the one before which it does not."""
_NOISY = 4
"""So many frames of a still scene differ in their noise, and come again."""
_NOISE_LEVELS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsCost:
    """So many views of one frame."""

    views: int
    moving_hz: float
    """Answers each second, of all views together, if all change with every frame."""
    moving_ratio: float
    """The median over the rounds of that by what the interpreter alone does."""
    busy: float
    """The share of the time in which the interpreter runs then: the median. Other work on the
    machine disturbs it less than a comparison of two turns."""
    still_ratio: float
    """The CPU time for a frame if nothing changes, by that of one view that changes: the median."""


def grid(count: int) -> list[Area]:
    """Cut the frame into so many rectangles side by side, in two rows if there are four or more."""
    rows = 2 if count >= 4 else 1  # noqa: PLR2004 - as said
    columns = count // rows
    width, height = 1 / columns, 1 / rows
    return [
        Area(region=(column * width, row * height, width, height))
        for row in range(rows)
        for column in range(columns)
    ]


def measure_views(
    config: Config, broker: LocalBroker, *, rounds: int, seconds: float
) -> list[ViewsCost]:
    """Let all take turns, `rounds` times for `seconds` each, on frames of 1920x1080.

    Raises BrokerError if not everything that was published arrived at the broker.
    """
    engine = build_engine(config)
    frames, still = sample_frames(_WIDTH, _HEIGHT), _still_frames()
    moving_hz: dict[int, list[float]] = {count: [] for count in COUNTS}
    moving: dict[int, list[float]] = {count: [] for count in COUNTS}
    busy: dict[int, list[float]] = {count: [] for count in COUNTS}
    idle: dict[int, list[float]] = {count: [] for count in COUNTS}
    with Rig(config, engine, broker) as rig:
        rig.pipeline_hz(MemoryCamera(frames=frames), min(seconds, 0.5), [])
        for turn in range(rounds):
            # Every other round in the opposite order, so that a drift of the machine cancels out.
            counts = COUNTS if turn % 2 else COUNTS[::-1]
            changing = LiveCamera(frames, rate_hz=_LIVE_HZ)
            one_s = rig.measure(changing, seconds, areas=grid(1)).cpu_s
            for count in counts:
                areas = grid(count)
                alone_hz = rate_hz(engine.classifier.invoke_again, seconds)
                latencies: list[Latency] = []
                camera = MemoryCamera(frames=frames)
                together = rig.measure(camera, seconds, areas=areas, latencies=latencies)
                inference_s = statistics.mean(each.inference_s for each in latencies)
                busy[count].append(together.results_hz * inference_s)
                moving_hz[count].append(together.results_hz)
                moving[count].append(together.results_hz / alone_hz)
                scene = LiveCamera(still, rate_hz=_LIVE_HZ)
                cost = rig.measure(scene, seconds, areas=areas, idle=IdleSettings(max_age_s=60.0))
                idle[count].append(cost.cpu_s * count / one_s)
        rig.drain()
    return [
        ViewsCost(
            views=count,
            moving_hz=statistics.median(moving_hz[count]),
            moving_ratio=statistics.median(moving[count]),
            busy=statistics.median(busy[count]),
            still_ratio=statistics.median(idle[count]),
        )
        for count in COUNTS
    ]


def _still_frames() -> Sequence[Pixels]:
    """Return frames of a scene in which nothing changes but the sensor's noise."""
    scene = sample_frames(_WIDTH, _HEIGHT)[0].astype(np.float32)
    noise = np.random.default_rng(0)
    return [
        (scene + noise.normal(0, _NOISE_LEVELS, scene.shape)).clip(0, 255).astype(np.uint8)
        for _ in range(_NOISY)
    ]
