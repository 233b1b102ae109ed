"""The pipeline with a publisher on a session of its own, as the daemon has them."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from typing import NamedTuple, Self

from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.cameras import Camera, FrameFactory
from edgeclassifier.cameras.reader import POLL_S
from edgeclassifier.compose.engine import Engine, around_interpreter_nice
from edgeclassifier.compose.golden import SAMPLES
from edgeclassifier.compose.publisher import state_rules
from edgeclassifier.config import Config
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.messages import Payloads, Topics
from edgeclassifier.contract.results import Latency
from edgeclassifier.daemon.publisher import Publisher, PublisherSettings
from edgeclassifier.daemon.stable_label import StableLabel
from edgeclassifier.engine.inference import Accelerator, Inference
from edgeclassifier.engine.pictures import cover, load_picture
from edgeclassifier.engine.preprocess import Area
from edgeclassifier.errors import BrokerError, CameraError
from edgeclassifier.host.localbroker import LOOPBACK, LocalBroker
from edgeclassifier.host.priority import be_nice
from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.capture import CameraSettings
from edgeclassifier.pipeline.idle import IdleSettings
from edgeclassifier.pipeline.intake import Lane
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.pipeline import EndOfFrames, Pipeline

_DRAIN_S = 10.0
_BUFFER_BYTES = 8 * 1024 * 1024


def sample_frames(width: int, height: int) -> list[Pixels]:
    """Return the sample pictures, scaled to cover frames of `height` x `width` x 3."""
    paths = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".jpg", ".png"})
    return [cover(load_picture(path), width, height) for path in paths]


def _of_area(idle: IdleSettings | None, area: Area | None) -> IdleSettings | None:
    if idle is None or area is None:
        return idle
    return replace(idle, crop_fraction=area.crop_fraction, region=area.region)


class MemoryCamera:
    """Gives the same frames in turn, as fast as they are read."""

    live = False
    unreadable = 0

    def __init__(self, *, frames: Sequence[Pixels], count: int | None = None) -> None:
        """Take H x W x 3 in RGB; give `count` frames, or without end."""
        self._factory = FrameFactory(camera_id="memory")
        self._pixels = tuple(frames)
        self._count = count
        self._given = 0

    def open(self) -> None:
        """Begin with the first frame."""
        self._given = 0

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002  # the protocol's signature
        """Return the next frame, or None after `count` of them. Never waits."""
        if self._given == self._count:
            return None
        index = self._given % len(self._pixels)
        self._given += 1
        return self._factory.frame(self._pixels[index], origin=f"memory:{index}")

    def close(self) -> None:
        """Do nothing: it holds nothing to release."""


class Measured(NamedTuple):
    """What came through a pipeline."""

    results_hz: float
    cpu_s: float
    """Of the whole process, for each result."""


class Rig:
    """A publisher on a session of its own, as the daemon has one."""

    def __init__(self, config: Config, engine: Engine, broker: LocalBroker) -> None:
        self._engine = engine
        self._model = engine.model.identity_later()
        self._deadline_s = config.camera.deadline_s
        self._nice = around_interpreter_nice(config.model)
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
        self._config = config
        self._payloads = Payloads(camera="memory")
        self._publishers: dict[str, Publisher] = {}

    def __enter__(self) -> Self:
        self._session.start()
        deadline_s = time.monotonic() + _DRAIN_S
        while not self._session.connected:
            if time.monotonic() > deadline_s:
                raise BrokerError(
                    f"the local broker does not answer: {self._session.status.last_error}"
                )
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.stop(last=None, timeout_s=1.0)

    def pipeline_hz(
        self,
        camera: Camera,
        seconds: float,
        latencies: list[Latency],
        *,
        accelerator: Accelerator | None = None,
    ) -> float:
        """Return how many results each second come through, after the first."""
        measured = self.measure(camera, seconds, latencies=latencies, accelerator=accelerator)
        return measured.results_hz

    def measure(
        self,
        camera: Camera,
        seconds: float,
        *,
        areas: Sequence[Area | None] = (None,),
        idle: IdleSettings | None = None,
        latencies: list[Latency] | None = None,
        accelerator: Accelerator | None = None,
    ) -> Measured:
        """Let views of these areas through, with `idle` if the answers may be repeated."""
        models = ModelSlot()
        models.load(
            Inference(
                preprocessor=self._engine.preprocessor,
                classifier=self._engine.classifier,
                model=self._model,
                accelerator=accelerator,
            )
        )
        lanes = [
            Lane(
                view=str(number or ""),
                models=models,
                area=area,
                idle=_of_area(idle, area),
            )
            for number, area in enumerate(areas)
        ]
        # In a thread of its own, which takes its niceness with it when it ends.
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(
                self._measure, lanes, camera, seconds, [] if latencies is None else latencies
            ).result()

    def _publisher(self, view: str) -> Publisher:
        config = self._config
        if view not in self._publishers:
            topics = Topics(root="edgeclassifier", device="bench", camera="memory", view=view)
            self._publishers[view] = Publisher(
                publish=self._session.publish,
                payloads=self._payloads,
                label=StableLabel(state_rules(config.state, self._engine.classifier.names)),
                settings=PublisherSettings(
                    topics=topics,
                    max_rate_hz=0,
                    heartbeat_s=config.state.heartbeat_s,
                    image_max_rate_hz=None,
                    image_quality=config.image.quality,
                ),
            )
        return self._publishers[view]

    def _measure(
        self, lanes: Sequence[Lane], camera: Camera, seconds: float, latencies: list[Latency]
    ) -> Measured:
        settings = CameraSettings(make=lambda: camera, deadline_s=self._deadline_s)
        # The interpreter is used again as soon as the pipeline is closed.
        pipeline = Pipeline(camera=settings, lanes=lanes, nice=self._nice, join_s=_DRAIN_S)
        publishers = {lane.view: self._publisher(lane.view) for lane in lanes}
        arrived_s: list[float] = []
        # The first answer of each view is never a repeated one.
        uncounted, began_s = len(lanes) - 1, 0.0
        with closing(pipeline), suppress(EndOfFrames):
            # In this order: the interpreter's thread takes its niceness from this one.
            pipeline.open()
            be_nice(self._nice)
            while not arrived_s or arrived_s[-1] - arrived_s[0] < seconds:
                result = pipeline.next(POLL_S)
                if result is not None:
                    publishers[result.view].handle(result)
                    latencies.append(result.latency)
                    if uncounted:
                        uncounted -= 1
                        continue
                    began_s = began_s or time.process_time()
                    arrived_s.append(time.perf_counter())
        used_s = time.process_time() - began_s
        few = 2
        if len(arrived_s) < few:
            raise CameraError("too few frames to measure a rate: --seconds is too short for them")
        count = len(arrived_s) - 1
        return Measured(count / (arrived_s[-1] - arrived_s[0]), used_s / count)

    def drain(self) -> tuple[int, int]:
        """Wait until the broker has confirmed everything; return published, acknowledged."""
        deadline_s = time.monotonic() + _DRAIN_S
        while self._session.pending and time.monotonic() < deadline_s:
            time.sleep(0.01)
        published, acknowledged = self._session.status.published, self._session.acknowledged
        if self._session.pending or self._session.status.dropped:
            raise BrokerError(f"{published} messages published, {acknowledged} acknowledged")
        return published, acknowledged
