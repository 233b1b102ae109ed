"""Video files on a server, and lists of other places in what a network camera sends."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.mjpeg_forms import OK

from edgeclassifier.cameras.ffmpeg import open_video
from edgeclassifier.cameras.stream import StreamCamera
from edgeclassifier.errors import CameraError, CameraTimeout

RATE = 25


def write(path: Path, seconds: float) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(round(seconds * RATE)):
            pixels = np.full((120, 160, 3), number * 2 % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path


def camera(url: str, **options: str) -> StreamCamera:
    return StreamCamera(
        camera_id="cam0",
        url=url,
        max_rate_hz=0,
        options=options,
        timeout_s=5,
        reconnect_max_s=0.3,
        loop=False,
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "clip.mkv", "clip.avi"])
def test_a_clip_on_a_server_is_played_at_its_own_speed(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, seconds=1)
    with served(tmp_path) as url:
        playing = camera(f"{url}/{name}")
        playing.open()
        levels: set[int] = set()
        until_s = time.monotonic() + 20
        while len(levels) < 12 and time.monotonic() < until_s:
            try:
                frame = playing.read(0.3)
            except CameraTimeout:
                continue
            assert frame is not None
            levels.add(round(float(frame.pixels.mean())))
        playing.close()
    assert len(levels) >= 12, "most of its 25 frames are seen, and not the last one alone"


DESCRIPTION = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
)


def playlist(place: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{place}\n#EXT-X-ENDLIST\n".encode()


@pytest.mark.parametrize("form", ["file:{}", "{}", "concat:{}", "subfile,,start,0,end,0,,:{}"])
@pytest.mark.parametrize("kind", ["http", "tcp", "ffconcat", "tcp-ffconcat"])
def test_a_list_from_the_network_does_not_lead_to_files(
    tmp_path: Path, form: str, kind: str
) -> None:
    place = form.format(write(tmp_path / "secret.ts", seconds=1))
    concat = kind.endswith("ffconcat")
    body = f"ffconcat version 1.0\nfile '{place}'\n".encode() if concat else playlist(place)
    options = {"format": "concat" if concat else "hls"} if kind.startswith("tcp") else {}
    with answering(body, is_http=not kind.startswith("tcp")) as url:
        reading = camera(url, **options)
        with pytest.raises(CameraError):
            reading.open()
        reading.close()


def test_a_session_description_is_refused_at_once() -> None:
    """FFmpeg would wait for RTP that never comes."""
    message = "not a video that FFmpeg can read"
    with answering(DESCRIPTION, is_http=True) as url, pytest.raises(CameraError, match=message):
        camera(url).open()
    assert "stream-reader" not in {each.name for each in threading.enumerate()}


@contextmanager
def answering(body: bytes, *, is_http: bool) -> Iterator[str]:
    head = OK + b"Content-Length: %d\r\n\r\n" % len(body) if is_http else b""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with connection:
                    if is_http:
                        connection.recv(4096)
                    connection.sendall(head + body)
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"{'http' if is_http else 'tcp'}://127.0.0.1:{listener.getsockname()[1]}/x"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("/srv/clip.mp4", "permission denied (who runs this must be able to read it)"),
        ("/dev/video0", "permission denied (a camera needs the group video"),
        ("http://127.0.0.1/x", "what it sends refers to what it may not"),
    ],
)
def test_what_may_not_be_opened_is_said_as_it_is(
    monkeypatch: pytest.MonkeyPatch, url: str, advice: str
) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise av.error.PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(CameraError) as caught:
        open_video(url, options={}, timeout_s=1)
    assert advice in str(caught.value)
