"""How well own classes are learned, in how much time and memory: `make teach-test`."""

import hashlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import Figures
from numpy.typing import NDArray
from PIL import Image
from support.daemon import REPOSITORY, isolated
from support.scene import Pixels, Scene
from support.shared_data import FOLDER

from edgeclassifier.compose.engine import build_engine
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import load_config
from edgeclassifier.teach.examples import Example, Examples, read_folder
from edgeclassifier.teach.features import Extractor, in_memory, study
from edgeclassifier.teach.judgement import expected_calibration_error
from edgeclassifier.teach.logistic import Matrix, softmax
from edgeclassifier.teach.network import Head, Network
from edgeclassifier.teach.teaching import learn, teach

FLOWERS = FOLDER / "flowers"
OLDER = REPOSITORY / ".venv-tflite" / "bin" / "python"
DRAWS = 10
LEAST = {5: 0.74, 20: 0.84, 30: 0.86}
LEAST_OF_SCENES = 0.95
MOST_OFF = 0.06
MOST_TIMES_BARE, MOST_MB = 2.0, 250
NAMES = ("chelsea.png", "coffee.png", "grace_hopper.jpg", "rocket.jpg")

pytestmark = pytest.mark.timeout(1800)


class Remembering:
    """An extractor of the bundled base's features that runs each picture once."""

    def __init__(self, extract: Extractor) -> None:
        self._extract = extract
        self._known: dict[bytes, tuple[Pixels, NDArray[np.float32]]] = {}

    def __call__(self, pixels: Pixels) -> tuple[Pixels, NDArray[np.float32]]:
        key = hashlib.sha256(pixels.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._extract(pixels)
        return self._known[key]


@pytest.fixture(scope="module")
def extract() -> Iterator[Remembering]:
    config = load_config(None)
    model = find_model(config.model)
    network = Network(model.path.read_bytes(), path=model.path)
    with in_memory(network.features()) as path:
        yield Remembering(Extractor(path, build_engine(config, model)))


def learned(examples: Examples, extract: Remembering, *, varying: bool = True) -> Head:
    lesson = study(
        examples, extract, others=[], varying=varying, advance=lambda _: None, check=lambda: None
    )
    return learn(lesson, examples.labels)[0]


def scores(head: Head, pictures: Sequence[Pixels], extract: Remembering) -> Matrix:
    """What the head gives, by the arithmetic that test_network.py compares with the runtime's."""
    features = np.stack([extract(each)[1] for each in pictures])
    features = np.sqrt(features) if head.of_roots else features
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    return softmax(features @ head.weights.T + head.bias)


@pytest.mark.skipif(not FLOWERS.is_dir(), reason=f"no folder {FLOWERS}")
@pytest.mark.parametrize("varying", [True, False], ids=["variants", "as they are"])
@pytest.mark.parametrize("count", LEAST)
def test_flowers(extract: Remembering, figures: Figures, count: int, varying: bool) -> None:
    from edgeclassifier.engine.pictures import load_picture

    everything = read_folder(FLOWERS)
    rates, answers, truth = [], [], []
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        order = [
            [each for each in everything.pictures if each.class_id == kind] for kind in range(5)
        ]
        for each in order:
            random.shuffle(each)
        chosen = tuple(example for each in order for example in each[:count])
        rest = [example for each in order for example in each[count:]]
        examples = Examples(labels=everything.labels, pictures=chosen, other=None)
        head = learned(examples, extract, varying=varying)
        found = scores(head, [load_picture(each.path) for each in rest], extract)
        classes = np.array([each.class_id for each in rest])
        rates.append(float((found.argmax(axis=1) == classes).mean()))
        answers.append(found)
        truth.append(classes)
    error = expected_calibration_error(np.concatenate(answers), np.concatenate(truth))
    mean = float(np.mean(rates))
    figures(
        f"{count} pictures of each kind: top-1 {mean:.3f} (lowest {min(rates):.3f}), calibration "
        f"error {error:.3f}, mean of {DRAWS} draws"
    )
    if varying:
        assert mean >= LEAST[count]
        assert error <= MOST_OFF


def frames(scene: Scene, seed: int, each: int, folder: Path) -> list[Example]:
    """Pictures of a scene, with the thing and without, in changing light."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    made = []
    for number in range(2 * each):
        is_there = number % 2
        at = (-0.1 + random.uniform(-0.04, 0.04), 0.05 + random.uniform(-0.04, 0.04))
        frame = scene.frame(
            thing_at=at if is_there else None,
            light=float(random.uniform(0.5, 1.4)),
            shift=(int(random.integers(-6, 7)), int(random.integers(-6, 7))),
        )
        path = folder / f"{number}.jpg"
        Image.fromarray(frame).save(path, quality=90)
        made.append(Example(path=path, class_id=is_there))
    return made


@pytest.mark.parametrize("varying", [True, False], ids=["variants", "as they are"])
def test_a_thing_that_is_there_or_not(
    tmp_path: Path, extract: Remembering, figures: Figures, varying: bool
) -> None:
    from edgeclassifier.engine.pictures import load_picture

    rates = []
    for number, (background, thing) in enumerate(itertools.permutations(NAMES, 2)):
        if number % 3 == 2:
            continue  # eight of the twelve
        scene = Scene(width=320, height=240, background=background, thing=thing, area=0.02)
        given = frames(scene, number, 5, tmp_path / f"{number}")
        examples = Examples(labels=("absent", "there"), pictures=tuple(given), other=None)
        head = learned(examples, extract, varying=varying)
        tried = frames(scene, 100 + number, 25, tmp_path / f"{number}-tried")
        found = scores(head, [load_picture(each.path) for each in tried], extract)
        classes = np.array([each.class_id for each in tried])
        rates.append(float((found.argmax(axis=1) == classes).mean()))
    mean = float(np.mean(rates))
    figures(f"5 + 5 pictures of each of {len(rates)} scenes: {mean:.3f}, worst {min(rates):.3f}")
    if varying:
        assert mean >= LEAST_OF_SCENES


@pytest.fixture(scope="module")
def three_hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("three hundred")
    scene = Scene(width=640, height=480, area=0.05)
    for each in frames(scene, 0, 150, root / "all"):
        folder = root / ("there" if each.class_id else "absent")
        folder.mkdir(exist_ok=True)
        each.path.rename(folder / each.path.name)
    (root / "all").rmdir()
    return root


def test_the_time_of_three_hundred(three_hundred: Path, figures: Figures) -> None:
    config = load_config(None)
    engine = build_engine(config)
    ratios = []
    for _ in range(3):
        started_s = time.perf_counter()
        for _ in range(300):
            engine.classifier.invoke_again()
        bare_s = time.perf_counter() - started_s
        ratios.append(teach(config, read_folder(three_hundred), name="m").seconds / bare_s)
    figures(f"300 pictures are learned in {min(ratios):.2f} x the time of 300 bare inferences")
    assert min(ratios) <= MOST_TIMES_BARE


_MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def command(tmp_path: Path, folder: Path) -> tuple[dict[str, str], float]:
    """Teach by the command; return the environment and the peak of its memory in MB.

    What starts a program counts into its peak, so something small does.
    """
    env = isolated(tmp_path)
    own = [sys.executable, "-m", "edgeclassifier", "teach", str(folder), "--name", "m"]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *own],
        env=env,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return env, int(done.stdout) / 1000


def test_the_memory_for_three_hundred(
    tmp_path: Path, three_hundred: Path, figures: Figures
) -> None:
    _, peak_mb = command(tmp_path, three_hundred)
    figures(f"300 pictures of 640x480 are learned with {peak_mb:.0f} MB")
    assert peak_mb <= MOST_MB


@pytest.mark.skipif(not OLDER.exists(), reason=f"no {OLDER}: make test-tflite-runtime")
def test_the_older_runtime_gives_the_same_answers(
    tmp_path: Path, three_hundred: Path, figures: Figures
) -> None:
    """The pictures are those that it was taught with, and 30 others."""
    few = tmp_path / "few"
    for each in ("there", "absent"):
        (few / each).mkdir(parents=True)
        for picture in sorted((three_hundred / each).iterdir())[:10]:
            (few / each / picture.name).symlink_to(picture)
    env, _ = command(tmp_path, few)
    answers = []
    for python in (Path(sys.executable), OLDER):
        tried = [str(three_hundred / each) for each in ("there", "absent")]
        done = subprocess.run(
            [python, "-m", "edgeclassifier", "classify", *tried, "--model", "m", "--json"],
            env=env,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append([each["predictions"][0] for each in json.loads(done.stdout)])
    same = [one["label"] == other["label"] for one, other in zip(*answers, strict=True)]
    apart = max(abs(one["score"] - other["score"]) for one, other in zip(*answers, strict=True))
    figures(f"{sum(same)} of {len(same)} best labels are the same, scores differ by {apart:.3f}")
    assert all(same)
