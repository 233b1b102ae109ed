"""Cameras that send JPEG over HTTP, in the forms that they have, whole and damaged."""

import io
import itertools
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.mjpeg_forms import (
    DAMAGED,
    NOISY,
    OK,
    PICTURE,
    RED,
    STILL,
    WHOLE,
    CameraServer,
    encoded,
    multipart,
    part,
)

from edgeclassifier.cameras.mjpeg import MAX_PICTURE_BYTES, JpegScanner, picture_size
from edgeclassifier.cameras.stream import StreamCamera
from edgeclassifier.contract.frame import Frame
from edgeclassifier.errors import CameraError, CameraTimeout


@pytest.fixture
def server() -> Iterator[CameraServer]:
    running = CameraServer()
    yield running
    running.close()


Opened = Callable[..., StreamCamera]


@pytest.fixture
def opened() -> Iterator[Opened]:
    cameras: list[StreamCamera] = []

    def open_(url: str, **options: Any) -> StreamCamera:
        settings: dict[str, Any] = {
            "camera_id": "cam0",
            "max_rate_hz": 0,
            "options": {},
            "timeout_s": 5,
            "reconnect_max_s": 0.3,
            "loop": False,
        }
        camera = StreamCamera(url=url, **(settings | options))
        cameras.append(camera)
        camera.open()
        return camera

    yield open_
    for camera in cameras:
        camera.close()


def read(camera: StreamCamera, seconds: float = 10) -> Frame:
    frame = camera.read(seconds)
    assert frame is not None
    return frame


@pytest.mark.parametrize("form", WHOLE)
def test_what_a_person_would_call_a_stream_of_pictures_is_read(
    server: CameraServer, opened: Opened, form: str
) -> None:
    camera = opened(server.url(form))
    sizes = {read(camera).pixels.shape[:2] for _ in range(5)}
    assert sizes == {(65, 97) if form == "odd-size" else (64, 96)}
    assert camera.unreadable == 0


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_it_does_not_matter_how_it_is_cut_on_its_way(form: str, step: int) -> None:
    found = WHOLE[form]
    if form.startswith("chunked"):
        found = WHOLE["as-it-should-be"]
    data = found.first + found.repeated * 4
    scanner = JpegScanner(boundary=b"frame")
    pictures = [
        each for at in range(0, len(data), step) for each in scanner.feed(data[at : at + step])
    ]
    if (last := scanner.finish()) is not None:
        pictures.append(last)
    assert len(pictures) == 4 + bool(found.first.strip())
    assert scanner.unreadable == 0


@pytest.mark.parametrize("form", DAMAGED)
def test_what_is_not_whole_is_counted_and_never_given_out(
    server: CameraServer, opened: Opened, form: str
) -> None:
    camera = opened(server.url(form))
    deadline_s = time.monotonic() + 20
    while camera.unreadable < 3 and time.monotonic() < deadline_s:
        with pytest.raises(CameraTimeout):
            camera.read(0.2)
    assert camera.unreadable >= 3


def test_noise_never_breaks_the_scanner() -> None:
    """Whatever comes, it finds whole pictures again behind the longest segment there is."""
    rng = random.Random(0)
    for _ in range(200):
        scanner = JpegScanner(boundary=b"frame")
        pieces = [part(), NOISY, b"\xff\xd8\xff", rng.randbytes(300), b"--frame\r\n", b"\xff" * 9]
        data = b"".join(rng.choices(pieces, k=12))
        for at in range(0, len(data), 97):
            list(scanner.feed(data[at : at + 97]))
        after = list(scanner.feed(part() * 300))
        assert PICTURE in [each.data for each in after]


def test_a_picture_that_states_two_gigabytes_is_refused_at_once(
    server: CameraServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    def huge(connection: socket.socket) -> None:
        connection.sendall(WHOLE["as-it-should-be"].head)
        connection.sendall(part(b"", length=2_147_483_000)[:-2])
        while True:
            connection.sendall(bytes(1 << 20))

    server.answers["huge"] = huge
    camera = opened(server.url("huge"))
    with pytest.raises(CameraTimeout):
        camera.read(0.5)
    assert "states a picture of 2147483000 bytes" in caplog.text


@pytest.mark.parametrize(
    ("begin", "then"),
    [
        (b"", b"X-A: b\r\n"),
        (b"--frame\r\n", bytes(99)),
        (b"\xff\xd8\xff\xda\x00\x02", bytes(99)),
    ],
)
def test_what_a_stream_may_hold_is_bounded(begin: bytes, then: bytes) -> None:
    scanner = JpegScanner()

    def feed() -> None:
        list(scanner.feed(begin))
        for _ in range(2 * MAX_PICTURE_BYTES // (1000 * len(then))):
            list(scanner.feed(then * 1000))

    with pytest.raises(CameraError, match=r"without a picture|more than"):
        feed()


@pytest.mark.parametrize("length", range(8))
@pytest.mark.parametrize("marker", [0xC0, 0xC2, 0xC9])
def test_a_frame_header_that_is_too_short_is_no_picture(marker: int, length: int) -> None:
    """It may also be the last that came."""
    header = bytes([0xFF, marker]) + length.to_bytes(2) + bytes(max(0, length - 2))
    scanner = JpegScanner()
    assert [*scanner.feed(b"\xff\xd8" + header)] == []
    [picture] = scanner.feed(b"\xff\xd9" + PICTURE)
    assert (picture.data, picture.width, picture.height) == (PICTURE, 96, 64)
    assert scanner.unreadable == 1


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    server: CameraServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    server.picture = encoded("L", (5000, 3000))
    camera = opened(server.url("still"), max_rate_hz=20)
    refused = r"frames of 5000x3000 are refused: camera.stream.max_pixels is 12500000"
    for _ in range(2):
        with pytest.raises(CameraTimeout, match=refused):
            camera.read(0.4)
    assert camera.unreadable > 1
    assert caplog.text.count("5000x3000") == 1
    server.picture = PICTURE
    assert read(camera).pixels.shape == (64, 96, 3)
    assert picture_size(encoded("L", (5000, 3000))) == (5000, 3000)


def test_a_url_of_one_picture_is_asked_again_and_again(
    server: CameraServer, opened: Opened
) -> None:
    camera = opened(server.url("still"), max_rate_hz=20)
    for _ in range(4):
        assert read(camera).pixels.shape == (64, 96, 3)
    server.picture = encoded("L")
    changed = [read(camera).pixels for _ in range(2)][-1]
    np.testing.assert_allclose(changed.mean(), 90, atol=3)
    assert camera.unreadable == 0
    assert len(server.requests) >= 5
    assert server.connections == 1, "the connection is kept"


def test_a_picture_is_asked_for_if_one_is_wanted(server: CameraServer, opened: Opened) -> None:
    """So that it is not already old when it is taken."""
    camera = opened(server.url("still"), max_rate_hz=50)
    read(camera)
    time.sleep(0.5)
    asked = len(server.requests)
    time.sleep(0.5)
    assert len(server.requests) == asked
    read(camera)
    frame = read(camera)
    assert time.monotonic() - frame.monotonic_s < 0.5


@pytest.mark.parametrize("kind", [b"image/jpeg", b"image/jpg", b"application/octet-stream", b""])
@pytest.mark.parametrize("length", [True, False])
def test_servers_that_end_the_connection_after_each_picture(
    server: CameraServer, opened: Opened, kind: bytes, length: bool
) -> None:
    def answer(connection: socket.socket) -> None:
        head = OK.replace(b"1.1", b"1.0") + (b"Content-Type: %s\r\n" % kind if kind else b"")
        head += b"Content-Length: %d\r\n" % len(PICTURE) if length else b""
        connection.sendall(head + b"\r\n" + PICTURE)

    server.answers["old"] = answer
    camera = opened(server.url("old"), max_rate_hz=20)
    for _ in range(3):
        assert read(camera).pixels.shape == (64, 96, 3)
    assert camera.unreadable == 0


def test_a_truncated_picture_is_refused_and_the_next_one_taken(
    server: CameraServer, opened: Opened
) -> None:
    server.picture = NOISY[: len(NOISY) // 2]
    camera = opened(server.url("still"), max_rate_hz=20)
    with pytest.raises(CameraTimeout, match=r"no whole frame, \d+ came damaged"):
        camera.read(0.5)
    assert camera.unreadable > 0
    server.picture = NOISY
    read(camera)


def test_a_server_that_fails_now_and_then_is_asked_again(
    server: CameraServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    camera = opened(server.url("still"), max_rate_hz=20)
    read(camera)
    server.answers["still"] = lambda connection: connection.sendall(
        b"HTTP/1.1 503 Busy\x1b[2J\r\nContent-Length: 0\r\n\r\n"
    )
    states = ""
    while "lost" not in states:
        try:
            camera.read(0.5)
        except CameraTimeout as error:
            states += str(error)
    del server.answers["still"]
    read(camera)
    assert "HTTP 5xx, here 503" in caplog.text
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "BMP"])
def test_pictures_that_are_no_jpeg_keep_their_colours(
    server: CameraServer, opened: Opened, format_: str
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), RED).save(buffer, format_, lossless=True)
    server.picture = buffer.getvalue()
    camera = opened(server.url("still"), max_rate_hz=20)
    for _ in range(4):
        np.testing.assert_allclose(read(camera).pixels, np.full((64, 96, 3), RED), atol=1)


def test_a_server_that_sends_one_part_a_time_is_polled(
    server: CameraServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["part"] = lambda connection: connection.sendall(multipart() + part())
    camera = opened(server.url("part"), max_rate_hz=20)
    for _ in range(5):
        read(camera)
    assert "lost" not in caplog.text


def test_a_busy_server_that_answers_now_and_then_is_not_lost(
    server: CameraServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """An error, nothing, a page: all of these are no picture, and each is counted."""
    others = itertools.cycle(
        [
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 304 Old\r\n\r\n",
            OK + b"Content-Length: 0\r\n\r\n",
            STILL + b"Content-Length: %d\r\n\r\n" % len(PICTURE) + PICTURE,
        ]
    )
    camera = opened(server.url("still"), max_rate_hz=50)
    server.answers["still"] = lambda connection: connection.sendall(next(others))
    for _ in range(4):
        read(camera)
    assert camera.unreadable >= 8
    assert "lost" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answers without a picture"),
        (OK + b"\r\n <!DOCTYPE html><title>Log in</title>", r"answers with a page \(HTML\)"),
        (OK + b'Content-Type: application/json\r\n\r\n{"error": 1}', r"page \(application/json\)"),
    ],
)
def test_what_is_no_picture_is_said(
    server: CameraServer, opened: Opened, answer: bytes, message: str
) -> None:
    server.answers["other"] = lambda connection: connection.sendall(answer)
    with pytest.raises(CameraError, match=message):
        opened(server.url("other"))


def test_the_form_that_the_user_states_is_obeyed(server: CameraServer, opened: Opened) -> None:
    """As FFmpeg's option is: here for a stream that it reads as well."""
    camera = opened(server.url("as-it-should-be"), options={"format": "mpjpeg"})
    assert read(camera).pixels.shape == (64, 96, 3)
    camera = opened(server.url("still"), options={"user_agent": "me", "headers": "X-Key: 7\r\n"})
    assert read(camera).pixels.shape == (64, 96, 3)
    assert "User-Agent: me\r\n" in server.requests[-1]
    assert "X-Key: 7\r\n" in server.requests[-1]


def test_a_dripping_server_blocks_neither_read_nor_close(
    server: CameraServer, opened: Opened
) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(WHOLE["as-it-should-be"].head)
        for byte in part(NOISY):
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    server.answers["drip"] = drip
    camera = opened(server.url("drip"))
    with pytest.raises(CameraTimeout):
        camera.read(0.3)
    camera.close()
