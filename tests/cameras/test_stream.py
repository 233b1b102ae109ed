"""Video files, MJPEG over HTTP, and what goes wrong with them."""

import contextlib
import errno
import logging
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest
from numpy.typing import NDArray
from support.mjpeg import MjpegServer, jpeg

from edgeclassifier.cameras import Camera
from edgeclassifier.cameras.backlog import Backlog
from edgeclassifier.cameras.ffmpeg import explain, local_file
from edgeclassifier.cameras.http import HttpClient
from edgeclassifier.cameras.source import Piece
from edgeclassifier.cameras.stream import StreamCamera
from edgeclassifier.contract.frame import Frame
from edgeclassifier.errors import CameraError, CameraTimeout

RATE_HZ = 10
GREYS = [20 * i for i in range(1, 11)]


def write_video(path: Path, pictures: list[NDArray[np.uint8]], codec: str = "mjpeg") -> Path:
    """Encode pictures of one size at RATE_HZ, each of them a key frame."""
    height, width, _ = pictures[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = 1
        stream.bit_rate = 4_000_000
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def flat(*colour: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.avi", [flat(grey) for grey in GREYS])


def make(
    url: str | Path,
    *,
    max_rate_hz: float = 0,
    loop: bool = False,
    options: Mapping[str, str] | None = None,
    timeout_s: float = 5,
) -> StreamCamera:
    return StreamCamera(
        camera_id="cam0",
        url=str(url),
        max_rate_hz=max_rate_hz,
        options=options or {},
        timeout_s=timeout_s,
        reconnect_max_s=0.2,
        loop=loop,
    )


@pytest.fixture
def opened() -> Iterator[Callable[..., StreamCamera]]:
    cameras: list[StreamCamera] = []

    def open_(*args: Any, **options: Any) -> StreamCamera:
        camera = make(*args, **options)
        cameras.append(camera)
        camera.open()
        return camera

    yield open_
    for camera in cameras:
        camera.close()


Opened = Callable[..., StreamCamera]


def greys(camera: StreamCamera, most: int = 1000) -> list[int]:
    values: list[int] = []
    while len(values) < most and (frame := camera.read(5)) is not None:
        values.append(round(float(frame.pixels.mean())))
    return values


def test_every_frame_of_a_file_in_order(clip: Path, opened: Opened) -> None:
    camera = opened(clip)
    assert not camera.live
    np.testing.assert_allclose(greys(camera), GREYS, atol=2)
    assert camera.read(1) is None
    assert camera.unreadable == 0


def test_the_frame_says_where_it_is_from(clip: Path, opened: Opened) -> None:
    frame = opened(f"file://{clip}").read(1)
    assert frame is not None
    assert frame.origin == f"file://{clip}"
    assert (frame.camera, frame.seq) == ("cam0", 0)
    assert frame.pixels.shape == (48, 64, 3)
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels.flags.c_contiguous


def test_a_file_in_a_loop(clip: Path, opened: Opened) -> None:
    np.testing.assert_allclose(greys(opened(clip, loop=True), 25), (GREYS * 3)[:25], atol=2)


@pytest.mark.parametrize(
    ("max_rate_hz", "expected"),
    [(10, GREYS), (5, GREYS[::2]), (2, GREYS[::5]), (0.5, GREYS[:1]), (100, GREYS)],
)
def test_a_file_thinned_out_by_its_time_stamps(
    clip: Path, opened: Opened, max_rate_hz: float, expected: list[int]
) -> None:
    np.testing.assert_allclose(greys(opened(clip, max_rate_hz=max_rate_hz)), expected, atol=2)


@pytest.mark.parametrize("codec", ["mjpeg", "libx264", "mpeg4"])
@pytest.mark.parametrize("size", [(64, 48), (50, 38), (322, 242)])
def test_colours_in_both_ranges(
    tmp_path: Path, opened: Opened, codec: str, size: tuple[int, int]
) -> None:
    """MJPEG is in full range here, the others are not: black must be black in both."""
    colours = [(0, 0, 0), (255, 255, 255), (200, 30, 30), (20, 160, 60), (30, 60, 220)]
    pictures = [flat(*colour, width=size[0], height=size[1]) for colour in colours]
    camera = opened(write_video(tmp_path / "c.mkv", pictures, codec))
    for colour in colours:
        frame = camera.read(1)
        assert frame is not None
        assert frame.pixels.shape == (size[1], size[0], 3)
        np.testing.assert_allclose(frame.pixels.mean(axis=(0, 1)), colour, atol=5)


@pytest.mark.skipif(
    not hasattr(av.VideoFrame, "rotation"), reason=f"PyAV {av.__version__} knows no rotation"
)
def test_rotation_of_a_phone_is_undone(tmp_path: Path, opened: Opened) -> None:
    picture = flat(255, 0, 0)
    picture[:, 32:] = (0, 0, 255)  # left half red, right half blue
    path = write_video(tmp_path / "phone.mp4", [picture] * 2, "libx264")
    data = path.read_bytes()
    upright = b"\0\1\0\0" + bytes(12) + b"\0\1\0\0" + bytes(12) + b"\x40\0\0\0"
    clockwise = bytes(4) + b"\0\1\0\0" + bytes(4) + b"\xff\xff\0\0" + bytes(16) + b"\x40\0\0\0"
    at = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:at] + clockwise + data[at + len(upright) :])
    frame = opened(path).read(1)
    assert frame is not None
    assert frame.pixels.shape == (64, 48, 3)
    np.testing.assert_allclose(frame.pixels[8].mean(axis=0), (255, 0, 0), atol=20)
    np.testing.assert_allclose(frame.pixels[-8].mean(axis=0), (0, 0, 255), atol=20)


def damage(path: Path, spared: Callable[[int], bool]) -> None:
    """Overwrite the JPEGs in an AVI file, but for those whose number is spared."""
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"]
    assert len(starts) == len(GREYS)
    for index, start in enumerate(starts):
        if not spared(index):
            size = int.from_bytes(data[start - 4 : start], "little")
            data[start : start + size] = b"\x55" * size
    path.write_bytes(data)


def test_damaged_packets_are_skipped_and_counted(clip: Path, opened: Opened) -> None:
    damage(clip, lambda index: index not in {3, 6})
    camera = opened(clip)
    kept = [grey for index, grey in enumerate(GREYS) if index not in {3, 6}]
    np.testing.assert_allclose(greys(camera), kept, atol=2)
    assert camera.unreadable == 2
    camera.close()
    assert camera.unreadable == 2


def test_a_file_without_one_good_frame(clip: Path, opened: Opened) -> None:
    damage(clip, lambda index: False)  # noqa: ARG005  # called with it
    camera = opened(clip, loop=True)
    with pytest.raises(CameraError, match="not one frame of it can be decoded"):
        camera.read(1)
    assert camera.unreadable == len(GREYS)


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    running = MjpegServer()
    yield running
    running.close()


def read_until(camera: Camera, wanted: Callable[[Frame], bool], seconds: float = 20) -> Frame:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        try:
            frame = camera.read(0.2)
        except CameraTimeout:
            continue
        assert frame is not None, "a live source has no end"
        if wanted(frame):
            return frame
    pytest.fail("the frame never came")


def read_until_timeout(camera: Camera) -> str:
    for _ in range(100):
        try:
            camera.read(0.3)
        except CameraTimeout as error:
            return str(error)
    pytest.fail("frames go on coming")


def is_grey(grey: int) -> Callable[[Frame], bool]:
    return lambda frame: abs(float(frame.pixels.mean()) - grey) < 3


def test_a_live_stream_gives_the_newest_frame_once(server: MjpegServer, opened: Opened) -> None:
    camera = opened(server.url())
    assert camera.live
    read_until(camera, is_grey(100))
    server.picture = jpeg(200)
    frame = read_until(camera, is_grey(200))
    assert frame.origin == f"http://127.0.0.1:{server.http.server_port}/***"
    assert frame.monotonic_s <= time.monotonic()
    server.on.clear()
    # What is still on its way comes, and then nothing comes twice.
    assert "no frame for 0.3 s" in read_until_timeout(camera)
    server.on.set()
    later = read_until(camera, is_grey(200))
    assert later.seq > frame.seq
    assert later.monotonic_s > frame.monotonic_s


def test_user_name_and_password_are_sent(server: MjpegServer, opened: Opened) -> None:
    read_until(opened(server.url("/private")), is_grey(100))


def test_the_size_may_change_midway(server: MjpegServer, opened: Opened) -> None:
    camera = opened(server.url())
    read_until(camera, lambda frame: frame.pixels.shape == (48, 64, 3))
    server.picture = jpeg(50, (90, 30))
    read_until(camera, lambda frame: frame.pixels.shape == (30, 90, 3))


def test_broken_pictures_of_a_stream_are_counted(server: MjpegServer, opened: Opened) -> None:
    camera = opened(server.url())
    server.picture = b"\x55" * 500
    deadline_s = time.monotonic() + 20
    while camera.unreadable == 0 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert camera.unreadable > 0
    server.picture = jpeg(150)
    read_until(camera, is_grey(150))


def test_a_stream_that_dies_comes_back(
    server: MjpegServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgeclassifier")
    camera = opened(server.url("/stream?user=admin&pwd=hunter2&channel=1"))
    for grey in (30, 220):
        for _ in range(3):  # one picture alone would be asked for again
            camera.read(20)
        server.picture = jpeg(grey)
        server.cut.set()
        deadline_s = time.monotonic() + 20
        seen = len(server.requests)
        while len(server.requests) < seen + 3 and time.monotonic() < deadline_s:
            time.sleep(0.01)  # connections that end at once
        assert len(server.requests) >= seen + 3
        with contextlib.suppress(CameraTimeout):
            camera.read(0)  # a frame of this grey from before the cut
        server.cut.clear()
        read_until(camera, is_grey(grey))
    texts = [record.getMessage() for record in caplog.records]
    assert [("lost" in text, "back" in text) for text in texts] == [
        (True, False),
        (False, True),
    ] * 2
    assert "hunter2" not in caplog.text
    assert "admin" not in caplog.text
    assert f"http://127.0.0.1:{server.port}/***" in caplog.text


def test_a_fault_of_the_reader_is_an_error_of_the_camera(
    server: MjpegServer, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = opened(server.url())
    read_until(camera, is_grey(100))
    get = HttpClient.get

    def broken_get(*args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(HttpClient, "get", broken_get)
    server.cut.set()
    with pytest.raises(CameraError, match=r"its reader has ended unexpectedly$"):
        read_until(camera, lambda _frame: False)
    with pytest.raises(CameraError, match=r"its reader has ended unexpectedly$"):
        make(server.url()).open()
    monkeypatch.setattr(HttpClient, "get", get)
    server.cut.clear()
    camera.open()
    read_until(camera, is_grey(100))


def test_while_the_server_is_away_reads_time_out(server: MjpegServer, opened: Opened) -> None:
    camera = opened(server.url())
    for _ in range(3):  # one picture alone would be asked for again
        read_until(camera, is_grey(100))
    server.close()
    text = read_until_timeout(camera)
    assert "lost" in text
    assert "hunter2" not in text


def test_a_silent_source_blocks_neither_open_nor_close(server: MjpegServer) -> None:
    camera = make(server.url("/silent"), timeout_s=0.3)
    with pytest.raises(CameraError, match="does not answer"):
        camera.open()
    camera.close()


def test_a_hanging_ffmpeg_blocks_neither_open_nor_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a V4L2 device does whose driver hangs: FFmpeg's own time-outs do not reach it."""
    hang = threading.Event()

    def hanging_open(*args: Any, **kwargs: Any) -> None:
        del args, kwargs
        hang.wait(60)
        raise av.error.ExitError(1, "let go by the test")

    monkeypatch.setattr(av, "open", hanging_open)
    camera = make("/dev/video0", timeout_s=0.1)
    with pytest.raises(CameraError, match=r"does not answer within 0\.2 s"):
        camera.open()
    assert not hang.is_set()
    camera.close()
    hang.set()


def test_max_rate_of_a_live_stream(server: MjpegServer, opened: Opened) -> None:
    camera = opened(server.url(), max_rate_hz=0.001)
    assert camera.read(5) is not None
    with pytest.raises(CameraTimeout, match="due in"):
        camera.read(0.05)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/status/404", "HTTP 404"),
        ("/status/401", "HTTP 401"),
        ("/status/403", "HTTP 403"),
        ("/status/503", "HTTP 5xx"),
        ("/page", "sends video"),
    ],
)
def test_what_servers_answer(server: MjpegServer, path: str, message: str) -> None:
    camera = make(server.url(path))
    with pytest.raises(CameraError, match=message) as caught:
        camera.open()
    shown = f"{caught.value} {caught.value.__cause__}"
    assert "hunter2" not in shown
    assert f"127.0.0.1:{server.http.server_port}/***: " in shown
    camera.close()
    with pytest.raises(CameraError, match="not open"):
        camera.read(1)


@pytest.mark.parametrize("protocol", ["http", "rtsp"])
def test_a_refused_connection(protocol: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(CameraError, match="connection refused") as caught:
            make(f"{protocol}://admin:hunter2@127.0.0.1:{port}/x").open()
    assert str(caught.value).startswith(f"{protocol}://127.0.0.1:{port}/***: ")


def test_files_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video at all")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    for name, message in (
        ("text.mp4", "not a video"),
        ("sound.wav", "has no video"),
        ("none.mp4", "no such file"),
        (".", "directory"),
    ):
        with pytest.raises(CameraError, match=message):
            make(tmp_path / name).open()


def test_an_absent_device() -> None:
    camera = make("/dev/video99")
    assert camera.live
    with pytest.raises(CameraError, match=r"/dev/video99: no such file or device"):
        camera.open()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            av.error.OSError(errno.EBUSY, "Device or resource busy", "/dev/video0"),
            "another program",
        ),
        (av.error.PermissionError(errno.EACCES, "Permission denied", "/dev/video0"), "group video"),
        (av.error.OSError(errno.ENODEV, "No such device", "http://a:b@c/"), "^No such device$"),
    ],
)
def test_what_cannot_be_provoked_here(error: av.FFmpegError, message: str) -> None:
    """A test machine has no busy device, and root is permitted everything."""
    with pytest.raises(CameraError, match=message):
        raise CameraError(explain(error))


def test_with_a_pyav_that_is_too_old(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    name = "av.video.reformatter"
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    with pytest.raises(CameraError, match=r"needs PyAV 14 or later .*ColorRange.*: run 'pip"):
        make(clip).open()


def test_without_pyav(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CameraError, match='pip install "av>=14"'):
        make(clip).open()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("a.mp4", "a.mp4"),
        ("file:///x/a%20b.mp4", "/x/a b.mp4"),
        ("odd:name.mp4", "odd:name.mp4"),
        ("/dev/video0", None),
        ("/dev/v4l/by-id/usb-cam", None),
        ("rtsp://h/a", None),
        ("http://h/a.mp4", None),
    ],
)
def test_what_is_a_file(url: str, path: str | None) -> None:
    assert local_file(url) == (Path(path) if path else None)


def test_nonsense_is_rejected() -> None:
    with pytest.raises(ValueError, match="url"):
        make("")
    with pytest.raises(ValueError, match="timeout_s"):
        make("a.mp4", timeout_s=0)
    with pytest.raises(ValueError, match="rate_hz"):
        make("a.mp4", max_rate_hz=-1)


def test_what_waits_is_the_newest_and_a_new_key_frame_is_for_the_next_call() -> None:
    def piece(arrived_s: float, *, is_key: bool) -> Piece:
        return Piece(data=arrived_s, arrived_s=arrived_s, size=1, is_key=is_key)

    backlog = Backlog()
    assert not backlog.put(piece(1, is_key=True))
    assert not backlog.put(piece(2, is_key=False))
    assert backlog.put(piece(3, is_key=True)), "nobody took the first two"
    assert not backlog.put(piece(4, is_key=False))
    assert backlog.take(9, keys=False) is None
    assert [found[0].data for _ in range(2) if (found := backlog.take(9))] == [3, 4]
