"""Frames through the pipeline: from a scripted camera, through a real model."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.pipelines import (
    CLASSES,
    PATIENCE_S,
    ScriptedCamera,
    Step,
    inference,
    picture,
    results_of,
    settings,
    slot,
)
from support.tiny_models import LABELS, classifier

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.contract.frame import Frame
from edgeclassifier.contract.results import Result
from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.preprocess import Area, Preprocessor
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import CameraError, CameraTimeout, InferenceError
from edgeclassifier.pipeline import sight as view_module
from edgeclassifier.pipeline.intake import Lane
from edgeclassifier.pipeline.pipeline import Pipeline

JOIN_S = 0.2
"""Give up soon on threads that hang."""


def silence(timeout_s: float) -> None:
    time.sleep(min(timeout_s, 0.01))
    raise CameraTimeout("no frame")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.tflite"
    path.write_bytes(classifier("uint8", scale=1 / 256))
    return path


@pytest.fixture
def engine(model: Path) -> Classifier:
    loaded = load_model(model, threads=1)
    return Classifier(loaded, path=model, labels=LABELS, labels_source="labels.txt")


def join(*cameras: ScriptedCamera, engine: Classifier, deadline_s: float = PATIENCE_S) -> Pipeline:
    pipeline = Pipeline(
        camera=settings(*cameras, deadline_s=deadline_s),
        lanes=[Lane(models=slot(engine))],
        join_s=JOIN_S,
    )
    pipeline.open()
    return pipeline


def origins(results: Sequence[Result]) -> list[int]:
    return [int(result.frame.origin) for result in results]


def assert_answers_belong_to_frames(results: Sequence[Result]) -> None:
    for result in results:
        number = int(result.frame.origin)
        assert result.predictions[0].class_id == number % CLASSES
        assert np.array_equal(result.crop, picture(number))


# Which frames are classified


@pytest.mark.parametrize("pause_s", [0.0, 0.005], ids=["fast reader", "slow reader"])
def test_from_files_every_frame_is_classified_in_order(engine: Classifier, pause_s: float) -> None:
    pipeline = join(ScriptedCamera(range(40)), engine=engine)
    results = []
    for result in results_of(pipeline):
        time.sleep(pause_s)
        results.append(result)
    assert origins(results) == list(range(40))
    assert pipeline.status.superseded_frames == 0
    assert_answers_belong_to_frames(results)


def test_from_a_live_camera_the_newest_frame_wins_and_the_others_are_counted(
    engine: Classifier,
) -> None:
    all_given, reader_was_slow = threading.Event(), threading.Event()
    camera = ScriptedCamera(
        [
            *range(100),
            lambda _timeout_s: all_given.set(),
            lambda _timeout_s: reader_was_slow.wait(PATIENCE_S),
        ],
        live=True,
    )
    pipeline = join(camera, engine=engine)
    stream = results_of(pipeline)
    results = [next(stream)]
    assert all_given.wait(PATIENCE_S)
    superseded_meanwhile = pipeline.status.superseded_frames
    reader_was_slow.set()
    results += stream
    seen = origins(results)
    assert superseded_meanwhile >= 90
    assert seen == sorted(set(seen))
    assert seen[-1] == 99
    assert len(seen) + pipeline.status.superseded_frames == 100
    assert_answers_belong_to_frames(results)


def test_a_live_camera_that_is_slower_than_the_reader_loses_nothing(engine: Classifier) -> None:
    taken = threading.Semaphore(0)

    def until_taken(_timeout_s: float) -> None:
        assert taken.acquire(timeout=PATIENCE_S)

    steps: list[Step] = []
    for number in range(10):
        steps += [number, until_taken]
    pipeline = join(ScriptedCamera(steps, live=True), engine=engine)
    results = []
    for result in results_of(pipeline):
        results.append(result)
        taken.release()
    assert origins(results) == list(range(10))
    assert pipeline.status.superseded_frames == 0


def test_a_source_without_frames_ends_without_results(engine: Classifier) -> None:
    camera = ScriptedCamera([])
    assert list(results_of(join(camera, engine=engine))) == []
    assert camera.closed.is_set()


def test_pauses_shorter_than_the_deadline_are_no_failure(engine: Classifier) -> None:
    camera = ScriptedCamera([0, silence, silence, 1, silence, 2], live=False)
    assert origins(list(results_of(join(camera, engine=engine)))) == [0, 1, 2]


# Latency


def test_the_latencies_of_a_frame_add_up(engine: Classifier) -> None:
    results = list(results_of(join(ScriptedCamera(range(20)), engine=engine)))
    for latency in (result.latency for result in results):
        stages = (latency.capture_s, latency.preprocess_s, latency.inference_s)
        assert all(stage >= 0 for stage in stages)
        # The total has the waiting as well.
        assert latency.total_s >= sum(stages) - 1e-9


def test_the_latency_of_the_camera_counts_from_the_time_of_capture(engine: Classifier) -> None:
    frames = FrameFactory(camera_id="cam0")
    camera = ScriptedCamera([])
    old = frames.frame(picture(0), origin="0", monotonic_s=time.monotonic() - 100)
    script = iter([old, None])
    camera.read = lambda timeout_s: next(script)  # type: ignore[method-assign]  # noqa: ARG005
    [result] = results_of(join(camera, engine=engine))
    assert result.latency.capture_s >= 100
    assert result.latency.total_s >= 100
    assert result.latency.inference_s < 100


def test_the_latency_of_preparing_a_frame_is_not_that_of_the_camera(
    engine: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Preprocessor.__call__

    def slowly(self: Preprocessor, pixels: NDArray[np.uint8], area: Area | None) -> Any:
        time.sleep(0.05)
        return prepare(self, pixels, area)

    monkeypatch.setattr(Preprocessor, "__call__", slowly)
    latencies = [each.latency for each in results_of(join(ScriptedCamera(range(5)), engine=engine))]
    fastest_capture_s = min(each.capture_s for each in latencies)
    fastest_inference_s = min(each.inference_s for each in latencies)
    assert all(each.preprocess_s >= 0.05 for each in latencies)
    assert max(fastest_capture_s, fastest_inference_s) < 0.05


# Failures


@pytest.mark.parametrize("error", [CameraError("busy"), ZeroDivisionError("a fault of ours")])
def test_what_open_raises_is_raised_in_the_callers_thread(
    engine: Classifier, error: Exception
) -> None:
    camera = ScriptedCamera([0])

    def fail() -> None:
        raise error

    camera.on_open = fail
    with pytest.raises(type(error)) as caught:
        list(results_of(join(camera, engine=engine)))
    assert caught.value is error
    assert camera.closed.is_set()


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("error", [CameraError("gone"), ZeroDivisionError("a fault of ours")])
def test_what_read_raises_is_raised_in_the_callers_thread(
    engine: Classifier, error: Exception, *, live: bool
) -> None:
    camera = ScriptedCamera([0, 1, error], live=live)
    with pytest.raises(type(error)) as caught:
        list(results_of(join(camera, engine=engine)))
    assert caught.value is error
    assert camera.closed.is_set()


def test_a_frame_that_is_no_picture_is_raised_in_the_callers_thread(engine: Classifier) -> None:
    camera = ScriptedCamera([])
    grey: Any = np.zeros((2, 2), np.uint8)
    frame = FrameFactory(camera_id="cam0").frame(grey, origin="0")
    camera.read = lambda timeout_s: frame  # type: ignore[method-assign]  # noqa: ARG005
    with pytest.raises((ValueError, IndexError, InferenceError)):
        list(results_of(join(camera, engine=engine)))
    assert camera.closed.is_set()


def test_what_the_interpreter_raises_is_raised_in_the_callers_thread(
    engine: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, given = engine.run, iter(range(100))

    def fail_at_the_fifth(tensor: NDArray[Any]) -> NDArray[Any]:
        if next(given) == 4:
            raise RuntimeError("a kernel failed")
        return run(tensor)

    monkeypatch.setattr(engine, "run", fail_at_the_fifth)
    camera = ScriptedCamera(iter(range(100)))
    with pytest.raises(RuntimeError, match="a kernel failed"):
        list(results_of(join(camera, engine=engine)))
    assert camera.closed.wait(PATIENCE_S)


def test_silence_beyond_the_deadline_is_a_failure_of_the_camera(engine: Classifier) -> None:
    camera = ScriptedCamera(chain([0], repeat(silence)), live=True)
    stream = results_of(join(camera, engine=engine, deadline_s=0.1))
    assert origins([next(stream)]) == [0]
    with pytest.raises(CameraError, match=r"no frame for \d+\.\d s, more than camera\.deadline_s"):
        next(stream)
    assert camera.closed.is_set()


def test_a_camera_that_is_silent_from_the_start_fails_too(engine: Classifier) -> None:
    camera = ScriptedCamera(repeat(silence), live=True)
    with pytest.raises(CameraError, match=r"more than camera\.deadline_s \(0\.1\)"):
        list(results_of(join(camera, engine=engine, deadline_s=0.1)))


# The end


def test_a_wish_to_stop_ends_a_source_without_an_end(engine: Classifier) -> None:
    stop = threading.Event()
    camera = ScriptedCamera(iter(lambda: 1, None))
    results = []
    for result in results_of(join(camera, engine=engine), stopped=stop.is_set):
        results.append(result)
        if len(results) == 3:
            stop.set()
    assert len(results) == 3
    assert camera.closed.wait(PATIENCE_S)


def test_a_wish_to_stop_ends_the_wait_for_a_silent_camera(engine: Classifier) -> None:
    stop = threading.Event()
    camera = ScriptedCamera(chain([0, lambda _timeout_s: stop.set()], repeat(silence)), live=True)
    assert len(list(results_of(join(camera, engine=engine), stopped=stop.is_set))) <= 1
    assert camera.closed.wait(PATIENCE_S)


def test_a_failure_while_stopping_is_none(engine: Classifier) -> None:
    stop = threading.Event()

    def fail(_timeout_s: float) -> None:
        stop.set()
        raise CameraError("interrupted")

    camera = ScriptedCamera([0, fail], live=True)
    assert len(list(results_of(join(camera, engine=engine), stopped=stop.is_set))) <= 1


def test_who_stops_asking_for_results_closes_the_camera(engine: Classifier) -> None:
    camera = ScriptedCamera(iter(lambda: 1, None))
    stream = results_of(join(camera, engine=engine))
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # results() is a generator
    assert camera.closed.wait(PATIENCE_S)


class Hang:
    """Blocks, as a driver does that waits for hardware, until the test is over."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self, *_arguments: object) -> None:
        self.entered.set()
        self.release.wait(PATIENCE_S)


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.release.set()
    for thread in threading.enumerate():
        if thread.name in {"capture", "inference"}:
            thread.join(PATIENCE_S)


def test_a_camera_that_hangs_in_read_does_not_keep_the_daemon_from_stopping(
    engine: Classifier, hang: Hang
) -> None:
    camera = ScriptedCamera([0, hang], live=True)
    results = list(results_of(join(camera, engine=engine), stopped=hang.entered.is_set))
    assert len(results) <= 1
    assert not camera.closed.is_set()


def test_a_camera_that_hangs_in_open_does_not_keep_the_daemon_from_stopping(
    engine: Classifier, hang: Hang
) -> None:
    camera = ScriptedCamera([0], live=True)
    camera.on_open = hang
    assert list(results_of(join(camera, engine=engine), stopped=hang.entered.is_set)) == []


def test_a_camera_that_hangs_in_close_does_not_hold_back_the_end(
    engine: Classifier, hang: Hang
) -> None:
    camera = ScriptedCamera([0, 1, 2])
    camera.on_close = hang
    assert origins(list(results_of(join(camera, engine=engine)))) == [0, 1, 2]


def test_a_camera_that_fails_and_then_hangs_in_close_is_still_a_failure(
    engine: Classifier, hang: Hang
) -> None:
    camera = ScriptedCamera([0, CameraError("gone")], live=True)
    camera.on_close = hang
    with pytest.raises(CameraError, match="gone"):
        list(results_of(join(camera, engine=engine)))


def test_a_camera_that_hangs_in_read_misses_the_deadline(engine: Classifier, hang: Hang) -> None:
    """Nobody but the caller's thread is left to tell."""
    camera = ScriptedCamera([0, hang], live=True)
    stream = results_of(join(camera, engine=engine, deadline_s=0.3))
    assert origins([next(stream)]) == [0]
    with pytest.raises(CameraError, match=r"camera\.deadline_s"):
        next(stream)


@pytest.mark.parametrize("live", [True, False])
def test_the_camera_opens_while_the_model_is_loaded(engine: Classifier, *, live: bool) -> None:
    """Its first frames wait for the model where they are from a file, else newer ones win."""
    reading = threading.Event()
    camera = ScriptedCamera([lambda _timeout_s: reading.set(), 0, 1, 2], live=live)
    models = slot(None)
    pipeline = Pipeline(camera=settings(camera), lanes=[Lane(models=models)])
    pipeline.open()
    assert reading.wait(PATIENCE_S)
    models.load(inference(engine))
    seen = origins(list(results_of(pipeline)))
    assert seen == sorted(set(seen))
    assert len(seen) + pipeline.status.superseded_frames == 3
    assert live or seen == [0, 1, 2]


def test_a_pipeline_that_never_got_a_model_lets_go_of_the_camera() -> None:
    camera = ScriptedCamera(range(100))
    pipeline = Pipeline(camera=settings(camera), lanes=[Lane(models=slot(None))])
    pipeline.open()
    pipeline.close()
    assert camera.closed.wait(PATIENCE_S)


# Pausing


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


class Reading:
    """Reads results in a thread of its own, as the daemon does."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.results: list[Result] = []
        self.error: Exception | None = None
        self.asked = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        try:
            for result in results_of(self.pipeline, stopped=self._stopped):
                self.results.append(result)
        except (CameraError, InferenceError) as error:
            self.error = error

    def _stopped(self) -> bool:
        self.asked += 1
        return self.stop.is_set()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


Read = Callable[[Pipeline], Reading]


@pytest.fixture
def read() -> Iterator[Read]:
    readings: list[Reading] = []

    def start(pipeline: Pipeline) -> Reading:
        readings.append(Reading(pipeline))
        return readings[-1]

    yield start
    for each in readings:
        each.end()


def rest(_timeout_s: float) -> None:
    time.sleep(0.002)


def endless() -> Iterator[Step]:
    return chain.from_iterable((number, rest) for number in count())


def test_while_it_is_paused_a_live_camera_is_read_and_nothing_comes_out(
    engine: Classifier, read: Read
) -> None:
    given: list[int] = []

    def steps() -> Iterator[Step]:
        for number in count():
            given.append(number)
            yield number
            yield rest

    pipeline = join(ScriptedCamera(steps(), live=True), engine=engine)
    reading = read(pipeline)
    until(lambda: reading.results)
    pipeline.pause()
    assert pipeline.paused
    until(lambda: pipeline._answers.waiting.empty() and pipeline._turns.waiting.empty())
    asked, given_before = reading.asked, len(given)
    time.sleep(0.05)  # what is under way comes to an end
    seen = len(reading.results)
    until(lambda: reading.asked >= asked + 3 and len(given) > given_before + 50)
    assert len(reading.results) == seen
    newest = given[-1]
    pipeline.resume()
    assert not pipeline.paused
    until(lambda: len(reading.results) > seen + 5)
    assert origins(reading.results)[seen] >= newest
    assert_answers_belong_to_frames(reading.results)


def test_frames_from_files_wait_for_the_end_of_a_pause(engine: Classifier, read: Read) -> None:
    pipeline = join(ScriptedCamera([each for n in range(60) for each in (n, rest)]), engine=engine)
    reading = read(pipeline)
    for wanted in (5, 20, 40):
        until(lambda wanted=wanted: len(reading.results) >= wanted)  # type: ignore[misc] # no lambda may have it
        pipeline.pause()
        time.sleep(0.05)
        seen = len(reading.results)
        until(lambda asked=reading.asked: reading.asked > asked + 1)  # type: ignore[misc] # as above
        assert len(reading.results) == seen < 60
        pipeline.resume()
    reading.thread.join(PATIENCE_S)
    assert origins(reading.results) == list(range(60))


def test_a_camera_that_fails_during_a_pause_is_found(engine: Classifier, read: Read) -> None:
    fail = threading.Event()

    def maybe(timeout_s: float) -> None:
        rest(timeout_s)
        if fail.is_set():
            raise CameraError("gone")

    steps: Iterator[Step] = chain.from_iterable((number, maybe) for number in count())
    pipeline = join(ScriptedCamera(steps, live=True), engine=engine)
    reading = read(pipeline)
    until(lambda: reading.results)
    pipeline.pause()
    fail.set()
    reading.thread.join(PATIENCE_S)
    assert str(reading.error) == "gone"


@pytest.mark.parametrize("live", [True, False])
def test_a_pause_does_not_keep_the_daemon_from_stopping(
    engine: Classifier, read: Read, *, live: bool
) -> None:
    camera = ScriptedCamera(endless(), live=live)
    pipeline = join(camera, engine=engine)
    reading = read(pipeline)
    until(lambda: reading.results)
    pipeline.pause()
    reading.end()
    assert camera.closed.wait(PATIENCE_S)


def test_a_camera_is_replaced_during_a_pause(engine: Classifier, read: Read) -> None:
    first, second = ScriptedCamera(endless()), ScriptedCamera(endless())
    pipeline = join(first, engine=engine)
    reading = read(pipeline)
    until(lambda: reading.results)
    pipeline.pause()
    time.sleep(0.05)
    seen = len(reading.results)
    pipeline.replace_camera(settings(second))
    assert first.closed.wait(PATIENCE_S)
    pipeline.resume()
    until(lambda: len(reading.results) > seen + 10)
    assert sorted(origins(reading.results)[seen:]).count(0) == 1


# Questions


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "running"])
@pytest.mark.parametrize("live", [True, False], ids=["live", "files"])
def test_the_next_frame_is_classified_on_request(
    engine: Classifier, read: Read, *, live: bool, paused: bool
) -> None:
    pipeline = join(ScriptedCamera(endless(), live=live), engine=engine)
    reading = read(pipeline)
    until(lambda: reading.results)
    if paused:
        pipeline.pause()
    for _ in range(5):
        before = origins(reading.results)[-1]
        result = pipeline.classify(None, timeout_s=PATIENCE_S)
        assert int(result.frame.origin) > before
        assert_answers_belong_to_frames([result])
        assert not result.answer_age_s > 0


def test_a_request_takes_no_frame_from_the_results(engine: Classifier, read: Read) -> None:
    pipeline = join(ScriptedCamera([each for n in range(60) for each in (n, rest)]), engine=engine)
    reading = read(pipeline)
    for _ in range(5):
        pipeline.classify(None, timeout_s=PATIENCE_S)
    reading.thread.join(PATIENCE_S)
    assert origins(reading.results) == list(range(60))


def test_a_picture_of_the_callers_is_classified_and_not_given_out(
    engine: Classifier, read: Read
) -> None:
    pipeline = join(ScriptedCamera(endless(), live=True), engine=engine)
    reading = read(pipeline)
    answers: list[tuple[int, Result]] = []

    def ask(numbers: Sequence[int]) -> None:
        for number in numbers:
            large = np.repeat(np.repeat(picture(number), 9, axis=0), 9, axis=1)
            answers.append((number, pipeline.classify(large, timeout_s=PATIENCE_S)))

    askers = [threading.Thread(target=ask, args=(range(n, n + 20),)) for n in range(3)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(PATIENCE_S)
    assert len(answers) == 60
    assert all(result.predictions[0].class_id == n % CLASSES for n, result in answers)
    reading.end()
    assert {each.frame.camera for each in reading.results} == {"cam0"}
    assert_answers_belong_to_frames(reading.results)


@pytest.mark.parametrize("live", [True, False], ids=["live", "files"])
def test_who_reads_the_results_may_ask_too(engine: Classifier, *, live: bool) -> None:
    """The interpreter must not wait for the reader that waits for it."""
    pipeline = join(ScriptedCamera(endless(), live=live), engine=engine)
    results: list[Result] = []
    for result in results_of(pipeline, stopped=lambda: len(results) >= 10):
        results.append(result)
        time.sleep(0.02)
        asked = pipeline.classify(picture(4), timeout_s=PATIENCE_S)
        assert asked.predictions[0].class_id == 4 % CLASSES
        assert pipeline.classify(None, timeout_s=PATIENCE_S).frame.camera == "cam0"
    seen = origins(results)
    assert seen == (sorted(set(seen)) if live else list(range(10)))


def test_a_question_is_answered_by_the_model_in_use(
    engine: Classifier, model: Path, read: Read
) -> None:
    pipeline = join(ScriptedCamera(endless(), live=True), engine=engine)
    read(pipeline)
    loaded = load_model(model, threads=1)
    again = Classifier(loaded, path=model, labels=LABELS, labels_source="labels.txt")
    assert pipeline.classify(picture(1), timeout_s=PATIENCE_S).model.name == "tiny"
    pipeline.lanes[0].models.swap(inference(again, name="other"))
    assert pipeline.classify(picture(1), timeout_s=PATIENCE_S).model.name == "other"
    assert pipeline.classify(None, timeout_s=PATIENCE_S).model.name == "other"


def test_a_camera_that_gives_nothing_is_named_in_the_answer(engine: Classifier, read: Read) -> None:
    pipeline = join(ScriptedCamera(chain([0], repeat(silence)), live=True), engine=engine)
    reading = read(pipeline)
    until(lambda: reading.results)
    with pytest.raises(CameraError, match=r"no frame within 0\.05 s"):
        pipeline.classify(None, timeout_s=0.05)
    assert pipeline.classify(picture(3), timeout_s=PATIENCE_S).predictions[0].class_id == 3
    assert not pipeline._demand.wanted


def test_a_question_is_answered_while_the_camera_is_opened_again(
    engine: Classifier, read: Read
) -> None:
    cameras = [
        ScriptedCamera([0, CameraError("gone")], live=True),
        ScriptedCamera(endless(), live=True),
    ]
    pipeline = join(*cameras, engine=engine)
    reading = read(pipeline)
    until(lambda: pipeline.recovering)
    with pytest.raises(CameraError, match=r"no frame within 0\.01 s: gone"):
        pipeline.classify(None, timeout_s=0.01)
    assert pipeline.classify(picture(2), timeout_s=PATIENCE_S).predictions[0].class_id == 2
    assert pipeline.classify(None, timeout_s=PATIENCE_S).frame.camera == "cam0"
    assert reading.error is None


def hang_in_run(engine: Classifier, hang: Hang, monkeypatch: pytest.MonkeyPatch) -> None:
    run = engine.run

    def run_late(tensor: NDArray[Any]) -> NDArray[Any]:
        hang()
        return run(tensor)

    monkeypatch.setattr(engine, "run", run_late)


def test_an_interpreter_that_hangs_is_named_in_the_answer(
    engine: Classifier, hang: Hang, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang_in_run(engine, hang, monkeypatch)
    pipeline = join(ScriptedCamera(endless(), live=True), engine=engine)
    read(pipeline)
    assert hang.entered.wait(PATIENCE_S)
    for pixels in (None, picture(1)):
        with pytest.raises(InferenceError, match=r"no answer from the interpreter within 0\.1 s"):
            pipeline.classify(pixels, timeout_s=0.1)


def test_a_question_that_the_model_cannot_answer_harms_nobody_else(
    engine: Classifier, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = engine.run

    def run_unless_white(tensor: NDArray[Any]) -> NDArray[Any]:
        if tensor.min() == 255:
            raise InferenceError("it does not like white")
        return run(tensor)

    monkeypatch.setattr(engine, "run", run_unless_white)
    pipeline = join(ScriptedCamera(endless(), live=True), engine=engine)
    reading = read(pipeline)
    with pytest.raises(InferenceError, match="white"):
        pipeline.classify(np.full((2, 2, 3), 255, np.uint8), timeout_s=PATIENCE_S)
    seen = len(reading.results)
    until(lambda: len(reading.results) > seen + 5)


@pytest.mark.parametrize("of_caller", [True, False], ids=["picture", "frame"])
def test_questions_fail_at_once_when_the_pipeline_is_closed(
    engine: Classifier, hang: Hang, read: Read, monkeypatch: pytest.MonkeyPatch, *, of_caller: bool
) -> None:
    pixels = picture(1) if of_caller else None
    if of_caller:
        hang_in_run(engine, hang, monkeypatch)
    pipeline = join(ScriptedCamera(chain([0], repeat(silence)), live=True), engine=engine)
    reading = read(pipeline)
    until(lambda: reading.results or hang.entered.is_set())
    errors: list[Exception] = []

    def ask() -> None:
        try:
            pipeline.classify(pixels, timeout_s=10 * PATIENCE_S)
        except InferenceError as error:
            errors.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    until(lambda: pipeline._demand._open)
    reading.end()
    asker.join(PATIENCE_S)
    assert ["stopping" in str(each) for each in errors] == [True]
    with pytest.raises(InferenceError, match="stopping"):
        pipeline.classify(pixels, timeout_s=10 * PATIENCE_S)


def test_without_a_model_there_is_no_answer() -> None:
    pipeline = Pipeline(camera=settings(ScriptedCamera([])), lanes=[Lane(models=slot(None))])
    with pytest.raises(InferenceError, match="no model yet"):
        pipeline.classify(picture(1), timeout_s=0.01)
    pipeline.close()
    with pytest.raises(InferenceError, match="no model yet"):
        pipeline.classify(picture(1), timeout_s=10 * PATIENCE_S)


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 4), (2, 2, 3, 1)])
def test_what_is_no_picture_is_refused(engine: Classifier, shape: tuple[int, ...]) -> None:
    pipeline = join(ScriptedCamera([]), engine=engine)
    with pytest.raises(ValueError, match="not H x W x 3"):
        pipeline.classify(np.zeros(shape, np.uint8), timeout_s=PATIENCE_S)
    pipeline.close()


def test_a_camera_that_sees_nothing_says_so(
    engine: Classifier, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "_INTERVAL_S", 0.01)
    monkeypatch.setattr(view_module, "_HOLD_S", 0.05)
    black = FrameFactory(camera_id="cam0").frame(np.zeros((48, 64, 3), np.uint8), origin="0")
    camera = ScriptedCamera([], live=True)

    def give(timeout_s: float) -> Frame:
        rest(timeout_s)
        return black

    monkeypatch.setattr(camera, "read", give)
    pipeline = join(camera, engine=engine)
    assert pipeline.camera.view == "clear"
    read(pipeline)
    pipeline.pause()
    until(lambda: pipeline.camera.view == "dark")
