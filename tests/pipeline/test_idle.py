"""A still scene: answers that are repeated, changes that are noticed, and what that saves."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import Figures
from numpy.typing import NDArray
from support.pipelines import PATIENCE_S, ScriptedCamera, inference, loaded, results_of, settings
from support.scene import CROP_FRACTION, RATE_HZ, Change, Encoding, Pixels, Scene, encoded
from support.tiny_models import LABELS, classifier

from edgeclassifier.bench.rig import MemoryCamera
from edgeclassifier.compose.engine import build_inference
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import Config
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.results import Backend, Result
from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.inference import Answer, Inference
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import InferenceError
from edgeclassifier.pipeline.capture import CameraSettings
from edgeclassifier.pipeline.idle import IdleSettings, Look, StillScene
from edgeclassifier.pipeline.intake import Lane
from edgeclassifier.pipeline.pipeline import Pipeline

IDLE = IdleSettings(max_age_s=60.0)
SQUARE = IdleSettings(max_age_s=60.0, crop_fraction=CROP_FRACTION)
ENCODINGS: tuple[Encoding, ...] = ("raw", "jpeg", "h264")
VIEWS = (
    ("coffee.png", "chelsea.png"),
    ("rocket.jpg", "coffee.png"),
    ("chelsea.png", "grace_hopper.jpg"),
    ("grace_hopper.jpg", "rocket.jpg"),
)
SIZES = ((320, 320), (640, 480), (1280, 720))


class Watcher:
    """Compares frames as the pipeline does, and classifies, so to speak, those that changed."""

    def __init__(self, settings: IdleSettings = SQUARE) -> None:
        self.scene = StillScene(settings)
        self.classified: list[int] = []
        self._count = 0

    def see(self, frame: Pixels) -> bool:
        look: Look = self.scene.look(self.scene.window(frame))
        changed = self.scene.unchanged(look) is None
        if changed:
            look.remember()
            self.classified.append(self._count)
        self._count += 1
        return changed


def unexpected(classified: Sequence[int], changes: Sequence[Change]) -> list[int]:
    """List the frames that were classified though nothing had changed; the first had to be."""
    expected = {0}
    for change in changes:
        expected |= {*range(change.at if change.since is None else change.since, change.at + 3)}
        if change.since is not None:  # it goes on for as long again
            expected |= {*range(change.at, 2 * change.at - change.since)}
    return [each for each in classified if each not in expected]


# What counts as a change


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_change_is_missed_in_noise_and_flicker(
    encoding: Encoding, figures: Figures, *, long: bool
) -> None:
    """The thing that comes and goes covers one percent, and is hardly there."""
    clips = [(size, view) for size in SIZES for view in VIEWS] if long else [(SIZES[0], VIEWS[0])]
    false = frames_seen = 0
    for (width, height), (background, thing) in clips:
        scene = Scene(background=background, thing=thing, width=width, height=height, contrast=0.35)
        frames, changes = scene.eventful(240)
        watcher = Watcher()
        for frame in encoded(frames, encoding):
            watcher.see(frame)
            frames_seen += 1
        missed = [each.name for each in changes if not each.noticed(watcher.classified)]
        assert missed == [], (background, width)
        false += len(unexpected(watcher.classified, changes))
    figures(
        f"{frames_seen} frames, {6 * len(clips)} changes, none missed, "
        f"{false} frames classified for nothing"
    )
    assert false < 0.03 * frames_seen


@pytest.mark.parametrize("noise", [(0.5, 0.0), (4.0, 0.3), (8.0, 0.8)])
@pytest.mark.parametrize("bands", [0.0, 0.02, 0.05])
def test_how_noisy_it_is_is_learned_from_the_scene(
    noise: tuple[float, float], bands: float
) -> None:
    scene = Scene(read_noise=noise[0], shot_noise=noise[1], bands=bands)
    watcher = Watcher()
    for frame in scene.quiet(80):
        watcher.see(frame)
    assert len(watcher.classified) <= 5
    assert watcher.see(scene.frame(thing_at=(0.1, 0.1)))
    assert not watcher.see(scene.frame(thing_at=(0.1, 0.1)))
    assert watcher.see(scene.frame())


def test_slow_changes_add_up() -> None:
    """No two frames in a row differ by more than the noise."""
    scene = Scene()
    watcher = Watcher()
    for frame in scene.quiet(30):
        watcher.see(frame)
    steps = [watcher.see(scene.frame(light=1 - 0.003 * step)) for step in range(100)]
    assert 2 <= sum(steps) <= 20


def test_something_that_lingers_is_noticed_when_it_goes() -> None:
    """Its movement is not taken for noise that goes on."""
    scene = Scene(contrast=0.35)
    watcher = Watcher()
    for frame in scene.quiet(30):
        watcher.see(frame)
    for step in range(100):
        watcher.see(scene.frame(thing_at=(-0.3 + 0.005 * step, 0.1)))
    frames = [watcher.see(scene.frame()) for _ in range(RATE_HZ)]
    assert any(frames)


@pytest.mark.parametrize(("area", "noticed"), [(0.05, True), (0.004, False)])
def test_the_smallest_size_that_counts_is_configured(area: float, *, noticed: bool) -> None:
    scene = Scene(area=area, bands=0.0)
    watcher = Watcher(IdleSettings(max_age_s=60, min_area=0.02, crop_fraction=CROP_FRACTION))
    for frame in scene.quiet(30):
        watcher.see(frame)
    assert watcher.see(scene.frame(thing_at=(0.1, 0.1))) is noticed


@pytest.mark.parametrize(
    ("where", "noticed"), [((-0.3, 0.0), True), ((0.3, 0.0), False)], ids=["inside", "outside"]
)
def test_only_the_part_that_is_classified_counts(
    where: tuple[float, float], *, noticed: bool
) -> None:
    scene = Scene()
    watcher = Watcher(IdleSettings(max_age_s=60, region=(0.0, 0.0, 0.5, 1.0)))
    for frame in scene.quiet(30):
        watcher.see(frame)
    assert watcher.see(scene.frame(thing_at=where)) is noticed


@pytest.mark.parametrize("wrong", [{"max_age_s": 0}, {"min_area": 0.0}, {"min_area": 1.1}])
def test_settings_without_a_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        IdleSettings(**{"max_age_s": 1.0, **wrong})  # type: ignore[arg-type] # numbers alone


# Answers that are repeated


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.tflite"
    path.write_bytes(classifier("uint8", scale=1 / 256))
    return path


@pytest.fixture
def engine(model: Path) -> Classifier:
    return another(model)


def another(model: Path) -> Classifier:
    loaded = load_model(model, threads=1)
    return Classifier(loaded, path=model, labels=LABELS, labels_source="labels.txt")


def join(camera: ScriptedCamera, model: Inference, idle: IdleSettings | None = IDLE) -> Pipeline:
    pipeline = Pipeline(camera=settings(camera), lanes=[Lane(models=loaded(model), idle=idle)])
    pipeline.open()
    return pipeline


def repeats(results: Sequence[Result]) -> list[bool]:
    return [each.answer_age_s > 0 for each in results]


def right(result: Result) -> bool:
    return result.predictions[0].class_id == int(result.frame.origin) % len(LABELS)


def test_an_answer_is_repeated_until_something_changes(engine: Classifier) -> None:
    results = list(results_of(join(ScriptedCamera([3, 3, 3, 3, 5, 5, 5, 3]), inference(engine))))
    assert [each.frame.seq for each in results] == [*range(8)]
    assert all(map(right, results))
    assert sum(repeats(results)) >= 3
    assert repeats(results)[0] is repeats(results)[4] is repeats(results)[7] is False
    for before, result in pairwise(results):
        if result.answer_age_s > 0:
            assert result.answer_age_s > before.answer_age_s >= 0
            assert result.predictions == before.predictions
            assert np.array_equal(result.crop, before.crop)
            assert result.latency.inference_s == 0
            assert result.latency.total_s >= 0


def test_without_it_every_frame_is_classified(engine: Classifier) -> None:
    pipeline = join(ScriptedCamera([3] * 9), inference(engine), None)
    assert repeats(list(results_of(pipeline))) == [False] * 9


def test_an_answer_that_is_too_old_is_not_repeated(engine: Classifier) -> None:
    idle = IdleSettings(max_age_s=0.1)
    camera = ScriptedCamera([step for _ in range(40) for step in (2, lambda _s: time.sleep(0.01))])
    results = list(results_of(join(camera, inference(engine), idle)))
    assert all(each.answer_age_s < 0.1 for each in results)
    assert 1 < repeats(results).count(False) < 40


def test_an_answer_is_that_of_the_model_in_use(model: Path, engine: Classifier) -> None:
    """A new model proves itself on frames before its answers are repeated."""
    pipeline = join(ScriptedCamera([2] * 60), inference(engine))
    results = []
    for result in results_of(pipeline):
        results.append(result)
        if len(results) == 20:
            pipeline.lanes[0].models.swap(inference(another(model), name="new"))
    first = next(index for index, each in enumerate(results) if each.model.name == "new")
    assert repeats(results)[first : first + 5] == [False] * 5
    assert all(each.model.name == "new" for each in results[first:])
    assert results[-1].answer_age_s > 0


def test_an_answer_is_that_of_the_backend_in_use(engine: Classifier) -> None:
    backends = {"now": Backend(name="cpu")}

    class Changing(Inference):
        @property
        def backend(self) -> Backend:
            return backends["now"]

    plain = inference(engine)
    changing = Changing(
        preprocessor=plain._preprocessor,
        classifier=engine,
        model=lambda: plain.model(plain.backend),
    )
    results = []
    for result in results_of(join(ScriptedCamera([2] * 60), changing)):
        results.append(result)
        if len(results) == 20:
            assert results[-1].answer_age_s > 0
            backends["now"] = Backend(name="edgetpu")
    assert not any(repeats(results)[25:])


@pytest.mark.parametrize("live", [True, False])
def test_an_answer_is_never_that_of_another_scene(
    engine: Classifier, monkeypatch: pytest.MonkeyPatch, *, live: bool
) -> None:
    """However the threads meet: the interpreter takes its time, and so does the reader."""
    chance = random.Random(7)
    run = engine.run

    def slowly(tensor: NDArray[np.uint8]) -> NDArray[np.uint8]:
        time.sleep(chance.choice((0, 0, 0.003)))
        return run(tensor)

    monkeypatch.setattr(engine, "run", slowly)

    def script() -> Iterator[object]:
        scene = 0
        for _ in range(600):
            scene = chance.choice((scene, scene, scene, chance.randrange(10)))
            yield scene
            yield lambda _timeout_s: time.sleep(chance.choice((0, 0.001, 0.002)))

    results = []
    for result in results_of(join(ScriptedCamera(script(), live=live), inference(engine))):  # type: ignore[arg-type] # each is a step
        results.append(result)
        if chance.random() < 0.02:
            time.sleep(0.01)
    assert all(map(right, results))
    assert any(repeats(results))
    assert live or len(results) == 600


def test_a_model_that_fails_has_no_answer_to_repeat(engine: Classifier, model: Path) -> None:
    """The model before takes over, and what is repeated is its answer."""

    class Failing(Inference):
        def run(self, tensor: NDArray[np.uint8]) -> Answer:  # noqa: ARG002 - as it is called
            raise InferenceError("broken")

    plain = inference(another(model))
    bad = Failing(
        preprocessor=plain._preprocessor,
        classifier=engine,
        model=lambda: plain.model(plain.backend),
    )
    pipeline = join(ScriptedCamera([4] * 60), inference(engine, name="good"))
    results = []
    for result in results_of(pipeline):
        results.append(result)
        if len(results) == 20:
            pipeline.lanes[0].models.swap(bad)
    assert pipeline.lanes[0].models.refused is not None
    assert {each.model.name for each in results} == {"good"}
    assert results[-1].answer_age_s > 0


# What it saves


class LiveCamera(MemoryCamera):
    """Gives its pictures ten times a second, whether they are taken or not."""

    live = True

    def read(self, timeout_s: float) -> Frame | None:
        time.sleep(1 / RATE_HZ)
        return super().read(timeout_s)


def cpu_s(
    pictures: Sequence[Pixels],
    model: Inference,
    idle: IdleSettings | None,
    camera_type: type[MemoryCamera] = MemoryCamera,
) -> tuple[float, list[Result]]:
    """Return the CPU time of the whole process for each frame, and the results."""
    camera = camera_type(frames=pictures, count=len(pictures))
    pipeline = Pipeline(
        camera=CameraSettings(make=lambda: camera, deadline_s=PATIENCE_S),
        lanes=[Lane(models=loaded(model), idle=idle)],
    )
    pipeline.open()
    started_s = time.process_time()
    results = list(results_of(pipeline))
    return (time.process_time() - started_s) / len(results), results


@pytest.fixture(scope="module")
def bundled() -> Inference:
    config = Config()
    return build_inference(config, find_model(config.model))


@pytest.mark.timeout(600)
def test_a_still_scene_of_a_live_camera_takes_a_fraction_of_the_cpu_time(
    bundled: Inference, figures: Figures, *, long: bool
) -> None:
    """At ten frames a second, between which threads fall asleep and their data goes cold."""
    if not long:
        pytest.skip("takes a minute: --long")
    scene = Scene()
    frames, changes = scene.eventful(600)
    pictures = list(encoded(frames, "jpeg"))
    cpu_s(pictures[:10], bundled, None)
    all_s, _ = cpu_s(pictures[:150], bundled, None, LiveCamera)
    idle_s, results = cpu_s(pictures, bundled, SQUARE, LiveCamera)
    classified = [each.frame.seq for each in results if not each.answer_age_s > 0]
    assert [each.name for each in changes if not each.noticed(classified)] == []
    figures(
        f"{all_s * 1000:.1f} ms of CPU time a result, idle {idle_s * 1000:.2f} ms, ratio "
        f"{all_s / idle_s:.1f}; {len(results)} results, {len(classified)} classified"
    )
    # Less than the tenth below: what wakes up after each pause is slow, idle or not.
    assert all_s / idle_s >= 8


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_still_scene_takes_a_tenth_of_the_cpu_time(
    size: tuple[int, int], bundled: Inference, figures: Figures, *, long: bool
) -> None:
    """With a few changes in it, all of which are noticed, and the model that is bundled."""
    if not long and size != SIZES[0]:
        pytest.skip("the long form has this size, with --long")
    for encoding in ENCODINGS if long else ENCODINGS[1:2]:
        scene = Scene(width=size[0], height=size[1])
        frames, changes = scene.eventful(600 if size == SIZES[0] and long else 360)
        pictures = list(encoded(frames, encoding))
        every = pictures if long else pictures[: len(pictures) // 6]
        cpu_s(pictures[:10], bundled, None)
        all_s, answers = cpu_s(every, bundled, None)
        idle_s, results = cpu_s(pictures, bundled, SQUARE)
        classified = [each.frame.seq for each in results if not each.answer_age_s > 0]
        assert [each.name for each in changes if not each.noticed(classified)] == []
        pairs = zip(answers, results, strict=False)
        same = sum(one.predictions[0].label == two.predictions[0].label for one, two in pairs)
        figures(
            f"{encoding}: {all_s * 1000:.1f} ms of CPU time a frame, idle {idle_s * 1000:.2f} ms, "
            f"ratio {all_s / idle_s:.1f}; {len(results)} frames, {len(classified)} classified, "
            f"{len(unexpected(classified, changes))} of them for nothing, no change missed, "
            f"the best label as without it in {same / len(answers):.1%}"
        )
        assert all_s / idle_s >= 10


def test_a_live_camera_is_repeated_at_its_own_rate(engine: Classifier) -> None:
    """Nothing is lost by it while nobody is slow."""
    taken = threading.Semaphore(0)
    steps: list[object] = []
    for _ in range(50):
        steps += [1, lambda _timeout_s: taken.acquire(timeout=PATIENCE_S)]
    results = []
    for result in results_of(join(ScriptedCamera(steps, live=True), inference(engine))):  # type: ignore[arg-type] # each is a step
        results.append(result)
        taken.release()
    assert len(results) == 50
    assert repeats(results).count(False) <= 2
