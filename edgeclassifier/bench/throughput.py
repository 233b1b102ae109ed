"""The whole pipeline against the bare interpreter, by turns in one process."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeclassifier.bench.rig import MemoryCamera, Rig, sample_frames
from edgeclassifier.compose.camera import build_camera
from edgeclassifier.compose.engine import build_engine
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.contract.results import Latency
from edgeclassifier.contract.status import Percentiles
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.host.localbroker import LocalBroker
from edgeclassifier.metrics.tally import stage_percentiles


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

    Raises BrokerError if not everything that was published arrived at the broker.
    """
    engine = build_engine(config)
    bench = Rig(config, engine, broker)
    frames = sample_frames(width, height)
    bare: list[float] = []
    pipeline: list[float] = []
    latencies: list[Latency] = []
    with bench:
        bench.pipeline_hz(MemoryCamera(frames=frames), seconds=min(seconds, 0.5), latencies=[])
        for turn in range(rounds):
            # Every other round in the opposite order, so that a drift of the machine cancels out.
            if turn % 2:
                pipeline.append(bench.pipeline_hz(MemoryCamera(frames=frames), seconds, latencies))
                bare.append(rate_hz(engine.classifier.invoke_again, seconds))
            else:
                bare.append(rate_hz(engine.classifier.invoke_again, seconds))
                pipeline.append(bench.pipeline_hz(MemoryCamera(frames=frames), seconds, latencies))
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
    """Run the pipeline on the configured camera. Raises CameraError if that fails."""
    engine = build_engine(config)
    latencies: list[Latency] = []
    with Rig(config, engine, broker) as bench:
        rate = bench.pipeline_hz(build_camera(config.camera), seconds, latencies)
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
