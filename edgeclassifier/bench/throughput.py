"""The whole pipeline against the bare interpreter, by turns in one process."""

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeclassifier import compose
from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.cameras import Camera
from edgeclassifier.cameras.memory import MemoryCamera
from edgeclassifier.capture import CameraSettings
from edgeclassifier.child import SAMPLES
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.errors import BrokerError, CameraError
from edgeclassifier.health import Percentiles, stage_percentiles
from edgeclassifier.inference import Inference
from edgeclassifier.localbroker import LOOPBACK, LocalBroker
from edgeclassifier.mqtt.base import Broker
from edgeclassifier.mqtt.messages import Payloads, Topics
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pictures import cover, load_picture
from edgeclassifier.pipeline import Pipeline
from edgeclassifier.preprocess import Pixels
from edgeclassifier.publisher import Publisher, PublisherSettings
from edgeclassifier.results import Latency
from edgeclassifier.runtime import load_model
from edgeclassifier.state import Debounce
from edgeclassifier.system import System

_DRAIN_S = 10.0
_BUFFER_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Predictions each second, with and without everything around the interpreter."""

    width: int
    height: int
    threads: int
    bare_hz: float
    pipeline_hz: float
    ratio: float
    """The median over the rounds of pipeline / bare within one round."""
    rounds: tuple[float, ...]
    stages: dict[str, Percentiles]
    published: int
    acknowledged: int


def sample_frames(width: int, height: int) -> list[Pixels]:
    """Return the sample pictures, scaled to cover frames of `height` x `width` x 3."""
    paths = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".jpg", ".png"})
    return [cover(load_picture(path), width, height) for path in paths]


def measure_throughput(
    config: Config,
    broker: LocalBroker,
    *,
    width: int,
    height: int,
    rounds: int,
    seconds: float,
) -> Throughput:
    """Let both take turns, `rounds` times for `seconds` each, on frames from memory.

    Raises BrokerError where not everything that was published arrived at the broker.
    """
    engine = compose.build_engine(config)
    bench = _Bench(config, engine, broker)
    frames = sample_frames(width, height)
    bare: list[float] = []
    pipeline: list[float] = []
    latencies: list[Latency] = []
    with bench:
        bench.pipeline_hz(_camera(frames), seconds=min(seconds, 0.5), latencies=[])
        for turn in range(rounds):
            # Every other round in the opposite order, so that a drift of the machine cancels out.
            if turn % 2:
                pipeline.append(bench.pipeline_hz(_camera(frames), seconds, latencies))
                bare.append(rate_hz(engine.classifier.invoke_again, seconds))
            else:
                bare.append(rate_hz(engine.classifier.invoke_again, seconds))
                pipeline.append(bench.pipeline_hz(_camera(frames), seconds, latencies))
        published, acknowledged = bench.drain()
    ratios = tuple(whole / alone for whole, alone in zip(pipeline, bare, strict=True))
    return Throughput(
        width=width,
        height=height,
        threads=engine.classifier.threads,
        bare_hz=statistics.median(bare),
        pipeline_hz=statistics.median(pipeline),
        ratio=statistics.median(ratios),
        rounds=ratios,
        stages=stage_percentiles(latencies),
        published=published,
        acknowledged=acknowledged,
    )


def rate_hz(run: Callable[[], object], seconds: float) -> float:
    """Return how often each second `run` runs when nothing else is done."""
    count = 0
    started_s = time.perf_counter()
    while (elapsed_s := time.perf_counter() - started_s) < seconds:
        run()
        count += 1
    return count / elapsed_s


def compare_models(
    first: Path, second: Path, config: ModelConfig, *, rounds: int, seconds: float
) -> float:
    """Return the time of one run of the first model over that of the second, by turns.

    Only the interpreter is used, so that a model needs no labels for it.
    """
    models = [
        load_model(path, runtime=config.runtime, threads=config.threads).interpreter
        for path in (first, second)
    ]
    for model in models:
        for details in model.get_input_details():
            model.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        model.invoke()
    ratios = []
    for turn in range(rounds):
        order = (0, 1) if turn % 2 else (1, 0)
        rates = {index: rate_hz(models[index].invoke, seconds) for index in order}
        ratios.append(rates[1] / rates[0])
    return statistics.median(ratios)


def measure_camera(config: Config, broker: LocalBroker, *, seconds: float) -> Throughput:
    """Run the pipeline on the configured camera. Raises CameraError where that fails."""
    engine = compose.build_engine(config)
    latencies: list[Latency] = []
    with _Bench(config, engine, broker) as bench:
        rate = bench.pipeline_hz(compose.build_camera(config.camera), seconds, latencies)
        published, acknowledged = bench.drain()
    alone = rate_hz(engine.classifier.invoke_again, seconds)
    return Throughput(
        width=0,
        height=0,
        threads=engine.classifier.threads,
        bare_hz=alone,
        pipeline_hz=rate,
        ratio=rate / alone,
        rounds=(rate / alone,),
        stages=stage_percentiles(latencies),
        published=published,
        acknowledged=acknowledged,
    )


def _camera(frames: Sequence[Pixels]) -> Camera:
    return MemoryCamera(camera_id="memory", pictures=frames, count=None)


class _Bench:
    """A publisher on a session of its own, as the daemon has one."""

    def __init__(self, config: Config, engine: compose.Engine, broker: LocalBroker) -> None:
        self._inference = Inference(
            preprocessor=engine.preprocessor,
            classifier=engine.classifier,
            model=engine.model.identity_later(),
        )
        self._deadline_s = config.camera.deadline_s
        self._nice = compose.around_interpreter_nice(config.model)
        self._session = Session(
            broker=Broker(
                host=LOOPBACK,
                port=broker.port,
                protocol="5" if broker.protocol == "5" else "3.1.1",
                client_id="edgeclassifier-bench",
                username=None,
                password=None,
                tls=None,
                keepalive_s=30,
            ),
            buffer=MemoryBuffer(max_bytes=_BUFFER_BYTES),
            reconnect_min_s=0.1,
            reconnect_max_s=1.0,
            max_queued=1000,
            will=None,
            nice=self._nice,
        )
        self._publisher = Publisher(
            publish=self._session.publish,
            payloads=Payloads(camera="memory"),
            debounce=Debounce(threshold=config.state.threshold, hold_s=config.state.hold_s),
            clock_synchronized=System().clock_synchronized,
            settings=PublisherSettings(
                topics=Topics(root="edgeclassifier", device="bench", camera="memory"),
                max_rate_hz=0,
                heartbeat_s=config.state.heartbeat_s,
                image_max_rate_hz=None,
                image_quality=config.image.quality,
            ),
        )

    def __enter__(self) -> "_Bench":
        self._session.start()
        deadline_s = time.monotonic() + _DRAIN_S
        while not self._session.connected:
            if time.monotonic() > deadline_s:
                raise BrokerError(f"the local broker does not answer: {self._session.last_error}")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.stop(last=None, timeout_s=1.0)

    def pipeline_hz(self, camera: Camera, seconds: float, latencies: list[Latency]) -> float:
        """Return how many results each second come through, after the first."""
        # In a thread of its own, which takes its niceness with it when it ends.
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(self._measure, camera, seconds, latencies).result()

    def _measure(self, camera: Camera, seconds: float, latencies: list[Latency]) -> float:
        settings = CameraSettings(make=lambda: camera, deadline_s=self._deadline_s)
        pipeline = Pipeline(camera=settings, nice=self._nice)
        pipeline.open()
        pipeline.attach(self._inference)
        arrived_s: list[float] = []

        def enough() -> bool:
            return bool(arrived_s) and arrived_s[-1] - arrived_s[0] >= seconds

        for result in pipeline.results(stopped=enough):
            self._publisher.handle(result)
            latencies.append(result.latency)
            arrived_s.append(time.perf_counter())
        few = 2
        if len(arrived_s) < few:
            raise CameraError("too few frames to measure a rate: --seconds is too short for them")
        return (len(arrived_s) - 1) / (arrived_s[-1] - arrived_s[0])

    def drain(self) -> tuple[int, int]:
        """Wait until the broker has confirmed everything; return published, acknowledged."""
        deadline_s = time.monotonic() + _DRAIN_S
        while self._session.pending and time.monotonic() < deadline_s:
            time.sleep(0.01)
        published, acknowledged = self._session.published, self._session.acknowledged
        if self._session.pending or self._session.dropped:
            raise BrokerError(f"{published} messages published, {acknowledged} acknowledged")
        return published, acknowledged
