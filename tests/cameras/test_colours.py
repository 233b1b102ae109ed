"""Colours by the tags of a video, or by its size; pixels that are not square."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.clips import BT601, BT709, BT2020, clip, yuv_clip

from edgeclassifier.cameras.ffmpeg import Converter, open_video, pixel_aspect
from edgeclassifier.cameras.stream import StreamCamera
from edgeclassifier.contract.frame import Pixels

COLOURS = [(200, 60, 30), (40, 170, 60), (50, 60, 220)]
SD, HD = (704, 576), (1280, 720)


def first(path: Path) -> Pixels:
    camera = StreamCamera(
        camera_id="cam0",
        url=str(path),
        max_rate_hz=0,
        options={},
        timeout_s=5,
        reconnect_max_s=1,
        loop=False,
    )
    camera.open()
    frame = camera.read(5)
    camera.close()
    assert frame is not None
    return frame.pixels


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    ("size", "colorspace", "weights"),
    [
        (SD, None, BT601),
        (HD, None, BT709),
        ((1920, 1080), None, BT709),
        ((720, 1280), None, BT709),
        (HD, 5, BT601),
        (HD, 6, BT601),
        (SD, 1, BT709),
        (HD, 1, BT709),
        (HD, 9, BT2020),
    ],
)
def test_a_video_has_the_colours_of_its_matrix(
    tmp_path: Path,
    size: tuple[int, int],
    colorspace: int | None,
    weights: tuple[float, float],
    full_range: bool,
) -> None:
    for colour in COLOURS:
        path = yuv_clip(
            tmp_path / "clip.mp4",
            colour,
            size=size,
            weights=weights,
            full_range=full_range,
            colorspace=colorspace,
        )
        pixels = first(path)
        assert pixels.shape == (size[1], size[0], 3)
        np.testing.assert_allclose(pixels.mean(axis=(0, 1)), colour, atol=4)


def test_what_a_camera_gives_uncompressed_is_bt_601_at_any_size(tmp_path: Path) -> None:
    for colour in COLOURS:
        path = yuv_clip(
            tmp_path / "raw.nut",
            colour,
            size=HD,
            weights=BT601,
            codec="rawvideo",
            pix_fmt="yuyv422",
        )
        np.testing.assert_allclose(first(path).mean(axis=(0, 1)), colour, atol=4)


@pytest.mark.parametrize(
    ("size", "aspect", "shown"),
    [
        ((320, 240), None, (320, 240)),
        ((320, 240), Fraction(1), (320, 240)),
        ((704, 576), Fraction(16, 11), (1024, 576)),
        ((352, 576), Fraction(32, 11), (1024, 576)),
        ((960, 1080), Fraction(2), (1920, 1080)),
        ((1280, 360), Fraction(1, 2), (1280, 720)),
        ((1920, 1080), Fraction(4, 3), (1920, 810)),
        ((1920, 1080), Fraction(1, 2), (960, 1080)),
        ((320, 240), Fraction(40), (320, 240)),
    ],
)
def test_pixels_become_square(
    tmp_path: Path, size: tuple[int, int], aspect: Fraction | None, shown: tuple[int, int]
) -> None:
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = 255
    path = clip(tmp_path / "clip.mp4", picture, aspect=aspect)
    pixels = first(path)
    assert pixels.shape[1::-1] == shown
    white = pixels[:, :, 1] > 127
    assert white.any(axis=0).sum() == pytest.approx(shown[0] / 4, abs=2)
    assert white.any(axis=1).sum() == pytest.approx(shown[1] / 4, abs=2)


def test_the_colours_of_stretched_pixels_are_the_same(tmp_path: Path) -> None:
    path = yuv_clip(tmp_path / "clip.mp4", COLOURS[0], size=HD, weights=BT709)
    with open_video(str(path), options={}, timeout_s=5) as container:
        assert pixel_aspect(container) in (None, 1)
        frame = next(container.decode(video=0))
        assert frame is not None
        pixels = Converter().to_rgb(frame, aspect=Fraction(3, 4))
    assert pixels.shape == (960, 1280, 3)
    np.testing.assert_allclose(pixels.mean(axis=(0, 1)), COLOURS[0], atol=4)


def test_the_frame_before_does_not_change_the_colours_of_the_next(tmp_path: Path) -> None:
    converter = Converter()
    for _ in range(2):
        for weights, colorspace, full_range in (
            (BT709, 1, False),
            (BT601, 6, True),
            (BT709, 1, True),
        ):
            path = yuv_clip(
                tmp_path / "clip.mp4",
                COLOURS[1],
                size=SD,
                weights=weights,
                colorspace=colorspace,
                full_range=full_range,
            )
            with open_video(str(path), options={}, timeout_s=5) as container:
                pixels = converter.to_rgb(next(container.decode(video=0)))
            np.testing.assert_allclose(pixels.mean(axis=(0, 1)), COLOURS[1], atol=4)
