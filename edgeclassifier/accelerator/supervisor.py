"""Keeps an accelerator at work: starts its process, notices every fault, and gets it back."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from numpy.typing import NDArray

from edgeclassifier.accelerator.link import Failure, Job
from edgeclassifier.accelerator.process import Gone, WorkerProcess
from edgeclassifier.contract.status import AcceleratorFault, AcceleratorStatus
from edgeclassifier.engine.inference import Unavailable
from edgeclassifier.host import threads
from edgeclassifier.host.backoff import Backoff
from edgeclassifier.host.wakeup import WakeUp

log = logging.getLogger(__name__)

_SLOW_ANSWERS = 5
"""This many in a row are not the machine's hiccup."""
_STOP_S = 5.0


class Accelerator:
    """Runs a model with a delegate in a process of its own, and survives whatever happens there.

    run() is for one thread at a time, everything else for any. A process that failed is killed,
    and the next one started after a pause that grows with every failure.
    """

    def __init__(
        self,
        *,
        name: str,
        job: Job,
        deadline_s: float,
        load_deadline_s: float,
        retry_min_s: float,
        retry_max_s: float,
        steady_s: float = 60.0,
        reap_s: float = 5.0,
        on_change: Callable[[AcceleratorStatus], None] | None = None,
    ) -> None:
        """Say what to run; `name` is for the log.

        An answer takes at most `deadline_s`, and getting ready at most `load_deadline_s`. Once it
        worked for `steady_s` the pauses are short again. A process that has not ended `reap_s`
        after SIGKILL is stuck in the kernel.

        `on_change` is called in a thread of this object whenever state or fault change; it must
        be quick, and must not raise.
        """
        if not (min(deadline_s, load_deadline_s) > 0 and 0 <= job.slow_s < deadline_s):
            raise ValueError(f"not 0 <= {job.slow_s} < {deadline_s}, or not 0 < {load_deadline_s}")
        self.name = name
        self.job = job
        self._deadline_s = deadline_s
        self._load_deadline_s = load_deadline_s
        self._steady_s = steady_s
        self._reap_s = reap_s
        self._backoff = Backoff(min_s=retry_min_s, max_s=retry_max_s)
        self._record = _Record(name=name, on_change=on_change)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._wake_up = WakeUp()
        self._using = threading.Lock()
        """Held while a request is under way, whose process must not be closed."""
        self._serving: WorkerProcess | None = None
        self._verdict: Failure | None = None
        self._slow_answers = 0

    @property
    def status(self) -> AcceleratorStatus:
        """What it does now, or why it does not work."""
        return self._record.status

    @property
    def worker_pid(self) -> int | None:
        """The id of the process that answers; None while none does."""
        worker = self._serving
        return None if worker is None else worker.pid

    def start(self) -> None:
        """Begin to load in the background. The process takes the niceness of the caller."""
        self._thread = threads.start(self._supervise, name=self.name)

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Return what the model's output stores for `tensor`, flat, as Classifier.run() does.

        Raises Unavailable at once while it is not ready, and within `deadline_s` if it fails.
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
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._thread is not None and self._thread.is_alive():
            log.warning("%s: its process does not end and is left behind", self.name)
            return
        self._record.stopped()
        self._wake_up.close()

    def _watch_pace(self, took_s: float) -> None:
        self._slow_answers = self._slow_answers + 1 if 0 < self.job.slow_s < took_s else 0
        if self._slow_answers >= _SLOW_ANSWERS:
            reason = f"{_SLOW_ANSWERS} answers in a row took more than {self.job.slow_s:g} s each"
            self._condemn(Failure("slow", f"{reason}, the last one {took_s:.2f} s"))

    def _condemn(self, failure: Failure) -> None:
        self._serving = None
        self._verdict = failure.without_traceback()
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
        """Start a process and look after it; return why it ended, None if stop() was called."""
        try:
            worker = WorkerProcess(self.job)
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
            end = failure.without_traceback()
        except Gone:
            end = worker.obituary(fault, timeout_s=self._reap_s)
        finally:
            worker.kill()
            if end is not None:
                self._record.failed(end)
            self._bury(worker)
        return end

    def _load(self, worker: WorkerProcess) -> bool:
        """Wait until the process is ready, or stop() is called; say whether it is ready."""
        deadline_s = time.monotonic() + self._load_deadline_s
        while not self._stopping:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise Failure("hung", f"not ready within {self._load_deadline_s:g} s")
            if worker.watch(self._wake_up, timeout_s=left_s, for_answer=True):
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
            worker.watch(self._wake_up, timeout_s=left_s, for_answer=False)
            if self._verdict is not None:
                raise self._verdict
            if steady_at_s is not None and time.monotonic() >= steady_at_s:
                self._backoff.reset()
                steady_at_s = None

    def _bury(self, worker: WorkerProcess) -> None:
        with self._using:
            self._serving = None
        worker.close()
        if worker.ended(timeout_s=self._reap_s):
            return
        reason = (
            f"its process {worker.pid} cannot be killed, it is stuck in the kernel: "
            "unplug the device, or restart the machine"
        )
        self._record.stuck(reason)
        # A second one would only get stuck on the same device.
        while not (self._stopping or worker.ended(timeout_s=1.0)):
            pass

    def _pause(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while not self._stopping and (left_s := until_s - time.monotonic()) > 0:
            self._wake_up.wait(left_s)


@contextmanager
def attempt(
    build: Callable[[Callable[[AcceleratorStatus], None]], Accelerator],
) -> Iterator[tuple[Accelerator, AcceleratorStatus]]:
    """Start what `build` makes, wait for its first status, and stop it when the context ends.

    `build` takes the accelerator's `on_change`. The first status takes as long as loading may.
    Raises ThreadDiedError if a fault ended the thread that looks after it.
    """
    outcome: SimpleQueue[AcceleratorStatus] = SimpleQueue()
    accelerator = build(outcome.put)
    accelerator.start()
    try:
        yield accelerator, outcome.get()
    finally:
        accelerator.stop(timeout_s=_STOP_S)
        threads.check()


class _Record:
    """Keeps the status, logs it and tells of its changes. One thread writes, any may read."""

    def __init__(self, *, name: str, on_change: Callable[[AcceleratorStatus], None] | None) -> None:
        self._name = name
        self._on_change = on_change
        self.status = AcceleratorStatus(state="starting")

    def ready(self) -> None:
        """Note that it works, for the first time or again."""
        before = self.status
        again = before.fault is not None
        log.info("%s: %s", self._name, "is back" if again else "is ready")
        self._set(
            AcceleratorStatus(
                state="ready", failures=before.failures, returns=before.returns + int(again)
            )
        )

    def failed(self, failure: Failure) -> None:
        """Note that it failed, or that an attempt to start it again did."""
        before = self.status
        news = before.state != "waiting" or before.fault != failure.fault
        log.log(logging.WARNING if news else logging.DEBUG, "%s: %s", self._name, failure)
        self._set(
            AcceleratorStatus(
                state="waiting",
                fault=failure.fault,
                reason=failure.reason,
                failures=before.failures + 1,
                returns=before.returns,
            )
        )

    def stuck(self, reason: str) -> None:
        """Note that it failed, and cannot even be started again for now."""
        log.error("%s: %s", self._name, reason)
        self._set(replace(self.status, reason=reason))

    def stopped(self) -> None:
        """Note that it was stopped. May be called twice."""
        self._set(replace(self.status, state="stopped"))

    def _set(self, status: AcceleratorStatus) -> None:
        before, self.status = self.status, status
        changed = (before.state, before.fault) != (status.state, status.fault)
        if changed and self._on_change is not None:
            self._on_change(status)
