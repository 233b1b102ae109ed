"""Routes behind a real HTTP server, and a client."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import Message

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from support.brokers import free_port, wait_until


@contextmanager
def served(routes: Sequence[Route]) -> Iterator[str]:
    """Serve `routes` and give the address to put before their paths."""
    port = free_port()
    config = uvicorn.Config(
        Starlette(routes=routes), host="127.0.0.1", port=port, ws="none", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def fetch(url: str, *, method: str = "GET") -> tuple[int, Message, bytes]:
    """Return the code, the headers and the body of an answer, whatever the code is."""
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def fetch_patiently(url: str, *, timeout_s: float = 20.0) -> bytes:
    """Return the body of an answer with code 200, waiting for the server to come up."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            code, _, body = fetch(url)
            if code == 200:
                return body
        except OSError:
            code = 0
        assert time.monotonic() < deadline_s, f"{url}: {code}"
        time.sleep(0.05)
