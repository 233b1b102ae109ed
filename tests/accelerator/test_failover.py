"""From the accelerator to the CPU and back, from one model to another, and what to do it with."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.brokers import wait_until
from support.pipelines import loaded
from support.tiny_models import LABELS, classifier

from edgeclassifier.accelerator import devices
from edgeclassifier.accelerator.devices import Device
from edgeclassifier.compose.accelerator import build_accelerator, find_accelerated_model
from edgeclassifier.compose.engine import build_inference
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import Config, load_config
from edgeclassifier.contract.results import CPU, Backend, ModelIdentity
from edgeclassifier.contract.status import AcceleratorStatus
from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.inference import Inference, Unavailable
from edgeclassifier.engine.preprocess import Normalization, Preprocessor
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.engine.tensors import TensorLayout
from edgeclassifier.errors import InferenceError, ModelError
from edgeclassifier.pipeline.modelslot import ModelSlot

ON_THE_CPU = ModelIdentity(name="tiny", sha256="0" * 64)
COMPILED = ModelIdentity(name="tiny_edgetpu", sha256="1" * 64)
READY = AcceleratorStatus(state="ready")
LOST = AcceleratorStatus(state="waiting", fault="lost", reason="killed by SIGABRT", failures=1)
FAULT = InferenceError("the model does not run")
CAT, DOG = 4, 7
"""Classes that the CPU and the accelerator find in every picture of these tests."""


class FakeAccelerator:
    """Serves or fails as its status says, and keeps a diary."""

    def __init__(
        self, *, status: AcceleratorStatus = READY, diary: list[str] | None = None
    ) -> None:
        self.name = "fake"
        self.status = status
        self.fails = False
        self.diary = [] if diary is None else diary

    def start(self) -> None:
        self.diary.append("start")

    def run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        if self.fails or self.status.state != "ready":
            raise Unavailable
        return one_hot(DOG, tensor.size)

    def stop(self, *, timeout_s: float) -> None:
        assert timeout_s > 0
        self.diary.append("stop")


def one_hot(class_id: int, size: int = len(LABELS)) -> NDArray[np.uint8]:
    values = np.zeros(size, np.uint8)
    values[class_id] = 200
    return values


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.tflite"
    path.write_bytes(classifier("uint8", scale=1 / 256))
    path.with_suffix(".txt").write_text("\n".join(LABELS))
    return path


@pytest.fixture(scope="module")
def twin(model: Path) -> Classifier:
    """A model that answers with its input."""
    loaded = load_model(model, threads=1)
    return Classifier(loaded, path=model, labels=LABELS, labels_source="labels.txt")


Make = Callable[..., Inference]


@pytest.fixture
def make(twin: Classifier) -> Make:
    straight = Normalization(mean=(0.0,), std=(256.0,))

    def make(accelerator: FakeAccelerator | None = None) -> Inference:
        return Inference(
            preprocessor=Preprocessor(spec=twin.input, normalization=straight),
            classifier=twin,
            model=lambda: ON_THE_CPU,
            accelerator=accelerator,
            accelerated_model=None if accelerator is None else lambda: COMPILED,
        )

    return make


def ask(inference: Inference) -> tuple[int, Backend]:
    """Return the class that is found in a picture of a cat, and what found it."""
    _crop, tensor = inference.prepare(one_hot(CAT).reshape(2, 2, 3))
    answer = inference.run(tensor)
    return inference.predictions(answer)[0].class_id, answer.backend


# Inference


def test_the_accelerator_answers_while_it_serves(make: Make) -> None:
    inference = make(FakeAccelerator())
    assert ask(inference) == (DOG, Backend(name="fake"))
    assert inference.backend == Backend(name="fake")
    assert inference.model(inference.backend) == COMPILED


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (AcceleratorStatus(state="starting"), "starting"),
        (LOST, "killed by SIGABRT"),
        (AcceleratorStatus(state="stopped"), "stopped"),
    ],
)
def test_the_cpu_stands_in_and_says_why(make: Make, status: AcceleratorStatus, reason: str) -> None:
    inference = make(FakeAccelerator(status=status))
    stand_in = Backend(name="cpu", degraded=True, reason=reason)
    assert ask(inference) == (CAT, stand_in)
    assert inference.backend == stand_in
    assert inference.model(stand_in) == ON_THE_CPU


def test_the_frame_on_which_it_fails_is_answered_and_says_so(make: Make) -> None:
    """The reason is known a moment later: until then it must not be said to be starting."""
    accelerator = FakeAccelerator()
    inference = make(accelerator)
    accelerator.fails = True
    assert ask(inference) == (
        CAT,
        Backend(name="cpu", degraded=True, reason="it has just failed"),
    )


def test_the_reason_is_that_of_the_moment_it_failed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be back before the CPU has answered."""
    accelerator = FakeAccelerator(status=LOST)
    inference = make(accelerator)
    run = Classifier.run

    def slow_run(self: Classifier, tensor: NDArray[Any]) -> NDArray[Any]:
        accelerator.status = READY
        return run(self, tensor)

    monkeypatch.setattr(Classifier, "run", slow_run)
    assert ask(inference) == (CAT, Backend(name="cpu", degraded=True, reason="killed by SIGABRT"))
    assert ask(inference) == (DOG, Backend(name="fake"))


def test_without_an_accelerator_the_cpu_is_no_stand_in(make: Make) -> None:
    inference = make()
    inference.start()
    assert ask(inference) == (CAT, CPU)
    assert inference.backend == CPU
    assert inference.model(CPU) == ON_THE_CPU
    inference.close()


def test_the_accelerator_lives_as_long_as_the_inference(make: Make) -> None:
    accelerator = FakeAccelerator()
    inference = make(accelerator)
    assert accelerator.diary == []
    inference.start()
    inference.close()
    assert accelerator.diary == ["start", "stop"]


# ModelSlot


PROBATION = 5


def slot_of(make: Make, count: int) -> tuple[ModelSlot, list[Inference], list[list[str]]]:
    """Return a slot with the first of `count` models, all of them, and their diaries."""
    diaries: list[list[str]] = [[] for _ in range(count)]
    models = [make(FakeAccelerator(diary=diary)) for diary in diaries]
    return loaded(models[0]), models, diaries


def prove(slot: ModelSlot, model: Inference, frames: int = PROBATION) -> None:
    for _ in range(frames):
        slot.answered(model)


def test_the_device_changes_hands_once_a_new_model_has_proven_itself(make: Make) -> None:
    order: list[str] = []
    old, new = FakeAccelerator(diary=order), FakeAccelerator(diary=[])
    slot = loaded(make(old))
    new.start = lambda: order.append("new start")  # type: ignore[method-assign] # one diary
    replacement = make(new)
    slot.swap(replacement)
    prove(slot, replacement, PROBATION - 1)
    assert slot.current is replacement
    assert order == ["start"]
    prove(slot, replacement, 1)
    assert wait_until(lambda: order == ["start", "stop", "new start"])
    with pytest.raises(InferenceError):
        slot.failed(replacement, FAULT)
    assert slot.refused is None


def test_a_new_model_that_fails_is_let_go_and_the_one_before_takes_over(make: Make) -> None:
    slot, (old, new), diaries = slot_of(make, 2)
    slot.swap(new)
    prove(slot, new, PROBATION - 1)
    assert slot.failed(new, FAULT) is old
    assert slot.current is old
    assert str(slot.refused) == str(FAULT)
    assert diaries == [["start"], ["stop"]]
    assert slot.failed(new, FAULT) is old, "a second frame was on its way"
    with pytest.raises(InferenceError):
        slot.failed(old, FAULT)


def test_a_refusal_is_forgotten_with_the_next_model(make: Make) -> None:
    slot, (_old, bad, good), _diaries = slot_of(make, 3)
    slot.swap(bad)
    slot.failed(bad, FAULT)
    slot.swap(good)
    assert slot.refused is None
    assert slot.current is good


def test_frames_on_their_way_through_the_old_model_prove_nothing(make: Make) -> None:
    slot, (old, new), diaries = slot_of(make, 2)
    slot.swap(new)
    prove(slot, old)
    with pytest.raises(InferenceError):
        slot.failed(old, FAULT)
    assert slot.failed(new, FAULT) is old
    assert diaries[0] == ["start"]


def test_two_models_in_a_row_leave_the_one_that_has_proven_itself(make: Make) -> None:
    """The second comes before the first was tried: that one is let go, and cannot do harm."""
    slot, (old, passed_over, new), diaries = slot_of(make, 3)
    slot.swap(passed_over)
    slot.swap(new)
    assert diaries == [["start"], ["stop"], []]
    prove(slot, passed_over)
    assert slot.failed(passed_over, FAULT) is old
    assert slot.current is new
    assert slot.refused is None
    assert slot.failed(new, FAULT) is old


def test_a_swap_and_an_answer_at_the_same_time_leave_one_model_on_the_device(make: Make) -> None:
    """Whoever comes first, at the end one accelerator is on, and it is that of the model in use."""
    for _ in range(50):
        assert_one_is_left(*slot_of(make, 3))


def assert_one_is_left(
    slot: ModelSlot, models: Sequence[Inference], diaries: Sequence[list[str]]
) -> None:
    _old, new, newest = models
    slot.swap(new)
    prove(slot, new, PROBATION - 1)
    swap = threading.Thread(target=slot.swap, args=(newest,))
    swap.start()
    prove(slot, new, 1)
    swap.join()
    prove(slot, newest)
    assert wait_until(lambda: diaries[2] == ["start"]), diaries
    assert wait_until(lambda: diaries[0] == ["start", "stop"]), diaries
    # Where the swap came first, the one between was never started.
    assert wait_until(lambda: sorted(diaries[1]) in (["stop"], ["start", "stop"])), diaries


def test_closing_lets_go_of_every_model(make: Make) -> None:
    slot, (_old, new), diaries = slot_of(make, 2)
    slot.swap(new)
    slot.close()
    assert diaries == [["start", "stop"], ["stop"]]


# What the configuration means


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """The Edge TPUs that are there; none to begin with."""
    found: list[Device] = []
    monkeypatch.setattr(devices, "find_edge_tpus", lambda: found)
    return found


STICK = Device(kind="usb", path="/sys/bus/usb/devices/1-1", used=False)


def configured(name: str | Path, store: Path, /, **accelerator: str) -> Config:
    settings = {"model.name": str(name), "model.store": str(store)}
    settings |= {f"accelerator.{key}": value for key, value in accelerator.items()}
    return load_config(None, overrides=[f'{key}="{value}"' for key, value in settings.items()])


def found(config: Config) -> Path | None:
    compiled = find_accelerated_model(config, find_model(config.model))
    return None if compiled is None else compiled.path


@pytest.fixture
def beside(tmp_path: Path, model: Path) -> Path:
    """A model with the one for the accelerator beside it."""
    path = tmp_path / "net.tflite"
    path.write_bytes(model.read_bytes())
    path.with_name("net_edgetpu.tflite").write_bytes(model.read_bytes())
    return path


@pytest.fixture
def store(tmp_path: Path, model: Path) -> Path:
    """A store with a model and the one for the accelerator."""
    folder = tmp_path / "store"
    folder.mkdir()
    for name in ("net", "net_edgetpu"):
        (folder / f"{name}.tflite").write_bytes(model.read_bytes())
    return folder


def test_none_needs_neither_device_nor_model(
    beside: Path, store: Path, plugged_in: list[Device]
) -> None:
    plugged_in.append(STICK)
    assert found(configured(beside, store, delegate="none")) is None


@pytest.mark.parametrize("delegate", ["edgetpu", "/opt/libother.so"])
def test_a_configured_delegate_is_used_whether_it_is_there_or_not(
    beside: Path, store: Path, plugged_in: list[Device], delegate: str
) -> None:
    assert plugged_in == []
    assert found(configured(beside, store, delegate=delegate)) == beside.with_stem("net_edgetpu")


def test_a_model_from_the_store_has_its_compiled_one_there(beside: Path, store: Path) -> None:
    config = configured("net", store, delegate="edgetpu")
    assert found(config) == store / "net_edgetpu.tflite"
    named = configured("net", store, delegate="edgetpu", model=str(beside))
    assert found(named) == beside
    other = configured(beside, store, delegate="edgetpu", model="net_edgetpu")
    assert found(other) == store / "net_edgetpu.tflite"


def test_a_compiled_model_that_is_missing_is_explained(model: Path, store: Path) -> None:
    with pytest.raises(ModelError) as beside:
        found(configured(model, store, delegate="edgetpu"))
    assert str(beside.value) == (
        f"accelerator.model: {model.with_stem('tiny_edgetpu')} is not there: it is tiny, compiled "
        "for the accelerator; name it, or set accelerator.delegate to none"
    )
    with pytest.raises(ModelError) as stored:
        found(configured("inception_v3_299_quant", store, delegate="edgetpu", model="absent"))
    assert str(stored.value).startswith("model 'inception_v3_299_quant' is not installed")
    with pytest.raises(ModelError, match=r"^accelerator.model: .*absent"):
        found(configured("net", store, delegate="edgetpu", model="absent"))


def test_auto_takes_what_is_there(
    beside: Path, model: Path, store: Path, plugged_in: list[Device], caplog: Any
) -> None:
    caplog.set_level(logging.WARNING)
    assert found(configured(beside, store)) is None
    plugged_in.append(STICK)
    assert found(configured(beside, store)) == beside.with_stem("net_edgetpu")
    assert caplog.messages == []
    assert found(configured(model, store)) is None
    [warning] = caplog.messages
    assert warning.startswith("there is an Edge TPU, but no model for it: accelerator.model: ")


@pytest.mark.parametrize(
    ("delegate", "named"),
    [
        ("auto", ("edgetpu", "libedgetpu.so.1")),
        ("edgetpu", ("edgetpu", "libedgetpu.so.1")),
        ("/opt/libother.so.2", ("other", "/opt/libother.so.2")),
    ],
)
def test_the_accelerator_is_named_after_its_delegate(
    beside: Path, store: Path, twin: Classifier, delegate: str, named: tuple[str, str]
) -> None:
    config = configured(beside, store, delegate=delegate)
    accelerator = build_accelerator(config, find_model(config.model), twin=twin)
    try:
        assert (accelerator.name, accelerator.job.delegate) == named
        assert accelerator.job.layout == TensorLayout.of(load_model(beside).interpreter)
        assert accelerator.status == AcceleratorStatus(state="starting")
    finally:
        accelerator.stop(timeout_s=1)


def test_the_whole_is_built_for_each_case(
    beside: Path, model: Path, store: Path, plugged_in: list[Device]
) -> None:
    labels = f'model.labels="{model.with_suffix(".txt")}"'
    for delegate, expected in (("none", None), ("auto", None), ("/opt/libother.so", "other")):
        overrides = [labels, f'model.name="{beside}"', f'model.store="{store}"']
        config = load_config(None, overrides=[*overrides, f'accelerator.delegate="{delegate}"'])
        inference = build_inference(config, find_model(config.model))
        name = None if inference.accelerator is None else inference.accelerator.name
        assert name == expected
        assert inference.model(CPU).name == "net"
        if expected is not None:
            assert inference.model(Backend(name=expected)).name == "net_edgetpu"
        inference.close()
    assert plugged_in == []
