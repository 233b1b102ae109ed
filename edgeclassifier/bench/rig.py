"""The pipeline with a publisher on a session of its own, as the daemon has them."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Self

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
from edgeclassifier.errors import BrokerError, CameraError
from edgeclassifier.host.localbroker import LOOPBACK, LocalBroker
from edgeclassifier.host.priority import be_nice
from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.capture import CameraSettings
from edgeclassifier.pipeline.intake import Lane
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.pipeline import EndOfFrames, Pipeline

_DRAIN_S = 10.0
_BUFFER_BYTES = 8 * 1024 * 1024


def sample_frames(width: int, height: int) -> list[Pixels]:
    """Return the sample pictures, scaled to cover frames of `height` x `width` x 3."""
    paths = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".jpg", ".png"})
    return [cover(load_picture(path), width, height) for path in paths]


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
        self._publisher = Publisher(
            publish=self._session.publish,
            payloads=Payloads(camera="memory"),
            label=StableLabel(state_rules(config.state, engine.classifier.names)),
            settings=PublisherSettings(
                topics=Topics(root="edgeclassifier", device="bench", camera="memory"),
                max_rate_hz=0,
                heartbeat_s=config.state.heartbeat_s,
                image_max_rate_hz=None,
                image_quality=config.image.quality,
            ),
        )

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
        inference = Inference(
            preprocessor=self._engine.preprocessor,
            classifier=self._engine.classifier,
            model=self._model,
            accelerator=accelerator,
        )
        # In a thread of its own, which takes its niceness with it when it ends.
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(self._measure, inference, camera, seconds, latencies).result()

    def _measure(
        self, inference: Inference, camera: Camera, seconds: float, latencies: list[Latency]
    ) -> float:
        settings = CameraSettings(make=lambda: camera, deadline_s=self._deadline_s)
        models = ModelSlot()
        models.load(inference)
        # The interpreter is used again as soon as the pipeline is closed.
        pipeline = Pipeline(
            camera=settings, lanes=[Lane(models=models)], nice=self._nice, join_s=_DRAIN_S
        )
        arrived_s: list[float] = []
        with closing(pipeline), suppress(EndOfFrames):
            # In this order: the interpreter's thread takes its niceness from this one.
            pipeline.open()
            be_nice(self._nice)
            while not arrived_s or arrived_s[-1] - arrived_s[0] < seconds:
                result = pipeline.next(POLL_S)
                if result is not None:
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
        published, acknowledged = self._session.status.published, self._session.acknowledged
        if self._session.pending or self._session.status.dropped:
            raise BrokerError(f"{published} messages published, {acknowledged} acknowledged")
        return published, acknowledged
