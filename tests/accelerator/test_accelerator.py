"""An accelerator with every fault there is: a real delegate, in a real process, on real models."""

import contextlib
import dataclasses
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Figures
from numpy.typing import NDArray
from support.delegate.build import Device, build, needs_gcc, tiny_models
from support.open_files import open_files
from support.shared_data import FOLDER, needs_shared_data
from support.tiny_models import Operation, Tensor, classifier, model

from edgeclassifier.accelerator import link
from edgeclassifier.accelerator.link import Failure, Job
from edgeclassifier.accelerator.process import WorkerProcess
from edgeclassifier.accelerator.supervisor import Accelerator, attempt
from edgeclassifier.contract.status import AcceleratorFault, AcceleratorState, AcceleratorStatus
from edgeclassifier.engine.inference import Unavailable
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.engine.tensors import TensorLayout
from edgeclassifier.errors import ThreadDiedError
from edgeclassifier.host import threads
from edgeclassifier.host.backoff import Backoff

pytestmark = needs_gcc

PATIENCE_S = 30.0
"""Far more than any of this takes; a deadline for tests that would otherwise hang."""
SCALE = 1 / 256


class Bench(Device):
    """A device to break and to repair, and what it takes to start accelerators on it."""

    def __init__(self, folder: Path, library: Path) -> None:
        super().__init__(folder)
        self.library = library
        self.model, self.twin = tiny_models(folder)
        self.layout = TensorLayout.of(load_model(self.twin).interpreter)
        self.changes: list[AcceleratorStatus] = []

    @property
    def job(self) -> Job:
        return Job(
            model=self.model,
            delegate=str(self.library),
            options=self.options,
            runtime="auto",
            threads=1,
            layout=self.layout,
            slow_s=0.0,
        )

    def settings(self, **others: Any) -> dict[str, Any]:
        """Return what to build an accelerator with; `others` replace parts of it, or of its job."""
        of_job = {each.name for each in dataclasses.fields(Job)} & others.keys()
        return {
            "name": "test",
            "job": dataclasses.replace(self.job, **{each: others.pop(each) for each in of_job}),
            "deadline_s": PATIENCE_S,
            "load_deadline_s": PATIENCE_S,
            "retry_min_s": 0.01,
            "retry_max_s": 0.05,
            "on_change": self.changes.append,
        } | others

    @contextlib.contextmanager
    def started(self, **others: Any) -> Iterator[Accelerator]:
        accelerator = Accelerator(**self.settings(**others))
        accelerator.start()
        try:
            yield accelerator
        finally:
            accelerator.stop(timeout_s=PATIENCE_S)
            assert accelerator.status.state == "stopped"

    @contextlib.contextmanager
    def ready(self, **others: Any) -> Iterator[Accelerator]:
        with self.started(**others) as accelerator:
            wait_for(accelerator, "ready")
            yield accelerator


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("delegate"))


@pytest.fixture
def bench(tmp_path: Path, library: Path) -> Bench:
    return Bench(tmp_path, library)


def wait_until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.002)


def wait_for(
    accelerator: Accelerator, state: AcceleratorState, fault: AcceleratorFault | None = None
) -> AcceleratorStatus:
    def reached() -> bool:
        status = accelerator.status
        return status.state == state and (fault is None or status.fault == fault)

    wait_until(reached, lambda: f"not {state} {fault}: {accelerator.status}")
    return accelerator.status


def wait_for_return(accelerator: Accelerator, number: int) -> None:
    """Wait until it came back for the `number`th time."""
    wait_until(lambda: accelerator.status.returns == number, lambda: accelerator.status)


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((1, 2, 2, 3), value, np.uint8)


def assert_works(accelerator: Accelerator) -> None:
    value = random.randrange(256)
    assert accelerator.run(picture(value)).tolist() == Device.answer(value, 12)


def assert_fails(accelerator: Accelerator) -> None:
    with pytest.raises(Unavailable):
        accelerator.run(picture(1))


def pid_of_worker(accelerator: Accelerator) -> int:
    pid = accelerator.worker_pid
    assert pid is not None
    return pid


def stat_of(pid: int) -> list[str]:
    """Return the fields of a process from its state on; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return stat_of(pid)[:1] not in ([], ["Z"], ["X"])


def ticks_of(pid: int) -> int:
    """Return the CPU time of a process in user mode, in clock ticks."""
    return int(stat_of(pid)[11])


def children() -> set[str]:
    """Processes that this one started, zombies included."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


def test_each_input_arrives_and_its_own_output_comes_back(bench: Bench) -> None:
    with bench.ready() as accelerator:
        assert accelerator.status == AcceleratorStatus(state="ready")
        answers = [accelerator.run(picture(value)) for value in range(256)]
    assert [each.tolist() for each in answers] == [Device.answer(value, 12) for value in range(256)]
    assert answers[0].dtype == np.uint8
    assert answers[0].shape == (12,)


def test_without_a_delegate_the_process_runs_the_model_on_the_cpu(bench: Bench) -> None:
    interpreter = load_model(bench.twin).interpreter
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 20
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).reshape(-1)
    with bench.ready(delegate=None, model=bench.twin) as accelerator:
        assert accelerator.run(pixels).tolist() == expected.tolist()


@needs_shared_data
def test_a_compiled_model_matches_its_cpu_twin_and_runs(bench: Bench) -> None:
    name = "mobilenet_v1_0.25_128_quant"
    twin = load_model(FOLDER / "models" / f"{name}.tflite").interpreter
    compiled = FOLDER / "models" / f"{name}_edgetpu.tflite"
    with bench.ready(model=compiled, layout=TensorLayout.of(twin)) as accelerator:
        stored = accelerator.run(np.full((1, 128, 128, 3), 9, np.uint8))
    assert stored.tolist() == Device.answer(9, 1001)


SERVING_FAULTS = [
    ("run abort", "lost", "killed by SIGABRT: F device.cc:857] transfer on tag 2 failed"),
    ("run segfault", "lost", "killed by SIGSEGV"),
    ("run exit", "lost", "exit code 3: out of order"),
    ("run fail", "error", "the device refuses the inference"),
    ("run hang", "hung", "no answer within 0.3 s"),
    ("run spin", "hung", "no answer within 0.3 s"),
]


@pytest.mark.parametrize(("order", "fault", "words"), SERVING_FAULTS)
def test_a_fault_while_it_serves_is_told_and_it_comes_back(
    bench: Bench, order: str, fault: AcceleratorFault, words: str
) -> None:
    # Only what hangs waits for its deadline.
    deadline_s = 0.3 if fault == "hung" else PATIENCE_S
    with bench.ready(deadline_s=deadline_s, load_deadline_s=1.5) as accelerator:
        assert_works(accelerator)
        # On a busy machine its first try to load may have taken too long.
        before, seen = accelerator.status, len(bench.changes)
        bench.act(order)
        assert_fails(accelerator)
        wait_until(lambda: len(bench.changes) > seen, lambda: accelerator.status)
        status = bench.changes[seen]
        assert (status.state, status.fault) == ("waiting", fault)
        assert words in (status.reason or "")
        assert "\n" not in (status.reason or "")
        more = before.failures + 2
        wait_until(lambda: accelerator.status.failures >= more, lambda: accelerator.status)
        assert_fails(accelerator)  # its trial failed: it is not offered again
        bench.mend()
        status = wait_for(accelerator, "ready")
        assert_works(accelerator)
        assert (status.fault, status.reason, status.returns) == (None, None, before.returns + 1)


LOADING_FAULTS = [
    ("load fail", "absent", "libtestdelegate.so finds no device"),
    ("load abort", "crashed", "killed by SIGABRT: F device.cc:857] transfer on tag 2 failed"),
    ("load segfault", "crashed", "killed by SIGSEGV"),
    ("load hang", "hung", "not ready within 1.5 s"),
    ("load exit", "crashed", "exit code 3: out of order"),
    ("prepare fail", "error", "the device refuses the model"),
    ("prepare abort", "crashed", "killed by SIGABRT"),
    ("run abort", "crashed", "killed by SIGABRT"),
    ("run fail 1", "error", "the device refuses the inference"),
    ("run hang", "hung", "not ready within 1.5 s"),
    ("run slow 60", "slow", "more than 0.05 s"),
]


@pytest.mark.parametrize(("order", "fault", "words"), LOADING_FAULTS)
def test_a_fault_at_the_start_is_told_and_it_appears_later(
    bench: Bench, order: str, fault: AcceleratorFault, words: str
) -> None:
    bench.act(order)
    load_deadline_s = 1.5 if fault == "hung" else PATIENCE_S
    with bench.started(load_deadline_s=load_deadline_s, slow_s=0.05) as accelerator:
        status = wait_for(accelerator, "waiting")
        assert status.fault == fault
        assert words in (status.reason or "")
        assert_fails(accelerator)
        bench.mend()
        assert wait_for(accelerator, "ready").returns == 1
        assert_works(accelerator)


def test_a_library_that_is_not_there_is_absent_until_it_is(bench: Bench, tmp_path: Path) -> None:
    library = tmp_path / "later.so"
    with bench.started(delegate=str(library)) as accelerator:
        status = wait_for(accelerator, "waiting", "absent")
        assert "later.so: cannot open shared object file" in (status.reason or "")
        library.symlink_to(bench.library)
        wait_for(accelerator, "ready")
        assert_works(accelerator)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model": Path("nowhere.tflite")}, "nowhere.tflite: no such model file"),
        ({"delegate": "libm.so.6"}, "libm.so.6 is no TFLite delegate"),
        ({"runtime": "nonsense"}, "no TFLite runtime"),
    ],
)
def test_what_only_a_person_can_fix_is_told_and_not_tried_again_soon(
    bench: Bench, wrong: dict[str, Any], words: str
) -> None:
    with bench.started(**wrong, retry_max_s=100.0) as accelerator:
        assert words in (wait_for(accelerator, "waiting", "unfit").reason or "")
        time.sleep(0.5)
        assert accelerator.status.failures == 1


@pytest.mark.parametrize(
    ("twin", "words"),
    [
        (
            classifier("uint8", shape=(1, 1, 4, 3), scale=SCALE, last="SOFTMAX"),
            "input uint8 1x2x2x3 (scale 0.00390625, zero point 0) instead of uint8 1x1x4x3",
        ),
        (classifier("int8", scale=SCALE, last="SOFTMAX"), "instead of int8 1x2x2x3"),
        (classifier("uint8", scale=0.5, last="SOFTMAX"), "instead of uint8 1x2x2x3 (scale 0.5"),
        (classifier("uint8", scale=SCALE, zero_point=3), "zero point 0) instead of"),
        (
            model(
                [
                    Tensor(shape=(1, 2, 2, 3), dtype="uint8", scale=SCALE),
                    Tensor(shape=(3, 4), dtype="uint8", scale=SCALE),
                ],
                [Operation(name="RESHAPE", input=0, output=1)],
            ),
            "output uint8 1x12 (scale 0.00390625, zero point 0) instead of uint8 3x4",
        ),
    ],
)
def test_a_model_that_does_not_match_its_cpu_twin_is_never_offered(
    bench: Bench, twin: bytes, words: str
) -> None:
    bench.twin.write_bytes(twin)
    layout = TensorLayout.of(load_model(bench.twin).interpreter)
    with bench.started(layout=layout, retry_max_s=100.0) as accelerator:
        reason = wait_for(accelerator, "waiting", "unfit").reason or ""
        assert "tiny_edgetpu.tflite does not match its CPU twin: " in reason
        assert words in reason
        assert_fails(accelerator)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_death_is_noticed_while_nobody_asks(bench: Bench, number: signal.Signals) -> None:
    with bench.ready() as accelerator:
        os.kill(pid_of_worker(accelerator), number)
        wait_for_return(accelerator, 1)
        assert bench.changes[1].fault == "lost"
        assert f"killed by {number.name}" in (bench.changes[1].reason or "")
        assert_works(accelerator)


def test_a_process_that_is_stopped_counts_as_hung(bench: Bench) -> None:
    with bench.ready(deadline_s=0.3) as accelerator:
        os.kill(pid_of_worker(accelerator), signal.SIGSTOP)
        assert_fails(accelerator)
        wait_for_return(accelerator, 1)
        assert bench.changes[1].fault == "hung"
        assert_works(accelerator)


def test_several_slow_answers_in_a_row_are_a_fault_and_are_answers_still(bench: Bench) -> None:
    with bench.ready(slow_s=0.05) as accelerator:
        for _ in range(3):  # never enough in a row
            bench.act("run slow 60")
            for _ in range(4):
                assert_works(accelerator)
            bench.mend()
            assert_works(accelerator)
        assert accelerator.status.failures == 0
        bench.act("run slow 60")
        for _ in range(5):
            assert_works(accelerator)
        assert_fails(accelerator)
        status = wait_for(accelerator, "waiting", "slow")
        assert status.failures >= 1
        bench.mend()
        wait_for(accelerator, "ready")
        assert_works(accelerator)


def test_slow_answers_are_none_of_its_business_without_a_limit(bench: Bench) -> None:
    bench.act("run slow 60")
    with bench.ready(slow_s=0.0) as accelerator:
        for _ in range(8):
            assert_works(accelerator)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_group_do_not_end_the_process(
    bench: Bench, signal_number: signal.Signals
) -> None:
    with bench.ready() as accelerator:
        os.kill(pid_of_worker(accelerator), signal_number)
        assert_works(accelerator)
        assert accelerator.status.failures == 0


def test_changes_are_told_once_and_in_order(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with bench.ready() as accelerator:
        bench.act("load fail")
        os.kill(pid_of_worker(accelerator), signal.SIGKILL)
        wait_until(lambda: accelerator.status.failures >= 4, lambda: accelerator.status)
        bench.mend()
        wait_for(accelerator, "ready")
    assert [(each.state, each.fault) for each in bench.changes] == [
        ("ready", None),
        ("waiting", "lost"),
        ("waiting", "absent"),
        ("ready", None),
        ("stopped", None),
    ]
    told = [each.getMessage() for each in caplog.records if "accelerator" in each.name]
    assert [each.split(":")[1].strip() for each in told] == [
        "is ready",
        "lost",
        "absent",
        "is back",
    ]


def test_the_status_is_whole_for_every_reader(bench: Bench) -> None:
    done = threading.Event()
    odd: list[AcceleratorStatus] = []
    reads = [0] * 4

    def read(accelerator: Accelerator, reader: int) -> None:
        while not done.wait(0.0002):
            status = accelerator.status
            reads[reader] += 1
            well = status.state in {"starting", "ready"}
            if well != (status.reason is None) or well != (status.fault is None):
                odd.append(status)

    with bench.ready() as accelerator:
        readers = [threading.Thread(target=read, args=(accelerator, n)) for n in range(len(reads))]
        for each in readers:
            each.start()
        for round_number in range(1, 5):
            os.kill(pid_of_worker(accelerator), signal.SIGKILL)
            wait_for_return(accelerator, round_number)
        done.set()
        for each in readers:
            each.join()
    assert odd == []
    assert min(reads) > 0


def test_random_faults_never_reach_the_caller(bench: Bench, figures: Figures) -> None:
    seed = random.randrange(1 << 32)
    figures(f"seed {seed}")
    dice = random.Random(seed)
    orders = [order for order, fault, _ in SERVING_FAULTS + LOADING_FAULTS if fault != "slow"]
    answered = 0
    with bench.ready(deadline_s=0.1, load_deadline_s=1.5) as accelerator:
        for round_number in range(1, 21):
            for _ in range(dice.randrange(4)):
                assert_works(accelerator)
                answered += 1
            bench.act(dice.choice(orders))
            if dice.random() < 0.5:
                os.kill(pid_of_worker(accelerator), dice.choice([signal.SIGKILL, signal.SIGSEGV]))
            with contextlib.suppress(Unavailable):
                for _ in range(100_000):
                    accelerator.run(picture(3))
                    if bench.changes[-1].state != "ready":
                        break
                    os.kill(pid_of_worker(accelerator), signal.SIGKILL)
            time.sleep(0.3 * dice.random())
            bench.mend()
            wait_for_return(accelerator, round_number)
        assert_works(accelerator)
        figures(f"20 faults, {accelerator.status}, {answered} answers between them")


def test_nothing_grows_over_many_lives(bench: Bench, figures: Figures) -> None:
    with bench.ready() as accelerator:
        before: tuple[int, int, int] | None = None
        for life in range(50):
            pid = pid_of_worker(accelerator)
            if life % 10 == 5:
                bench.act("run abort")
                assert_fails(accelerator)
                bench.mend()
            else:
                os.kill(pid, signal.SIGKILL)
            wait_for_return(accelerator, life + 1)
            assert_works(accelerator)
            now = open_files(), threading.active_count(), len(children())
            before = before or now
            assert all(count <= most for count, most in zip(now, before, strict=True)), now
    figures(f"files, threads, children in every one of 50 lives: {before}")


@pytest.mark.parametrize("order", ["", "load hang", "load fail"])
def test_stop_leaves_nothing(bench: Bench, order: str) -> None:
    bench.act(order)
    before = open_files(), threading.active_count(), children()
    with bench.started() as accelerator:
        if order == "load hang":
            wait_until(lambda: children() != before[2], lambda: "no process was started")
        else:
            wait_until(lambda: accelerator.status.state != "starting", lambda: accelerator.status)
    accelerator.stop(timeout_s=PATIENCE_S)  # once more does no harm
    assert_fails(accelerator)
    files, threads, processes = before
    assert open_files() <= files
    assert threading.active_count() <= threads
    assert children() == processes


def test_stop_before_start_leaves_nothing(bench: Bench) -> None:
    before = open_files()
    accelerator = Accelerator(**bench.settings())
    accelerator.stop(timeout_s=1.0)
    assert accelerator.status.state == "stopped"
    assert open_files() <= before


def test_stop_does_not_wait_for_an_answer(bench: Bench) -> None:
    outcome: list[BaseException] = []

    def ask(accelerator: Accelerator) -> None:
        try:
            accelerator.run(picture(1))
        except Unavailable as error:
            outcome.append(error)

    with bench.ready(deadline_s=1000.0) as accelerator:
        bench.act("run spin")
        pid = pid_of_worker(accelerator)
        enough = ticks_of(pid) + 5
        asking = threading.Thread(target=ask, args=(accelerator,))
        asking.start()
        wait_until(lambda: ticks_of(pid) >= enough, lambda: "no request under way")
        accelerator.stop(timeout_s=PATIENCE_S)
        asking.join(PATIENCE_S)
        assert not asking.is_alive()
    assert len(outcome) == 1


PARENT = """
import sys, time
from edgeclassifier.accelerator.link import Job
from edgeclassifier.accelerator.supervisor import Accelerator
accelerator = Accelerator(
    name="test",
    job=Job.decode(sys.argv[1]),
    deadline_s=30,
    load_deadline_s=30,
    retry_min_s=1,
    retry_max_s=1,
)
accelerator.start()
time.sleep(1000)
"""


@pytest.mark.parametrize("order", ["", "load hang", "load spin", "run hang"])
def test_a_killed_daemon_leaves_no_orphan(bench: Bench, order: str) -> None:
    bench.act(order)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, bench.job.encode()])
    try:
        workers: list[str] = []

        def find_worker() -> bool:
            for task in Path(f"/proc/{parent.pid}/task").glob("*/children"):
                workers.extend(task.read_text().split())
            return bool(workers)

        wait_until(find_worker, lambda: "no worker was started")
        worker = int(workers[0])
        # As soon as its delegate is there it does what it was told.
        maps = Path(f"/proc/{worker}/maps")
        wait_until(lambda: bench.library.name in maps.read_text(), lambda: "no delegate")
        time.sleep(0.1)
        assert runs(worker)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not runs(worker), lambda: f"{worker} is an orphan")


def test_a_process_that_cannot_be_killed_is_left_alone_and_no_other_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench.ready(deadline_s=0.1, reap_s=0.2) as accelerator:
        pid = pid_of_worker(accelerator)
        with monkeypatch.context() as immortal:
            immortal.setattr(WorkerProcess, "kill", lambda _worker: None)
            os.kill(pid, signal.SIGSTOP)  # else it would end at the end of its connection
            assert_fails(accelerator)
            wait_until(
                lambda: f"process {pid} cannot be killed" in (accelerator.status.reason or ""),
                lambda: accelerator.status,
            )
            assert len(children()) == 1
            assert_fails(accelerator)
        os.kill(pid, signal.SIGKILL)
        wait_for(accelerator, "ready")
        assert_works(accelerator)
        assert accelerator.status.failures == 1


def test_a_process_that_cannot_be_started_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    files = open_files()
    with monkeypatch.context() as full:
        full.setattr(subprocess, "Popen", refuse)
        accelerator = Accelerator(**bench.settings())
        accelerator.start()
        wait_until(lambda: accelerator.status.failures >= 3, lambda: accelerator.status)
        assert "cannot be started: Resource temporarily" in (accelerator.status.reason or "")
    wait_for(accelerator, "ready")
    assert_works(accelerator)
    accelerator.stop(timeout_s=PATIENCE_S)
    assert open_files() <= files


def test_pauses_are_short_again_only_after_it_worked_for_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    resets: list[float] = []
    monkeypatch.setattr(Backoff, "reset", lambda _backoff: resets.append(time.monotonic()))
    with bench.ready(steady_s=0.4) as accelerator:
        os.kill(pid_of_worker(accelerator), signal.SIGKILL)
        wait_for_return(accelerator, 1)
        assert resets == []
        wait_until(lambda: bool(resets), lambda: accelerator.status)
        time.sleep(0.6)
        assert len(resets) == 1


def test_a_fault_of_its_thread_is_noted_and_told_to_the_waiting_caller(bench: Bench) -> None:
    def build(on_change: Callable[[AcceleratorStatus], None]) -> Accelerator:
        def tell_and_fail(status: AcceleratorStatus) -> None:
            on_change(status)
            raise ZeroDivisionError("injected")

        return Accelerator(**bench.settings(on_change=tell_and_fail))

    with pytest.raises(ThreadDiedError, match="injected"), attempt(build) as (accelerator, status):
        assert status.state == "ready"
    assert [each.name for each in threads.take_deaths()] == ["test"]
    assert accelerator.status.state == "stopped"
    assert_fails(accelerator)
    assert children() == set()


@pytest.mark.parametrize("message", [b"", b"\xff", b"[]", b'["lost"]', b'["odd", "x"]', b"[1, 2]"])
def test_nonsense_from_the_process_is_an_error_of_it(message: bytes) -> None:
    with pytest.raises(Failure, match="nonsense") as caught:
        link.check(message)
    assert caught.value.fault == "error"


def test_a_failure_crosses_the_link_with_at_most_some_of_its_words() -> None:
    message = link.encode(Failure("hung", "long words ö " * 1000))
    assert len(message) <= link.MAX_MESSAGE_BYTES
    with pytest.raises(Failure, match="long words ö") as caught:
        link.check(message)
    assert caught.value.fault == "hung"


def test_the_process_cannot_take_the_memory_away(bench: Bench) -> None:
    with link.new_memory(bench.layout) as fd:
        for size in (0, 1 << 20):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadline_s": 0.0},
        {"load_deadline_s": 0.0},
        {"slow_s": -1.0},
        {"slow_s": 2.0, "deadline_s": 2.0},
        {"retry_min_s": 2.0, "retry_max_s": 1.0},
    ],
)
def test_contradictions_are_rejected_at_once(bench: Bench, wrong: dict[str, Any]) -> None:
    files = open_files()
    with pytest.raises(ValueError, match="not 0"):
        Accelerator(**bench.settings(**wrong))
    assert open_files() <= files
