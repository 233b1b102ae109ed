"""An HTTP camera whose pictures tell when they were taken."""

import socket
import time

from support.mjpeg import jpeg
from support.mjpeg_forms import STILL, WHOLE, CameraServer, part

RATE_HZ = 10
_LEVELS = range(20, 236, 5)


class TickingCamera:
    """Sends a stream at /stream, single pictures at /still."""

    def __init__(self) -> None:
        self.server = CameraServer()
        self._taken: dict[int, float] = {}
        self._pictures = {level: jpeg(level, (640, 480)) for level in _LEVELS}
        self._began_s = time.monotonic()
        self.server.answers = {"stream": self._stream, "still": self._still}

    def url(self, path: str) -> str:
        return self.server.url(path)

    def age_s(self, grey: float) -> float:
        """Return how long ago the newest picture of this grey level was taken."""
        nearest = min(_LEVELS, key=lambda level: abs(level - grey))
        return time.monotonic() - self._taken[nearest]

    def close(self) -> None:
        self.server.close()

    def _take(self) -> bytes:
        now_s = time.monotonic()
        level = _LEVELS[int((now_s - self._began_s) * RATE_HZ) % len(_LEVELS)]
        self._taken[level] = now_s
        return self._pictures[level]

    def _stream(self, connection: socket.socket) -> None:
        # As small as the memory of a camera is: what it cannot send it leaves out.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.settimeout(None)
        connection.sendall(WHOLE["as-it-should-be"].head)
        while True:
            connection.sendall(part(self._take()))
            time.sleep(1 / RATE_HZ)

    def _still(self, connection: socket.socket) -> None:
        picture = self._take()
        connection.sendall(STILL + b"Content-Length: %d\r\n\r\n" % len(picture) + picture)
