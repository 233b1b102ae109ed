"""The daemon as a process: its start-up and its memory, beside those of the bare interpreter."""

import json
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeclassifier.compose.golden import SAMPLE_PICTURES
from edgeclassifier.config import Config
from edgeclassifier.errors import BrokerError, InferenceError
from edgeclassifier.host import children
from edgeclassifier.host.localbroker import LOOPBACK, LocalBroker

_DEVICE = "bench"
_FIRST_S = 120.0
_STOP_S = 10.0
_PREDICTIONS_FOR_MEMORY = 50

# What any program has to do before its first answer, and nothing else.
_BARE = """
import json, sys, time
started = time.perf_counter()
module, path, threads, runs = sys.argv[1:]
import importlib
import numpy
interpreter = importlib.import_module(module).Interpreter(path, num_threads=int(threads))
interpreter.allocate_tensors()
details = interpreter.get_input_details()[0]
interpreter.set_tensor(details["index"], numpy.zeros(details["shape"], details["dtype"]))
interpreter.invoke()
seconds = time.perf_counter() - started
for _ in range(int(runs)):
    interpreter.invoke()
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
print(json.dumps({"seconds": seconds, "peak_bytes": peak * 1024}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Medians over several starts of each."""

    bare_start_s: float
    """Import, load and first invoke, inside the process."""
    daemon_start_s: float
    """From the start of the process until a subscriber has the first prediction."""
    start_ratio: float
    bare_peak_bytes: int
    daemon_peak_bytes: int

    @property
    def peak_above_bytes(self) -> int:
        """What the daemon needs beyond the bare interpreter."""
        return self.daemon_peak_bytes - self.bare_peak_bytes


def measure_processes(
    config: Config, broker: LocalBroker, *, model: Path, module: str, threads: int, starts: int
) -> Processes:
    """Start both by turns, `starts` times. Raises BrokerError if the daemon says nothing."""
    bare: list[dict[str, Any]] = []
    ours: list[tuple[float, int]] = []
    for _ in range(starts):
        bare.append(_run_bare(module, model, threads))
        ours.append(_run_daemon(config, broker, threads))
    bare_start_s = statistics.median(each["seconds"] for each in bare)
    daemon_start_s = statistics.median(seconds for seconds, _ in ours)
    ratios = [start[0] / alone["seconds"] for start, alone in zip(ours, bare, strict=True)]
    return Processes(
        bare_start_s=bare_start_s,
        daemon_start_s=daemon_start_s,
        start_ratio=statistics.median(ratios),
        bare_peak_bytes=int(statistics.median(each["peak_bytes"] for each in bare)),
        daemon_peak_bytes=int(statistics.median(peak for _, peak in ours)),
    )


def _run_bare(module: str, model: Path, threads: int) -> dict[str, Any]:
    command = [sys.executable, "-c", _BARE, module, str(model), str(threads)]
    outcome = children.run([*command, str(_PREDICTIONS_FOR_MEMORY)], timeout_s=_FIRST_S)
    if not outcome.succeeded:
        raise InferenceError(f"{model}: the bare interpreter failed: {outcome.last_words}")
    measured: dict[str, Any] = json.loads(outcome.output)
    return measured


def _run_daemon(config: Config, broker: LocalBroker, threads: int) -> tuple[float, int]:
    settings = {
        "device.id": _DEVICE,
        "camera.source": "replay",
        "camera.replay.path": SAMPLE_PICTURES,
        "camera.replay.rate_hz": 0.0,
        "model.name": config.model.name,
        "model.labels": config.model.labels,
        "model.store": config.model.store,
        "model.runtime": config.model.runtime,
        "model.threads": threads,
        "model.mean": list(config.model.mean),
        "model.std": list(config.model.std),
        "model.channels": config.model.channels,
        "model.input_size": config.model.input_size,
        "mqtt.host": LOOPBACK,
        "mqtt.port": broker.port,
        "mqtt.protocol": broker.protocol,
        "mqtt.max_rate_hz": 0.0,
        "log.level": "error",
    }
    with _Counter(broker.port) as received:
        started_s = time.perf_counter()
        with children.daemon(settings, stop_timeout_s=_STOP_S) as process:
            received.wait(1, _FIRST_S)
            first_s = received.first_s - started_s
            received.wait(_PREDICTIONS_FOR_MEMORY, _FIRST_S)
            peak_bytes = _peak_bytes(process.pid)
    return first_s, peak_bytes


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise BrokerError("the daemon ended before it was measured")


class _Counter:
    """A subscriber that counts predictions and remembers when the first one came."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._port = port
        self._changed = threading.Condition()
        self._count = 0
        self.first_s = 0.0
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._handle

    def __enter__(self) -> "_Counter":
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect(LOOPBACK, self._port)
        self._client.loop_start()
        self._client.subscribe(f"edgeclassifier/{_DEVICE}/+/predictions", qos=1)
        if not subscribed.wait(_STOP_S):
            raise BrokerError("the local broker does not answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait(self, count: int, timeout_s: float) -> None:
        """Wait for `count` predictions. Raises BrokerError if they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= count, timeout_s):
                raise BrokerError(f"{self._count} of {count} predictions arrived")

    def _handle(self, *_: object) -> None:
        now_s = time.perf_counter()
        with self._changed:
            self._count += 1
            self.first_s = self.first_s or now_s
            self._changed.notify_all()
