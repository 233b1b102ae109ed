"""Cameras that fail, hang, freeze and come back, and one that takes the place of another."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest
from conftest import Figures
from PIL import Image
from PIL.ImageFilter import GaussianBlur
from support.daemon import SAMPLES
from support.shared_data import FOLDER

from edgeclassifier.cameras.camera import FrameFactory
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.engine.pictures import load_picture
from edgeclassifier.errors import CameraError, CameraTimeout
from edgeclassifier.pipeline.capture import CameraSettings, Capture
from edgeclassifier.pipeline.sight import FreezeDetector, ViewWatch, measure, view_of

PATIENCE_S = 20.0
DEADLINE_S = 0.3

Step = int | BaseException | Callable[[], object]
"""A frame, an error to raise, or something to do before the next step."""


class ScriptedCamera:
    """Does what its script says, one step at each read()."""

    def __init__(
        self,
        script: Sequence[Step] | Iterator[Step],
        *,
        live: bool = True,
        on_open: Callable[[], object] = lambda: None,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self.live = live
        self.unreadable = 0
        self.closed = threading.Event()
        self._script = iter(script)
        self._on_open = on_open
        self._on_close = on_close
        self._frames = FrameFactory(camera_id="cam0")

    def open(self) -> None:
        self._on_open()

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - as a camera has it
        while True:
            step = next(self._script)
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, int):
                return self._frames.frame(np.zeros((2, 2, 3), np.uint8), origin=str(step))
            step()

    def close(self) -> None:
        self._on_close()
        self.closed.set()

    def garbage(self) -> None:
        self.unreadable += 1
        silence()


def silence() -> None:
    time.sleep(0.01)
    raise CameraTimeout("no frame")


def fail() -> None:
    raise CameraError("not there")


class Hang:
    """Blocks, as a driver does that waits for hardware, until the test is over."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def __call__(self) -> None:
        self.release.wait(PATIENCE_S)


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.release.set()


class Bench:
    """A capture with one camera after the other, and what it delivered."""

    def __init__(
        self, *cameras: ScriptedCamera, max_recoveries: int = 0, steady_deadlines: float = 3
    ) -> None:
        self.seen: list[str] = []
        self.capture = Capture(
            self.settings(*cameras, max_recoveries=max_recoveries),
            deliver=self._deliver,
            on_end=lambda: None,
            open_s=0.1,
            close_s=0.1,
            pause_min_s=0.01,
            steady_deadlines=steady_deadlines,
        )
        self.capture.open()

    def settings(self, *cameras: ScriptedCamera, max_recoveries: int = 0) -> CameraSettings:
        given = iter(cameras)
        return CameraSettings(
            make=lambda: next(given), deadline_s=DEADLINE_S, max_recoveries=max_recoveries
        )

    def _deliver(self, frame: Frame, *, live: bool) -> bool:
        del live
        self.seen.append(frame.origin)
        return True

    def check_until(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            self.capture.check()
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def close(self) -> None:
        self.capture.close()
        self.capture.join(PATIENCE_S)


Make = Callable[..., Bench]


@pytest.fixture
def bench() -> Iterator[Make]:
    made: list[Bench] = []

    def make(*cameras: ScriptedCamera, **more: Any) -> Bench:
        made.append(Bench(*cameras, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def good(number: int) -> Iterator[Step]:
    """Deliver frames with this number for ever."""
    return chain.from_iterable(repeat((number, lambda: time.sleep(0.005))))


@pytest.mark.parametrize("fault", [CameraError("gone"), silence], ids=["error", "silence"])
def test_a_live_camera_that_fails_is_opened_again(bench: Make, fault: Step) -> None:
    cameras = [ScriptedCamera(chain([n], repeat(fault))) for n in range(3)]
    run = bench(*cameras, ScriptedCamera(good(3)), max_recoveries=3)
    run.check_until(lambda: "3" in run.seen and not run.capture.recovering)
    assert run.seen[:4] == ["0", "1", "2", "3"]
    assert run.capture.status.recoveries == 3
    assert run.capture.status.state == "ok"
    assert all(each.closed.is_set() for each in cameras)


def test_the_number_of_recoveries_in_a_row_is_bounded(bench: Make) -> None:
    run = bench(*(ScriptedCamera([n, CameraError("gone")]) for n in range(9)), max_recoveries=2)
    with pytest.raises(CameraError, match=r"gone \(opened again 2 times\)"):
        run.check_until(lambda: False)
    assert run.seen == ["0", "1", "2"]


def test_a_camera_that_was_steady_may_be_recovered_again(bench: Make) -> None:
    broken = threading.Event()

    def break_once() -> None:
        if broken.is_set():
            broken.clear()
            raise CameraError("gone")

    def flaky() -> Iterator[Step]:
        return chain.from_iterable(repeat((1, lambda: time.sleep(0.005), break_once)))

    run = bench(
        *(ScriptedCamera(flaky()) for _ in range(4)), max_recoveries=1, steady_deadlines=0.1
    )
    for turn in range(3):
        run.check_until(lambda: run.capture._attempts == 0 and run.seen)
        broken.set()
        run.check_until(partial(lambda wanted: run.capture.status.recoveries == wanted, turn + 1))
        run.seen.clear()
    assert run.capture.status.recoveries == 3


def test_a_camera_that_never_delivered_is_not_tried_again(bench: Make) -> None:
    """Whoever starts the daemon wants to be told."""
    run = bench(ScriptedCamera([], on_open=fail), ScriptedCamera(good(1)), max_recoveries=5)
    with pytest.raises(CameraError, match="not there"):
        run.check_until(lambda: False)


def test_files_are_not_opened_again(bench: Make) -> None:
    first = ScriptedCamera([0, CameraError("damaged")], live=False)
    run = bench(first, ScriptedCamera(good(1)), max_recoveries=5)
    with pytest.raises(CameraError, match="damaged"):
        run.check_until(lambda: False)


@pytest.mark.parametrize("where", ["read", "close", "open"])
def test_a_camera_that_hangs_is_left_behind(bench: Make, hang: Hang, where: str) -> None:
    stuck = {
        "read": ScriptedCamera([0, hang, silence]),
        "close": ScriptedCamera([0, CameraError("gone")], on_close=hang),
        "open": ScriptedCamera([], on_open=hang),
    }[where]
    first = [ScriptedCamera([0, CameraError("gone")])] if where == "open" else []
    run = bench(*first, stuck, ScriptedCamera(good(7)), max_recoveries=2)
    run.check_until(lambda: "7" in run.seen and not run.capture.recovering)
    assert not stuck.closed.is_set()
    hang.release.set()
    assert stuck.closed.wait(PATIENCE_S)
    assert set(run.seen) == {"0", "7"}, "what was left behind does not deliver any more"


def test_a_fault_of_ours_is_not_taken_for_one_of_the_camera(bench: Make) -> None:
    run = bench(ScriptedCamera([0, ZeroDivisionError()]), ScriptedCamera(good(1)), max_recoveries=5)
    with pytest.raises(ZeroDivisionError):
        run.check_until(lambda: False)


def test_garbage_is_reported_until_a_frame_can_be_decoded_again(bench: Make) -> None:
    garbled = threading.Event()
    camera = ScriptedCamera([])

    def maybe_garbage() -> None:
        if garbled.is_set():
            camera.garbage()

    camera._script = chain.from_iterable(repeat((maybe_garbage, 1)))
    run = bench(camera)
    run.check_until(lambda: run.seen)
    garbled.set()
    run.check_until(lambda: run.capture.status.state == "undecodable")
    assert "could not be decoded" in str(run.capture.status.problem)
    garbled.clear()
    run.check_until(lambda: run.capture.status.state == "ok")
    assert run.capture.unreadable > 0


def test_another_camera_takes_the_place_of_the_first(bench: Make) -> None:
    first = ScriptedCamera(good(1))
    run = bench(first)
    run.check_until(lambda: run.seen)
    run.capture.replace(run.settings(ScriptedCamera(good(2))))
    run.check_until(lambda: "2" in run.seen)
    assert first.closed.is_set()
    assert run.capture.refused is None
    assert run.capture.status.recoveries == 0


def test_a_camera_that_cannot_be_opened_gives_its_place_back(bench: Make) -> None:
    run = bench(ScriptedCamera(good(1)), ScriptedCamera(good(3)))
    run.check_until(lambda: run.seen)
    run.capture.replace(run.settings(ScriptedCamera([], on_open=fail)))
    run.check_until(lambda: "3" in run.seen)
    assert str(run.capture.refused) == "not there"


# Frozen pictures


def noisy(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)


def test_only_pictures_that_are_the_same_bit_by_bit_are_frozen() -> None:
    detector = FreezeDetector()
    for seed in range(3):
        detector.update(noisy(seed))
        assert detector.same_s == 0
    still = noisy(9)
    detector.update(still)
    time.sleep(0.01)
    detector.update(still.copy())
    assert detector.same_s >= 0.01
    one_bit = still.copy()
    one_bit[63, 63, 2] ^= 1
    detector.update(one_bit)
    assert detector.same_s == 0


# What a camera sees


def samples(scale: float, *, long: bool = False) -> Iterator[Pixels]:
    """Give the sample pictures, and in the long form the shared ones, exposed for `scale`."""
    paths = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".jpg", ".png"})
    if long and (FOLDER / "images").is_dir():
        paths += sorted(path for path in (FOLDER / "images").iterdir() if path.suffix == ".JPEG")
    for path in paths:
        yield sensed(load_picture(path) * np.float32(scale), noise=2)


def sensed(light: Any, *, noise: float) -> Pixels:
    grain = np.random.default_rng(0).standard_normal(light.shape, np.float32)
    seen: Pixels = (light + noise * grain + 0.5).clip(0, 255).astype(np.uint8)
    return seen


def behind_a_finger(picture: Pixels, *, blur: float) -> Any:
    size = (320, 320)
    smooth = Image.fromarray(picture).resize(size).filter(GaussianBlur(blur * size[0]))
    return np.asarray(smooth).astype(np.float32)


@pytest.mark.parametrize("exposure", [1.0, 0.5])
def test_no_photo_is_taken_for_night_or_a_covered_lens(
    exposure: float, figures: Figures, *, long: bool
) -> None:
    pictures = samples(exposure, long=long)
    measured = [(view_of(picture), *measure(picture)) for picture in pictures]
    views, brightness, detail = zip(*measured, strict=True)
    figures(
        f"{len(views)} photos at exposure {exposure:g}: brightness at least {min(brightness):.1f}, "
        f"detail at least {min(detail):.1f}"
    )
    assert set(views) == {"clear"}


@pytest.mark.parametrize("noise", [2, 6, 12])
def test_something_in_front_of_the_lens_is_found(
    noise: float, figures: Figures, *, long: bool
) -> None:
    details = []
    for picture in samples(1.0, long=long):
        for blur, light in ((0.1, 1.0), (0.25, 1.0), (0.15, 0.4)):
            frame = sensed(behind_a_finger(picture, blur=blur) * light, noise=noise)
            details.append(measure(frame)[1])
            assert view_of(frame) in {"covered", "dark"}
    for level in (60, 128, 255):
        assert view_of(sensed(np.full((480, 640, 3), level), noise=noise)) == "covered"
    figures(f"{len(details)} covered views, noise {noise}: detail at most {max(details):.1f}")


@pytest.mark.parametrize("noise", [0, 5, 20])
def test_night_is_found(noise: float) -> None:
    black = np.zeros((480, 640, 3), np.float32)
    assert view_of(sensed(black, noise=noise)) == "dark"
    black[100:130, 300:340] = 255  # a lamp
    assert view_of(sensed(black, noise=noise)) == "dark"
    for picture in samples(0.04):
        assert view_of(picture) == "dark"


def test_a_view_is_believed_after_some_seconds_and_looked_at_once_a_second() -> None:
    bright, black = next(samples(1.0)), np.zeros((480, 640, 3), np.uint8)
    watch = ViewWatch()
    views = []
    for second in range(40):
        dark = 10 <= second < 12 or 20 <= second < 30
        watch.update(black if dark else bright, now_s=float(second))
        assert watch.due_s == second + 1
        views.append(watch.view)
    assert set(views[:25]) == {"clear"}
    assert set(views[26:35]) == {"dark"}
    assert set(views[36:]) == {"clear"}


def test_what_is_on_the_edge_does_not_go_back_and_forth() -> None:
    grey = [np.full((64, 64, 3), level, np.uint8) for level in (10, 20)]
    assert [view_of(each) for each in grey] == ["dark", "covered"]
    assert [view_of(each, before="dark") for each in grey] == ["dark", "dark"]
