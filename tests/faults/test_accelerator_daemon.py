"""The daemon with an accelerator that has every fault there is, as a subscriber sees it."""

import json
import os
import random
import shutil
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import Figures
from paho.mqtt.client import Client, MQTTMessage
from support.brokers import Mosquitto, Subscriber, needs_mosquitto, wait_until
from support.contract import problems
from support.daemon import Daemon
from support.delegate.build import Device, build, needs_gcc, tiny_models
from support.device import Site
from support.shared_data import FOLDER
from support.tiny_models import Operation, Tensor, model

pytestmark = [needs_mosquitto, needs_gcc]

Payload = dict[str, Any]

NAME = "testdelegate"
RATE_HZ = 25
DEADLINE_S = 0.5
LOAD_DEADLINE_S = 2.0
SLOW_S, TOO_SLOW_MS = 0.15, 250
LONGEST_GAP_S = DEADLINE_S + 2
STOP_S = 5.0
SHARED_MODEL = FOLDER / "models" / "mobilenet_v1_0.25_128_quant.tflite"
RUNTIME_ENDS_IT = ("abort", "segfault", "exit")
HANGS = ("hang", "spin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What happens to the accelerator, and what the health then says of it."""

    order: str = ""
    """For the device, see delegate.c."""
    signal_number: signal.Signals | None = None
    """For the worker process."""
    fault: str

    def __str__(self) -> str:
        signal_name = "" if self.signal_number is None else self.signal_number.name
        return " and ".join(part for part in (signal_name, self.order) if part)


def _while_loading(action: str, fault: str) -> Trouble:
    """Have a fault that only shows in a worker that starts: the one that serves is killed."""
    return Trouble(order=action, signal_number=signal.SIGKILL, fault=fault)


TROUBLES = (
    *(Trouble(order=f"run {action}", fault="lost") for action in RUNTIME_ENDS_IT),
    *(Trouble(order=f"run {action}", fault="hung") for action in HANGS),
    Trouble(order="run fail", fault="error"),
    Trouble(order=f"run slow {TOO_SLOW_MS}", fault="slow"),
    Trouble(signal_number=signal.SIGKILL, fault="lost"),
    Trouble(signal_number=signal.SIGSTOP, fault="hung"),
    _while_loading("load fail", "absent"),
    _while_loading("prepare fail", "error"),
    *(
        _while_loading(f"{step} {action}", fault)
        for step in ("load", "prepare")
        for actions, fault in ((RUNTIME_ENDS_IT, "crashed"), (HANGS, "hung"))
        for action in actions
    ),
)


class Watcher(Subscriber):
    """Notes what a daemon publishes, and when it arrived."""

    def __init__(self, port: int, topic: str) -> None:
        super().__init__(port, topic)
        self.by_kind: dict[str, list[Payload]] = {
            kind: [] for kind in ("predictions", "state", "event", "health", "info")
        }
        self.arrivals_s: list[float] = []
        """Of the predictions."""

    def _handle_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        kind = message.topic.rpartition("/")[2]
        if kind not in self.by_kind:
            return
        with self._changed:
            self.by_kind[kind].append(json.loads(message.payload))
            if kind == "predictions":
                self.arrivals_s.append(time.monotonic())
            self._changed.notify_all()

    def now(self) -> dict[str, int]:
        """Return a mark for `since`."""
        with self._changed:
            return {kind: len(payloads) for kind, payloads in self.by_kind.items()}

    def wait_for_one(
        self, kind: str, matches: Callable[[Payload], object], *, since: dict[str, int]
    ) -> tuple[int, Payload]:
        """Wait for a payload after the mark; return its number and it."""
        start = since[kind]
        payloads = self.by_kind[kind]

        def search() -> tuple[int, Payload] | None:
            found = (each for each in enumerate(payloads[start:], start) if matches(each[1]))
            return next(found, None)

        assert self.wait_for(lambda _: search()), (kind, payloads[-1:])
        found = search()
        assert found is not None
        return found


def on_the_accelerator(payload: Payload) -> bool:
    return bool(payload["backend"] == NAME)


def on_the_cpu(payload: Payload) -> bool:
    """Whether the CPU stands in, with a reason."""
    return bool(payload["backend"] == "cpu" and payload["degraded"] and payload["degraded_reason"])


def has_fault(fault: str) -> Callable[[Payload], bool]:
    return lambda health: health["accelerator"]["fault"] == fault


def is_ready(health: Payload) -> bool:
    return bool(health["accelerator"]["state"] == "ready")


@dataclass(kw_only=True)
class Plant:
    """A site with an accelerator, and who watches it."""

    site: Site
    device: Device
    watcher: Watcher

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """Run the daemon until it has published its first prediction, and on."""
        with self.site.daemon() as daemon:
            self.watcher.wait_for_one("predictions", lambda _: True, since=self.watcher.now())
            yield daemon

    def wait_for_return(self, since: dict[str, int]) -> int:
        """Wait until all topics say that the accelerator serves; return the first prediction."""
        number, prediction = self.watcher.wait_for_one(
            "predictions", on_the_accelerator, since=since
        )
        assert (prediction["degraded"], prediction["degraded_reason"]) == (False, None)
        self.watcher.wait_for_one("health", is_ready, since=since)
        _, info = self.watcher.wait_for_one("info", on_the_accelerator, since=since)
        for key in ("name", "sha256"):
            assert info["model"][key] == prediction["model"][key]
        return number

    def wait_for_fall(self, fault: str, since: dict[str, int]) -> tuple[int, Payload]:
        """Wait until all topics say so; return the first prediction by the CPU, and the health."""
        number, prediction = self.watcher.wait_for_one("predictions", on_the_cpu, since=since)
        _, health = self.watcher.wait_for_one("health", has_fault(fault), since=since)
        _, info = self.watcher.wait_for_one("info", on_the_cpu, since=since)
        for key in ("name", "sha256"):
            assert info["model"][key] == prediction["model"][key]
        return number, health

    def use(self, compiled: Path) -> None:
        self.site.settings["accelerator"]["model"] = str(compiled)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("delegate"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def plant(tmp_path: Path, library: Path, broker: Mosquitto) -> Iterator[Plant]:
    """A small real model where there is one, else one of a kilobyte."""
    site = Site(folder=tmp_path, port=broker.port)
    device = Device(tmp_path)
    compiled, twin = tiny_models(tmp_path)
    labels = tmp_path / "tiny.txt"
    if SHARED_MODEL.exists():
        twin, labels = SHARED_MODEL, SHARED_MODEL.with_name("imagenet_labels.txt")
        compiled = twin.with_stem(f"{twin.stem}_edgetpu")
    site.settings["camera.replay"]["rate_hz"] = RATE_HZ
    site.settings["model"] |= {"name": str(twin), "labels": str(labels), "threads": 1}
    site.settings["accelerator"] = {
        "delegate": str(library),
        "model": str(compiled),
        "deadline_s": DEADLINE_S,
        "load_deadline_s": LOAD_DEADLINE_S,
        "slow_s": SLOW_S,
        "retry_min_s": 0.2,
        "retry_max_s": 1.0,
    }
    site.settings["accelerator.options"] = device.options
    with Watcher(broker.port, f"{site.topic}/#") as watcher:
        yield Plant(site=site, device=device, watcher=watcher)


def workers(pid: int) -> set[int]:
    """Return the processes that a process started, zombies included."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def are_gone(pids: Iterable[int]) -> bool:
    return not any(map(runs, pids))


def holdings(pid: int) -> dict[str, int]:
    """Count what a process must not gather over time."""
    return {
        "processes": len(workers(pid)),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def strike(plant: Plant, daemon: Daemon, trouble: Trouble) -> None:
    plant.device.act(trouble.order)
    if trouble.signal_number is not None:
        [worker] = workers(daemon.pid)
        os.kill(worker, trouble.signal_number)


def assert_contract(watcher: Watcher) -> int:
    """Check every payload against the schema, and that no number is missing; count them."""
    definitions = {"predictions": "prediction"}
    for kind, payloads in watcher.by_kind.items():
        for payload in payloads:
            assert problems(definitions.get(kind, kind), payload) == [], payload
    numbered = [
        each for kind in ("predictions", "state", "event") for each in watcher.by_kind[kind]
    ]
    assert len({each["boot_id"] for each in numbered}) == 1
    numbers = {each["seq"] for each in numbered}
    assert numbers == set(range(len(numbers)))
    return sum(map(len, watcher.by_kind.values()))


def longest_gaps_s(watcher: Watcher) -> tuple[float, float]:
    """Return the longest time between two predictions, as they arrive and as they were taken."""
    taken = (each["timestamp"] for each in watcher.by_kind["predictions"])
    taken_s = [datetime.fromisoformat(each).timestamp() for each in taken]
    arrived = max(after - before for before, after in pairwise(watcher.arrivals_s))
    return arrived, max(after - before for before, after in pairwise(taken_s))


@pytest.mark.timeout(900)
def test_predictions_go_on_whatever_happens(plant: Plant, long: bool, figures: Figures) -> None:
    """After each fault the CPU takes over, and once it is mended the accelerator does again."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    figures(f"seed {seed}")
    rounds = -(-100 // len(TROUBLES)) if long else 1
    troubles = list(TROUBLES) * rounds
    chance.shuffle(troubles)
    del troubles[100 if long else 6 :]
    watcher = plant.watcher
    down_s, back_s = [], []
    first: dict[str, int] = {}
    with plant.daemon() as daemon:
        pid = daemon.pid
        plant.wait_for_return(dict.fromkeys(watcher.by_kind, 0))
        for trouble in troubles:
            mark, started_s = watcher.now(), time.monotonic()
            strike(plant, daemon, trouble)
            number, health = plant.wait_for_fall(trouble.fault, mark)
            assert health["accelerator"]["state"] == "waiting", trouble
            assert health["accelerator"]["reason"] == health["degraded_reason"], trouble
            down_s.append(watcher.arrivals_s[number] - started_s)
            mark, started_s = watcher.now(), time.monotonic()
            plant.device.mend()
            number = plant.wait_for_return(mark)
            back_s.append(watcher.arrivals_s[number] - started_s)
            first = first or holdings(pid)
        assert wait_until(lambda: all(holdings(pid)[key] <= first[key] for key in first)), (
            first,
            holdings(pid),
        )
        last = holdings(pid)
        daemon.stop()
        assert daemon.wait(STOP_S) == 0
    counts = [each["accelerator"] for each in watcher.by_kind["health"]]
    for before, after in pairwise(counts):
        assert before["failures"] <= after["failures"]
        assert before["returns"] <= after["returns"]
    assert counts[-1]["failures"] >= len(troubles)
    assert counts[-1]["returns"] >= len(troubles)
    assert not any("Traceback" in line for line in daemon.lines), daemon.lines
    messages = assert_contract(watcher)
    arrived_s, taken_s = longest_gaps_s(watcher)
    figures(f"{len(troubles)} faults: {dict(sorted(Counter(map(str, troubles)).items()))}")
    figures(
        f"longest gap {arrived_s:.2f} s as they arrive, {taken_s:.2f} s as they were taken; "
        f"median to fall back {statistics.median(down_s):.2f} s, longest {max(down_s):.2f} s; "
        f"median to return {statistics.median(back_s):.2f} s, longest {max(back_s):.2f} s"
    )
    figures(
        f"{counts[-1]['failures']} failures, {counts[-1]['returns']} returns, {messages} valid "
        f"messages; after the first return {first}, at the end {last}"
    )
    assert max(arrived_s, taken_s) <= LONGEST_GAP_S


def test_one_that_is_absent_at_the_start_is_used_once_it_is_there(plant: Plant) -> None:
    plant.device.act("load fail")
    beginning = plant.watcher.now()
    with plant.daemon():
        _, health = plant.wait_for_fall("absent", beginning)
        assert "finds no device: is it plugged in" in health["accelerator"]["reason"]
        plant.device.mend()
        plant.wait_for_return(beginning)
        health = plant.watcher.by_kind["health"][-1]
    assert health["accelerator"]["returns"] == 1
    assert health["accelerator"]["reason"] is None
    assert_contract(plant.watcher)


def test_a_library_that_is_missing_is_used_once_it_is_installed(
    plant: Plant, library: Path, tmp_path: Path
) -> None:
    later = tmp_path / f"lib{NAME}.so"
    plant.site.settings["accelerator"]["delegate"] = str(later)
    beginning = plant.watcher.now()
    with plant.daemon():
        _, health = plant.wait_for_fall("absent", beginning)
        assert "the library cannot be loaded: " in health["accelerator"]["reason"]
        assert later.name in health["accelerator"]["reason"]
        new = later.with_suffix(".new")
        shutil.copy(library, new)
        new.replace(later)
        plant.wait_for_return(beginning)
    assert_contract(plant.watcher)


@pytest.mark.parametrize(
    ("number", "fault", "words"),
    [
        (signal.SIGKILL, "lost", "its process was killed by SIGKILL"),
        (signal.SIGSTOP, "hung", f"no answer within {DEADLINE_S:g} s"),
    ],
)
def test_a_worker_that_someone_ends_or_stops_is_replaced(
    plant: Plant, number: signal.Signals, fault: str, words: str
) -> None:
    beginning = plant.watcher.now()
    with plant.daemon() as daemon:
        plant.wait_for_return(beginning)
        [worker] = workers(daemon.pid)
        mark = plant.watcher.now()
        os.kill(worker, number)
        _, health = plant.wait_for_fall(fault, mark)
        assert words in health["accelerator"]["reason"]
        plant.wait_for_return(plant.watcher.now())
        assert not runs(worker)
        assert len(workers(daemon.pid)) == 1
    assert max(longest_gaps_s(plant.watcher)) <= LONGEST_GAP_S
    assert_contract(plant.watcher)


@pytest.mark.parametrize("order", ["", "load hang", "run hang"])
def test_the_daemon_ends_in_time_and_takes_the_worker_along(plant: Plant, order: str) -> None:
    plant.device.act(order)
    plant.site.settings["accelerator"] |= {"load_deadline_s": 60.0, "deadline_s": 30.0}
    beginning = plant.watcher.now()
    with plant.daemon() as daemon:
        if not order:
            plant.wait_for_return(beginning)
        assert wait_until(lambda: workers(daemon.pid))
        started = workers(daemon.pid)
        daemon.stop()
        assert daemon.wait(STOP_S) == 0
        assert wait_until(lambda: are_gone(started), timeout_s=1)
    _, health = plant.watcher.wait_for_one(
        "health", lambda each: each["accelerator"]["state"] != "waiting", since=beginning
    )
    assert health["accelerator"]["failures"] == 0
    assert_contract(plant.watcher)


def test_a_model_that_is_not_the_cpu_twin_is_never_used(plant: Plant, tmp_path: Path) -> None:
    picture = Tensor(shape=(1, 3, 3, 3), dtype="uint8", scale=1 / 256)
    row = Tensor(shape=(1, 27), dtype="uint8", scale=1 / 256)
    other = tmp_path / "other_edgetpu.tflite"
    operation = Operation(name="edgetpu-custom-op", input=0, output=1)
    other.write_bytes(model([picture, row], [operation]))
    plant.use(other)
    beginning = plant.watcher.now()
    with plant.daemon() as daemon:
        _, health = plant.wait_for_fall("unfit", beginning)
        reason = health["accelerator"]["reason"]
        assert f"{other} does not match its CPU twin: input uint8 1x3x3x3" in reason
        mark = plant.watcher.now()
        assert plant.watcher.wait_for(
            lambda _: len(plant.watcher.by_kind["predictions"]) > mark["predictions"] + RATE_HZ
        )
        daemon.stop()
        assert daemon.wait(STOP_S) == 0
    assert not any(map(on_the_accelerator, plant.watcher.by_kind["predictions"]))
    assert_contract(plant.watcher)


def test_a_reload_hands_the_device_over_and_leaves_nothing_of_the_one_before(plant: Plant) -> None:
    seen: set[int] = set()
    first: dict[str, int] = {}
    with plant.daemon() as daemon:
        plant.wait_for_return(dict.fromkeys(plant.watcher.by_kind, 0))
        # The third comes before the second has proven itself: its accelerator is never started.
        for deadlines_s in ((0.6,), (0.7, 0.8), (0.9,)):
            seen |= workers(daemon.pid)
            for deadline_s in deadlines_s:
                reload(plant, daemon, deadline_s=deadline_s)
            assert wait_until(partial(are_gone, seen))
            plant.wait_for_return(plant.watcher.now())
            first = first or holdings(daemon.pid)
        assert wait_until(lambda: holdings(daemon.pid) == first), (first, holdings(daemon.pid))
        daemon.stop()
        assert daemon.wait(STOP_S) == 0
    assert max(longest_gaps_s(plant.watcher)) <= LONGEST_GAP_S
    assert_contract(plant.watcher)


def reload(plant: Plant, daemon: Daemon, *, deadline_s: float) -> None:
    mark = plant.watcher.now()
    plant.site.settings["accelerator"]["deadline_s"] = deadline_s
    plant.site.write()
    daemon.stop(signal.SIGHUP)
    plant.watcher.wait_for_one(
        "info",
        lambda each: each["config"]["accelerator"]["deadline_s"] == deadline_s,
        since=mark,
    )
