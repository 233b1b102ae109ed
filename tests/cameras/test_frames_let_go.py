"""A decoded picture is large: it goes as soon as it was used, not when gc comes by."""

import gc
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from support.mjpeg import MjpegServer

from edgeclassifier.cameras.stream import StreamCamera

FRAMES = 12
UNDER_WAY = 3


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_gc")
def test_no_frame_waits_for_the_garbage_collector(tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    server = MjpegServer()
    server.on.set()
    try:
        for url in (str(clip), server.url()):
            assert frames_left_by(url) <= UNDER_WAY, url
    finally:
        server.close()


def frames_left_by(url: str) -> int:
    camera = StreamCamera(
        camera_id="cam0",
        url=url,
        max_rate_hz=0,
        options={},
        timeout_s=5,
        reconnect_max_s=0.2,
        loop=True,
    )
    camera.open()
    before = decoded_frames()
    for _ in range(FRAMES):
        assert camera.read(5) is not None
    left = decoded_frames() - before
    camera.close()
    return left


def decoded_frames() -> int:
    return sum(isinstance(each, av.VideoFrame) for each in gc.get_objects())
