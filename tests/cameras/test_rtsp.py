"""RTSP: which transport is taken, how old frames are, and what is lost on the way."""

import time

import pytest
from support.rtsp import RtspServer

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


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        (
            'Digest realm="c", nonce="n", algorithm=SHA-256',
            r"cannot answer \(Digest with SHA-256\)",
        ),
        ('Digest realm="c", nonce="n"', "user name or password not accepted"),
    ],
)
def test_a_log_in_that_cannot_be_answered_is_named(challenge: str, message: str) -> None:
    server = RtspServer()
    server.challenge = challenge
    camera = make(server.url.replace("//", "//admin:hunter2@"))
    try:
        with pytest.raises(CameraError, match=message) as caught:
            camera.open()
        assert "hunter2" not in str(caught.value)
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
