"""Keeps an accelerator at work: starts its process, notices every fault, and gets it back."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgeclassifier.accelerator.faults import Failure
from edgeclassifier.accelerator.process import Gone, WorkerProcess
from edgeclassifier.accelerator.record import Record
from edgeclassifier.contract.status import AcceleratorFault, AcceleratorStatus
from edgeclassifier.engine.inference import Unavailable
from edgeclassifier.engine.tensors import TensorLayout
from edgeclassifier.host.backoff import Backoff
from edgeclassifier.host.wakeup import WakeUp

log = logging.getLogger(__name__)

_SLOW_ANSWERS = 5
"""So many in a row are not the machine's hiccup."""
_REAP_S = 5.0
"""A process that is not gone so long after SIGKILL is stuck in the kernel."""


class Accelerator:
    """Runs a model with a delegate in a process of its own, and survives whatever happens there.

    run() is for one thread at a time, everything else for any. A process that failed is killed,
    and the next one started after a pause that grows with every failure.
    """

    def __init__(
        self,
        *,
        name: str,
        model: Path,
        delegate: str | None,
        options: Mapping[str, str],
        runtime: str,
        threads: int,
        expected: TensorLayout,
        deadline_s: float,
        load_deadline_s: float,
        slow_s: float,
        retry_min_s: float,
        retry_max_s: float,
        steady_s: float = 60.0,
        on_change: Callable[[AcceleratorStatus], None] | None = None,
    ) -> None:
        """Say what to run; `name` is for the log.

        `delegate` is a library as dlopen() takes it, `options` are its own, and without one the
        process runs the model on the CPU. `expected` is the layout of the CPU's model, which the
        accelerator stands in for. An answer takes at most `deadline_s`, and is too slow after
        `slow_s` (0: never). Once it worked for `steady_s` the pauses are short again.

        `on_change` is called in a thread of this object whenever state or fault change; it must
        be quick, and must not raise.
        """
        if not (min(deadline_s, load_deadline_s) > 0 and 0 <= slow_s < deadline_s):
            raise ValueError(f"not 0 <= {slow_s} < {deadline_s}, or not 0 < {load_deadline_s}")
        self.name = name
        self._job: dict[str, Any] = {
            "model": model,
            "delegate": delegate,
            "options": options,
            "runtime": runtime,
            "threads": threads,
            "layout": expected,
            "slow_s": slow_s,
        }
        self._deadline_s = deadline_s
        self._load_deadline_s = load_deadline_s
        self._slow_s = slow_s
        self._steady_s = steady_s
        self._backoff = Backoff(min_s=retry_min_s, max_s=retry_max_s)
        self._record = Record(name=name, on_change=on_change)
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)
        self._stopping = False
        self._wake_up = WakeUp()
        self._using = threading.Lock()
        """Held while a request is under way, whose process must not be closed."""
        self._serving: WorkerProcess | None = None
        self._verdict: Failure | None = None
        self._slow_answers = 0

    @property
    def status(self) -> AcceleratorStatus:
        """How it does now."""
        return self._record.status

    def start(self) -> None:
        """Begin to load in the background. The process takes the niceness of the caller."""
        self._thread.start()

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Return what the model's output stores for `tensor`, flat, as Classifier.run() does.

        Raises Unavailable at once while it is not ready, and within `deadline_s` where it fails.
        """
        with self._using:
            worker = self._serving
            if worker is None:
                raise Unavailable
            started_s = time.monotonic()
            try:
                stored = worker.run(tensor, timeout_s=self._deadline_s)
            except Failure as failure:
                self._condemn(failure)
                raise Unavailable from None
            except Gone:
                # The supervising thread notices that, too, and finds out why.
                self._serving = None
                raise Unavailable from None
            self._watch_pace(time.monotonic() - started_s)
            return stored

    def stop(self, *, timeout_s: float) -> None:
        """Kill the process and end. One that cannot be killed is left behind after `timeout_s`."""
        self._stopping = True
        self._wake_up.ring()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("%s: its process does not end and is left behind", self.name)
            return
        self._record.stopped()
        self._wake_up.close()

    def _watch_pace(self, took_s: float) -> None:
        self._slow_answers = self._slow_answers + 1 if 0 < self._slow_s < took_s else 0
        if self._slow_answers >= _SLOW_ANSWERS:
            reason = f"{_SLOW_ANSWERS} answers in a row took more than {self._slow_s:g} s each"
            self._condemn(Failure("slow", f"{reason}, the last one {took_s:.2f} s"))

    def _condemn(self, failure: Failure) -> None:
        self._serving = None
        self._verdict = failure.on_its_own()
        self._wake_up.ring()

    def _supervise(self) -> None:
        try:
            while not self._stopping:
                failure = self._live()
                if failure is not None:
                    unfit = failure.fault == "unfit"
                    self._pause(self._backoff.slow_s() if unfit else self._backoff.next_s())
        finally:
            self._record.stopped()

    def _live(self) -> Failure | None:
        """Lead one process from its start to its end; return why it ended, None if on request."""
        try:
            worker = WorkerProcess(**self._job)
        except OSError as error:
            failure = Failure("error", f"its process cannot be started: {error.strerror}")
            self._record.failed(failure)
            return failure
        end: Failure | None = None
        fault: AcceleratorFault = "crashed"
        try:
            if self._load(worker):
                fault = "lost"
                self._serve(worker)
        except Failure as failure:
            end = failure.on_its_own()
        except Gone:
            end = worker.obituary(fault, timeout_s=_REAP_S)
        finally:
            worker.kill()
            if end is not None:
                self._record.failed(end)
            self._bury(worker)
        return end

    def _load(self, worker: WorkerProcess) -> bool:
        """Wait until the process is ready; say whether it is, which it is not after stop()."""
        deadline_s = time.monotonic() + self._load_deadline_s
        while not self._stopping:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise Failure("hung", f"not ready within {self._load_deadline_s:g} s")
            answered = worker.watch(self._wake_up.fileno(), timeout_s=left_s, for_answer=True)
            self._wake_up.clear()
            if answered:
                worker.take_answer(timeout_s=left_s)
                return True
        return False

    def _serve(self, worker: WorkerProcess) -> None:
        """Let the process answer requests until it fails or stop() is called."""
        self._verdict = None
        self._slow_answers = 0
        self._serving = worker
        self._record.ready()
        steady_at_s: float | None = time.monotonic() + self._steady_s
        while not self._stopping:
            left_s = None if steady_at_s is None else max(0.0, steady_at_s - time.monotonic())
            worker.watch(self._wake_up.fileno(), timeout_s=left_s, for_answer=False)
            self._wake_up.clear()
            if self._verdict is not None:
                raise self._verdict
            if steady_at_s is not None and time.monotonic() >= steady_at_s:
                self._backoff.reset()
                steady_at_s = None

    def _bury(self, worker: WorkerProcess) -> None:
        with self._using:
            self._serving = None
        worker.close()
        if worker.ended(timeout_s=_REAP_S):
            return
        reason = (
            f"its process {worker.pid} cannot be killed, it is stuck in the kernel: "
            "unplug the device, or restart the machine"
        )
        self._record.worse(reason)
        # A second one would only get stuck on the same device.
        while not (self._stopping or worker.ended(timeout_s=1.0)):
            pass

    def _pause(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while not self._stopping and (left_s := until_s - time.monotonic()) > 0:
            self._wake_up.wait(left_s)
