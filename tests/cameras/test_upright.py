"""A camera that hangs upside down or sideways answers as one that hangs straight."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.clips import clip
from support.daemon import SAMPLES
from support.picamera2 import FakePicamera2, install

from edgeclassifier.cameras import Camera
from edgeclassifier.compose.camera import build_camera
from edgeclassifier.compose.engine import Engine, build_engine
from edgeclassifier.compose.model import BUNDLED_MODEL
from edgeclassifier.config import load_config
from edgeclassifier.contract.frame import Pixels
from edgeclassifier.contract.orientation import FLIPS, ROTATIONS, Orientation, orientation
from edgeclassifier.engine.pictures import cover, load_picture
from edgeclassifier.engine.preprocess import InputSpec, Normalization, Preprocessor
from edgeclassifier.pipeline.idle import IdleSettings, StillScene
from edgeclassifier.pipeline.sight import FreezeDetector
from edgeclassifier.web.live import encode

PHOTOS = {
    name: cover(load_picture(SAMPLES / f"{name}.png"), 320, 320) for name in ("chelsea", "coffee")
}
WAYS = [(rotation, flip) for rotation in ROTATIONS for flip in FLIPS]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return build_engine(load_config(None, overrides=[f"model.name={BUNDLED_MODEL}"]))


def hung(upright: Pixels, rotation: int, flip: str) -> Pixels:
    """Return what a camera sees that needs `rotation` and `flip`: the inverse of both."""
    unflipped = orientation(0, flip).turn(upright)
    return np.ascontiguousarray(orientation(-rotation % 360, "none").turn(unflipped))


def configured(rotation: int, flip: str, *others: str) -> Camera:
    keys = (f"camera.rotation={rotation}", f"camera.flip={flip}", *others)
    return build_camera(load_config(None, overrides=keys).camera)


def replay(folder: Path, seen: Pixels, rotation: int, flip: str) -> Camera:
    Image.fromarray(seen).save(folder / "seen.png")
    return configured(rotation, flip, "camera.source=replay", f"camera.replay.path={folder}")


def stream(folder: Path, seen: Pixels, rotation: int, flip: str) -> Camera:
    path = clip(folder / "seen.mp4", seen)
    return configured(rotation, flip, "camera.source=stream", f"camera.stream.url={path}")


def picamera2(folder: Path, seen: Pixels, rotation: int, flip: str) -> Camera:
    del folder
    camera = configured(rotation, flip)
    opened = camera.open

    def open_() -> None:
        opened()
        FakePicamera2.last.frames = [seen]

    camera.open = open_  # type: ignore[method-assign]  # a sensor that sees something
    return camera


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("source", [replay, stream, picamera2])
def test_the_answer_is_that_of_the_upright_picture(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: Engine,
    source: Callable[[Path, Pixels, int, str], Camera],
    name: str,
) -> None:
    install(monkeypatch)
    upright = PHOTOS[name]
    expected = engine.classify(upright)[0]
    for rotation, flip in WAYS:
        camera = source(tmp_path, hung(upright, rotation, flip), rotation, flip)
        camera.open()
        frame = camera.read(5)
        camera.close()
        assert frame is not None
        difference = np.abs(frame.pixels.astype(int) - upright)
        assert difference.mean() < 4, f"{rotation} {flip} is not upright"
        best = engine.classify(frame.pixels)[0]
        assert best.label == expected.label, f"{rotation} {flip}"
        assert best.score == pytest.approx(expected.score, abs=0.1)


@pytest.mark.parametrize("can_flip", [True, False])
@pytest.mark.parametrize(("rotation", "flip"), WAYS)
def test_the_sensor_turns_what_it_can(
    monkeypatch: pytest.MonkeyPatch, rotation: int, flip: str, can_flip: bool
) -> None:
    monkeypatch.setattr(install(monkeypatch), "can_flip", can_flip)
    upright = PHOTOS["chelsea"]
    camera = picamera2(Path(), hung(upright, rotation, flip), rotation, flip)
    camera.open()
    transform = FakePicamera2.last.config["transform"]
    frame = camera.read(1)
    camera.close()
    assert frame is not None
    np.testing.assert_array_equal(frame.pixels, upright)
    how = orientation(rotation, flip)
    by_sensor = (transform.hflip, transform.vflip)
    wanted = (how.mirror, how.upside_down)
    assert by_sensor == (wanted if can_flip and not how.transpose else (False, False))


def test_a_usb_camera_is_not_asked_to_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch)
    for name, value in {"properties": {}, "controls": {}, "can_flip": False}.items():
        monkeypatch.setattr(fake, name, value)
    seen = np.zeros((480, 640, 3), np.uint8)
    seen[:10] = 200
    monkeypatch.setattr(fake, "adjusted", {"size": (640, 480)})
    camera = picamera2(Path(), seen, 90, "none")
    camera.open()
    frame = camera.read(1)
    camera.close()
    assert frame is not None
    assert frame.pixels.shape == (640, 480, 3)
    assert frame.pixels[:, -10:].min() == 200, "turned clockwise, the top is at the right"


@pytest.mark.parametrize("region", [(), (0.1, 0.2, 0.5, 0.3)])
@pytest.mark.parametrize(("rotation", "flip"), WAYS)
def test_square_and_region_are_those_of_the_upright_frame(
    rotation: int, flip: str, region: tuple[float, ...]
) -> None:
    upright = load_picture(SAMPLES / "chelsea.png")
    turned = orientation(rotation, flip).turn(hung(upright, rotation, flip))
    spec = InputSpec(height=96, width=128, dtype=np.dtype(np.uint8))
    prepare = Preprocessor(
        spec=spec,
        normalization=Normalization(mean=(0.0,), std=(1.0,)),
        crop_fraction=0.875,
        region=region,
    )
    crop, tensor = prepare(turned)
    expected, _ = prepare(upright)
    assert crop.shape == expected.shape == (96, 128, 3)
    assert tensor.shape == (1, 96, 128, 3)
    # Rounded after each direction, which are taken in another order.
    assert np.abs(crop.astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    "how", [Orientation(transpose=True, mirror=True), Orientation(upside_down=True)]
)
def test_what_looks_at_frames_sees_the_upright_one(how: Orientation) -> None:
    picture = load_picture(SAMPLES / "coffee.png")
    upright = np.ascontiguousarray(how.turn(picture))
    turned = how.turn(picture)
    scene = StillScene(IdleSettings(max_age_s=60, region=(0.0, 0.1, 0.6, 0.5)))
    cells, expected = (scene.look(scene.window(each)).cells for each in (turned, upright))
    # Other rows are sampled, so single cells differ at edges.
    difference, askew = (np.abs(each - expected).mean() for each in (cells, cells[:, ::-1]))
    assert 3 * difference < askew
    page = np.asarray(Image.open(io.BytesIO(encode(turned))))
    shown: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(encode(upright))))
    assert page.shape == shown.shape
    assert np.abs(page.astype(int) - shown).mean() < 2
    freeze = FreezeDetector()
    for each in (turned, how.turn(picture.copy())):
        freeze.update(each)
    before_s = freeze.same_s
    freeze.update(how.turn(np.full_like(picture, 9)))
    assert freeze.same_s == 0
    assert before_s > 0


@pytest.mark.parametrize(
    ("exif", "rotation"), [(1, 0), (3, 180), (6, 90), (8, 270)], ids=["1", "3", "6", "8"]
)
def test_the_orientation_in_a_jpeg_of_a_stream_is_undone_besides(
    tmp_path: Path, exif: int, rotation: int
) -> None:
    upright = PHOTOS["chelsea"]
    tags = Image.Exif()
    tags[0x0112] = exif
    buffer = io.BytesIO()
    seen = hung(hung(upright, 180, "none"), rotation, "none")
    Image.fromarray(seen).save(buffer, "JPEG", quality=95, exif=tags)
    path = tmp_path / "seen.mjpeg"
    path.write_bytes(3 * buffer.getvalue())
    url = f"camera.stream.url={path}"
    camera = configured(180, "none", "camera.source=stream", url)
    camera.open()
    frame = camera.read(5)
    camera.close()
    assert frame is not None
    assert np.abs(frame.pixels.astype(int) - upright).mean() < 4
