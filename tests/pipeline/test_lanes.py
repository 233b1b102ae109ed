"""Several lanes through one pipeline: real models, frames with a colour on each side."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from support.pipelines import PATIENCE_S, inference, loaded, results_of, slot
from support.tiny_models import LABELS, classifier

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.results import Result
from edgeclassifier.engine.classifier import Classifier
from edgeclassifier.engine.inference import Answer, Inference
from edgeclassifier.engine.preprocess import Area
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import InferenceError
from edgeclassifier.pipeline.capture import CameraSettings
from edgeclassifier.pipeline.idle import IdleSettings
from edgeclassifier.pipeline.intake import Lane
from edgeclassifier.pipeline.pipeline import Pipeline

LEFT = Area(region=(0.0, 0.0, 0.375, 1.0))
RIGHT = Area(region=(0.625, 0.0, 0.375, 1.0))
IDLE = IdleSettings(max_age_s=60.0)


def frame(left: int, right: int) -> Pixels:
    """Make a frame of two colours, 0 to 2 for red, green and blue."""
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, :64, left] = pixels[:, 64:, right] = 200
    return pixels


class Colours:
    """Gives the frames that it is told to."""

    unreadable = 0

    def __init__(
        self, frames: Sequence[Pixels] | Iterator[Pixels], *, live: bool, rate_hz: float = 0.0
    ) -> None:
        self.live = live
        self._frames = iter(frames)
        self._factory = FrameFactory(camera_id="cam0")
        self._pause_s = 1 / rate_hz if rate_hz else 0.0

    def open(self) -> None:
        pass

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - the protocol's signature
        time.sleep(self._pause_s)
        pixels = next(self._frames, None)
        return None if pixels is None else self._factory.frame(pixels, origin="colours")

    def close(self) -> None:
        pass


class Counted:
    """Makes a model slow, or fail from a run on, and counts its runs."""

    def __init__(self, model: Inference, *, takes_s: float = 0.0, fails_after: float = 1e9) -> None:
        self.runs = 0
        run = model.run

        def counted(tensor: object) -> Answer:
            self.runs += 1
            time.sleep(takes_s)
            if self.runs > fails_after:
                raise InferenceError("it is out of order")
            return run(tensor)  # type: ignore[arg-type] # as it was given

        model.run = counted  # type: ignore[method-assign] # the fault that is injected


@pytest.fixture
def engine(tmp_path: Path) -> Classifier:
    path = tmp_path / "model.tflite"
    path.write_bytes(classifier("uint8", scale=1 / 256))
    return Classifier(
        load_model(path, threads=1), path=path, labels=LABELS, labels_source="labels.txt"
    )


def pipeline_of(camera: Colours, *lanes: Lane) -> Pipeline:
    settings = CameraSettings(make=lambda: camera, deadline_s=PATIENCE_S)
    pipeline = Pipeline(camera=settings, lanes=lanes)
    pipeline.open()
    return pipeline


def classes(results: Sequence[Result], view: str) -> list[int]:
    return [each.predictions[0].class_id for each in results if each.view == view]


def test_from_files_every_frame_is_classified_in_every_view(engine: Classifier) -> None:
    models = slot(engine)
    frames = [frame(number % 3, (number + 1) % 3) for number in range(30)]
    lanes = [
        Lane(view=view, models=models, area=area) for view, area in (("l", LEFT), ("r", RIGHT))
    ]
    results = list(results_of(pipeline_of(Colours(frames, live=False), *lanes)))
    assert classes(results, "l") == [number % 3 for number in range(30)]
    assert classes(results, "r") == [(number + 1) % 3 for number in range(30)]


def test_views_that_ask_for_too_much_take_turns(engine: Classifier) -> None:
    """Ten views, a frame each millisecond, and an interpreter that takes five."""
    model = inference(engine)
    Counted(model, takes_s=0.005)
    models = loaded(model)
    lanes = [Lane(view=str(number), models=models, area=LEFT) for number in range(10)]
    camera = Colours((frame(0, 1) for _ in count()), live=True, rate_hz=1000)
    turns: Counter[str] = Counter()
    newest: dict[str, int] = {}
    with closing(pipeline_of(camera, *lanes)) as pipeline:
        while sum(turns.values()) < 200:
            if result := pipeline.next(0.1):
                turns[result.view] += 1
                assert result.frame.seq > newest.get(result.view, -1)
                newest[result.view] = result.frame.seq
        assert pipeline.status.superseded_frames > 0
    assert min(turns.values()) >= 15, turns


def test_a_view_that_asks_for_less_gets_that_and_the_others_the_rest(engine: Classifier) -> None:
    models = slot(engine)
    slow = Lane(view="slow", models=models, area=LEFT, max_rate_hz=20)
    fast = Lane(view="fast", models=models, area=RIGHT)
    camera = Colours((frame(0, 1) for _ in range(300)), live=True, rate_hz=200)
    results = list(results_of(pipeline_of(camera, slow, fast)))
    at_s = [each.frame.monotonic_s for each in results if each.view == "slow"]
    took_s = at_s[-1] - at_s[0]
    assert len(at_s) <= 20 * took_s + 2
    assert len(at_s) >= 5
    assert len(classes(results, "fast")) > 3 * len(at_s)


@pytest.mark.parametrize("live", [True, False])
def test_each_view_is_skipped_by_itself(engine: Classifier, *, live: bool) -> None:
    model = inference(engine)
    counted = Counted(model)
    models = loaded(model)
    lanes = [
        Lane(
            view=view,
            models=models,
            area=area,
            idle=IdleSettings(max_age_s=60.0, region=area.region),
        )
        for view, area in zip("lr", (LEFT, RIGHT), strict=True)
    ]
    frames = [frame(number % 2, 2) for number in range(30)]
    camera = Colours(frames, live=live, rate_hz=100 if live else 0)
    results = list(results_of(pipeline_of(camera, *lanes)))
    left = [each for each in results if each.view == "l"]
    right = [each for each in results if each.view == "r"]
    # Of a live camera, two frames that are taken may be two that are alike.
    assert live or not any(each.answer_age_s > 0 for each in left)
    assert sum(each.answer_age_s > 0 for each in right) >= len(right) - 3
    assert classes(results, "r") == [2] * len(right)
    assert classes(results, "l") == [each.frame.seq % 2 for each in left]
    assert counted.runs <= len(left) + 3


def test_a_new_rectangle_is_looked_at_from_the_next_frame_on(engine: Classifier) -> None:
    """And no answer of the old one is repeated."""
    idle = IdleSettings(max_age_s=60.0, region=LEFT.region)
    lane = Lane(view="l", models=slot(engine), area=LEFT, idle=idle)
    camera = Colours((frame(0, 2) for _ in range(60)), live=False)
    results = []
    for result in results_of(pipeline_of(camera, lane)):
        results.append(result)
        if len(results) == 20:
            again = IdleSettings(max_age_s=60.0, region=RIGHT.region)
            lane.configure(area=RIGHT, idle=again)
    found = classes(results, "l")
    changed = found.index(2)
    assert 20 <= changed <= 24
    assert found == [0] * changed + [2] * (60 - changed)


def test_lanes_come_and_go_between_two_frames(engine: Classifier) -> None:
    models = slot(engine)
    one, two, three = (Lane(view=name, models=models, area=LEFT) for name in "123")
    camera = Colours((frame(1, 2) for _ in range(90)), live=False)
    pipeline = pipeline_of(camera, one, two)
    seqs: dict[str, list[int]] = {}
    for result in results_of(pipeline):
        seqs.setdefault(result.view, []).append(result.frame.seq)
        if result.frame.seq == 30 and result.view == "2":
            pipeline.follow([one, three])
    assert seqs["1"] == [*range(90)]
    assert seqs["3"] == [*range(seqs["3"][0], 90)]
    assert seqs["2"] == [*range(seqs["2"][-1] + 1)]
    assert seqs["2"][-1] <= 33
    assert seqs["3"][0] <= 34


@pytest.mark.parametrize("live", [True, False])
def test_a_model_that_fails_at_work_takes_only_its_own_views_along(
    engine: Classifier, *, live: bool
) -> None:
    bad, good = inference(engine, name="bad"), inference(engine, name="good")
    Counted(bad, fails_after=3)
    broken = Lane(view="broken", models=loaded(bad), area=LEFT)
    works = Lane(view="works", models=loaded(good), area=RIGHT)
    camera = Colours((frame(0, 1) for _ in range(50)), live=live, rate_hz=200 if live else 0)
    pipeline = pipeline_of(camera, broken, works)
    results = list(results_of(pipeline))
    assert len(classes(results, "broken")) == 3
    assert len(classes(results, "works")) >= 40
    assert broken.models.problem == "it is out of order"
    assert works.models.problem is None


def test_the_last_model_that_fails_ends_it(engine: Classifier) -> None:
    bad = inference(engine)
    Counted(bad, fails_after=3)
    models = loaded(bad)
    lanes = [Lane(view=name, models=models, area=LEFT) for name in "12"]
    camera = Colours((frame(0, 1) for _ in range(50)), live=False)
    with pytest.raises(InferenceError, match="out of order"):
        list(results_of(pipeline_of(camera, *lanes)))


def test_a_question_goes_the_way_of_its_view(engine: Classifier) -> None:
    models = slot(engine)
    left, right = Lane(models=models, area=LEFT), Lane(models=models, area=RIGHT)
    asked = threading.Event()

    def frames() -> Iterator[Pixels]:
        while not asked.is_set():
            yield frame(0, 2)

    pipeline = pipeline_of(Colours(frames(), live=True, rate_hz=200), left, right)
    with closing(pipeline):
        pipeline.next(PATIENCE_S)
        for lane, expected in ((None, 0), (left, 0), (right, 2)):
            result = pipeline.classify(None, timeout_s=PATIENCE_S, lane=lane)
            assert result.predictions[0].class_id == expected
            result = pipeline.classify(frame(1, 2), timeout_s=PATIENCE_S, lane=lane)
            assert result.predictions[0].class_id == (1 if expected == 0 else 2)
        asked.set()


def test_what_may_be_repeated_keeps_no_frame_in_memory(engine: Classifier) -> None:
    """Fifty views would keep fifty."""
    lane = Lane(view="l", models=slot(engine), area=LEFT, idle=IDLE)
    results = list(results_of(pipeline_of(Colours([frame(0, 1)] * 5, live=False), lane)))
    assert any(each.answer_age_s > 0 for each in results)
    assert all(each.frame.pixels.shape == (64, 128, 3) for each in results)
    assert lane.last is not None
    assert lane.last.prepared.frame.pixels.shape == (2, 2, 3)
