"""The model in the process that a delegate runs in, beside the same model in this process."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.accelerator.link import Job
from edgeclassifier.accelerator.supervisor import Accelerator, attempt
from edgeclassifier.bench.rig import MemoryCamera, Rig, sample_frames
from edgeclassifier.bench.throughput import rate_hz
from edgeclassifier.compose.engine import Engine, build_engine
from edgeclassifier.config import Config
from edgeclassifier.contract.status import AcceleratorStatus
from edgeclassifier.engine.inference import Unavailable
from edgeclassifier.errors import InferenceError
from edgeclassifier.host.localbroker import LocalBroker

_LOAD_S = 120.0
_ANSWER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Answers each second, with the interpreter in this process and in one of its own."""

    threads: int
    inside_hz: float
    isolated_hz: float
    ratio: float
    """The median over the rounds of isolated / inside within one round."""
    rounds: tuple[float, ...]
    pipeline_ratio: float
    """The same for the whole pipeline."""


def measure_isolation(
    config: Config, broker: LocalBroker, *, size: tuple[int, int], rounds: int, seconds: float
) -> Isolation:
    """Let both take turns on the CPU, `rounds` times for `seconds` each: alone, then the pipeline.

    The frames of the pipeline are of `size`, width and height. Raises InferenceError if the process
    does not start, or ends.
    """
    engine = build_engine(config)
    run = engine.classifier.run
    _crop, tensor = engine.preprocessor(np.zeros((64, 64, 3), np.uint8))
    frames = sample_frames(*size)
    with _in_a_process(engine) as accelerator, Rig(config, engine, broker) as rig:

        def alone_hz(isolated: bool, length_s: float) -> float:
            return rate_hz(partial(accelerator.run if isolated else run, tensor), length_s)

        def pipeline_hz(isolated: bool, length_s: float) -> float:
            used = _Borrowed(accelerator) if isolated else None
            return rig.pipeline_hz(MemoryCamera(frames=frames), length_s, [], accelerator=used)

        measured = []
        for measure in (alone_hz, pipeline_hz):
            for isolated in (False, True):
                measure(isolated, min(seconds, 0.5))
            # Every other round in the opposite order, so that a drift of the machine cancels out.
            orders = ((False, True), (True, False)) * rounds
            measured.append(
                [{each: measure(each, seconds) for each in order} for order in orders[:rounds]]
            )
        rig.drain()
        if accelerator.status.state != "ready":
            raise Unavailable  # the pipeline went on in this process
    alone, pipeline = measured
    ratios, pipeline_ratios = (
        tuple(each[True] / each[False] for each in turns) for turns in (alone, pipeline)
    )
    return Isolation(
        threads=engine.classifier.threads,
        inside_hz=statistics.median(each[False] for each in alone),
        isolated_hz=statistics.median(each[True] for each in alone),
        ratio=statistics.median(ratios),
        rounds=ratios,
        pipeline_ratio=statistics.median(pipeline_ratios),
    )


class _Borrowed:
    """An accelerator that is started before the pipeline is, and stays when that ends."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.name = accelerator.name
        self._accelerator = accelerator

    @property
    def status(self) -> AcceleratorStatus:
        return self._accelerator.status

    def start(self) -> None:
        pass

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        return self._accelerator.run(tensor)

    def stop(self, *, timeout_s: float) -> None:
        pass


@contextmanager
def _in_a_process(engine: Engine) -> Iterator[Accelerator]:
    def build(on_change: Callable[[AcceleratorStatus], None]) -> Accelerator:
        return Accelerator(
            name="isolated",
            job=Job(
                model=engine.model.path,
                delegate=None,
                options={},
                runtime=engine.classifier.runtime.name,
                threads=engine.classifier.threads,
                layout=engine.classifier.layout,
                slow_s=0.0,
            ),
            deadline_s=_ANSWER_S,
            load_deadline_s=_LOAD_S,
            retry_min_s=_LOAD_S,
            retry_max_s=_LOAD_S,
            on_change=on_change,
        )

    with attempt(build) as (accelerator, status):
        if status.state != "ready":
            raise InferenceError(f"the model does not run in another process: {status.reason}")
        try:
            yield accelerator
        except Unavailable:
            reason = accelerator.status.reason or "it ended"
            raise InferenceError(f"the model in another process failed: {reason}") from None
