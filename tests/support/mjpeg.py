"""An IP camera that sends MJPEG."""

import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


def jpeg(grey: int, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


class MjpegServer:
    """An IP camera: the frames are handed out by the test, one stream at a time."""

    def __init__(self, port: int = 0) -> None:
        self.picture = jpeg(100)
        self.on = threading.Event()  # while it is set, pictures flow
        self.cut = threading.Event()  # ends the streams
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name
                del format, args

            def do_GET(self) -> None:
                server.requests.append(self.path)
                if self.path.startswith("/status/"):
                    self.send_error(int(self.path.rsplit("/", 1)[1]))
                elif self.path == "/page":
                    self.send_response(200)
                    self.send_header("Content-Type", "text/html")
                    self.end_headers()
                    self.wfile.write(b"<html>Welcome to your camera</html>" * 50)
                elif self.path == "/private" and not self.headers["Authorization"]:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif self.path == "/silent":
                    server.cut.wait(30)
                else:
                    self.stream()

            def stream(self) -> None:
                self.send_response(200)
                kind = "multipart/x-mixed-replace; boundary=frame"
                self.send_header("Content-Type", kind)
                self.end_headers()
                while not server.cut.is_set():
                    if server.on.wait(0.02):
                        data = server.picture
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                        try:
                            self.wfile.write(head.encode() + b"\r\n\r\n" + data + b"\r\n")
                        except OSError:
                            return
                        time.sleep(0.01)

        self.on.set()
        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def port(self) -> int:
        return self.http.server_port

    def url(self, path: str = "/stream", *, user: str = "admin:hunter2@") -> str:
        return f"http://{user}127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self.cut.set()
        self.http.shutdown()
        self.thread.join(10)
        self.http.server_close()
