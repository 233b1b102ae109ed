"""An IP camera: MJPEG over HTTP, at a steady rate, with faults on demand."""

import contextlib
import io
import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from PIL import Image

Behaviour = Literal["good", "dead", "stalled", "garbage", "refusing"]

_SIZES = ((640, 480), (800, 600))
_GARBAGE = b"\x55" * 5000


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    # Those that a fault leaves behind end when they notice it.
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that hang up are what this is for."""


class IpCamera:
    """Serves the pictures in `folder` in turn until it is told to do something else."""

    def __init__(self, folder: Path, *, rate_hz: float) -> None:
        self._pictures = [
            [_jpeg(path, size) for path in sorted(folder.glob("*.*g"))] for size in _SIZES
        ]
        self._size = 0
        self._period_s = 1 / rate_hz
        self._behaviour: Behaviour = "good"
        self._changed = threading.Event()
        self._server = self._serve(0)
        self.port = self._server.server_port

    @property
    def url(self) -> str:
        """Where the pictures are."""
        return f"http://127.0.0.1:{self.port}/video"

    @property
    def size(self) -> str:
        """What its pictures measure."""
        return "{}x{}".format(*_SIZES[self._size])

    def behave(self, behaviour: Behaviour) -> None:
        """Do something else, in the connections that are open, too."""
        before, self._behaviour = self._behaviour, behaviour
        self._changed.set()
        self._changed = threading.Event()
        if behaviour == "dead":
            self._end()
        elif before == "dead":
            self._server = self._serve(self.port)

    def resize(self) -> None:
        """Go over to pictures of another size, as a camera does that was configured."""
        self._size = (self._size + 1) % len(_SIZES)

    def close(self) -> None:
        """Stop serving. May be called twice."""
        if self._behaviour != "dead":
            self.behave("dead")

    def _serve(self, port: int) -> _Server:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
                del format, args

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    camera._answer(self)

        server = _Server(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def _end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if self._behaviour == "refusing":
            request.send_error(503)
            return
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        for number in itertools.count():
            changed, behaviour = self._changed, self._behaviour
            if behaviour in {"dead", "refusing"}:
                return
            if behaviour == "stalled":
                changed.wait()
                continue
            pictures = self._pictures[self._size]
            data = _GARBAGE if behaviour == "garbage" else pictures[number % len(pictures)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            request.wfile.write(head.encode() + data + b"\r\n")
            changed.wait(self._period_s)


def _jpeg(path: Path, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").resize(size).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
