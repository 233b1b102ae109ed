"""RTSP: which transport is taken, how old frames are, and what is lost on the way."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.rtsp import RtspServer
from support.ticking import TickingCamera

from edgeclassifier.cameras.stream import StreamCamera
from edgeclassifier.contract.frame import Frame
from edgeclassifier.errors import CameraError


def make(url: str, **options: str) -> StreamCamera:
    return StreamCamera(
        camera_id="cam0",
        url=url,
        max_rate_hz=0,
        options=options,
        timeout_s=5,
        reconnect_max_s=0.3,
        loop=False,
    )


def read(camera: StreamCamera, seconds: float = 20) -> Frame:
    frame = camera.read(seconds)
    assert frame is not None
    return frame


def grey(frame: Frame) -> float:
    return float(frame.pixels.mean())


@pytest.mark.parametrize(
    ("offered", "refusal", "asked"),
    [
        (["tcp", "udp"], 461, ["tcp"]),
        (["udp"], 461, ["tcp", "udp"]),
        (["udp"], 400, ["tcp", "udp"]),
        (["udp"], 500, ["tcp", "udp"]),
        (["tcp"], 461, ["tcp"]),
    ],
)
def test_the_other_transport_is_tried_if_one_is_refused(
    offered: list[str], refusal: int, asked: list[str]
) -> None:
    server = RtspServer(transports=offered, refusal=refusal)
    camera = make(server.url)
    try:
        camera.open()
        assert read(camera).pixels.shape == (120, 160, 3)
        assert server.asked == asked
    finally:
        camera.close()
        server.close()


def test_a_transport_that_the_user_states_is_the_only_one() -> None:
    server = RtspServer(transports=["tcp"])
    camera = make(server.url, rtsp_transport="udp")
    try:
        with pytest.raises(CameraError):
            camera.open()
        assert set(server.asked) == {"udp"}
    finally:
        camera.close()
        server.close()


def test_frames_behind_a_lost_one_are_counted_until_the_next_key_frame() -> None:
    server = RtspServer()
    server.lose = set(range(1, 1000, 10))  # one of two that follow a key frame
    camera = make(server.url)
    try:
        camera.open()
        for _ in range(20):
            frame = read(camera)
            # A picture that refers to a missing one would have another grey, seconds old.
            assert server.age_s(grey(frame)) < 2
        assert camera.unreadable >= 2
    finally:
        camera.close()
        server.close()


def test_the_age_of_a_frame_is_measured() -> None:
    """What piles up in front of the decoder is left out, what is late on its way is seen."""
    server = RtspServer()
    camera = make(server.url)
    try:
        camera.open()
        for _ in range(5):
            read(camera)
        time.sleep(0.9)
        frame = read(camera)
        assert time.monotonic() - frame.monotonic_s < 0.9
        server.delay_s = 0.3  # three times slower than pictures are taken
        late = []
        for _ in range(8):
            frame = read(camera)
            late.append(time.monotonic() - frame.monotonic_s)
        assert late[-1] > 0.5, late
    finally:
        camera.close()
        server.close()


@pytest.mark.parametrize("kind", ["rtsp", "stream", "still"])
def test_a_reader_that_was_stopped_goes_on_with_a_fresh_frame(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """What waits in sockets by then is old, whatever the moment of its arrival says."""
    away_s = 30.0 if request.config.getoption("--long") else 4.0
    server = RtspServer() if kind == "rtsp" else TickingCamera()
    url = server.url if isinstance(server, RtspServer) else server.url(kind)
    program = (
        "import sys\n"
        "from edgeclassifier.cameras.stream import StreamCamera\n"
        "from edgeclassifier.errors import CameraTimeout\n"
        f"camera = StreamCamera(camera_id='c', url={url!r}, max_rate_hz=0, options={{}},\n"
        "    timeout_s=10, reconnect_max_s=1, loop=False)\n"
        "camera.open()\n"
        "while True:\n"
        "    try:\n"
        "        frame = camera.read(0.2)\n"
        "    except CameraTimeout:\n"
        "        continue\n"
        "    print(frame.pixels.mean(), flush=True)\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    try:
        for _ in range(3 if kind == "still" else 10):
            assert reader.stdout.readline()
        os.kill(reader.pid, signal.SIGSTOP)
        time.sleep(away_s)
        os.kill(reader.pid, signal.SIGCONT)
        ages = []
        for _ in range(5):
            line = reader.stdout.readline()
            assert line
            ages.append(server.age_s(float(line)))
        # The first may have been under way when it was stopped.
        assert max(ages[2:]) < 1, ages
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()
        server.close()
