"""Plain HTTP, as a program speaks it to the page's server."""

import base64
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from edgeclassifier.web.server import WebServer

PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content

    @property
    def text(self) -> str:
        return self.body.decode().strip()


def ask(server: WebServer, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Ask once; a header's name is written with underscores."""
    return ask_port(server.port, method, path, body, **headers)


def ask_port(port: int, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as link:
        link.request(method, path, body, named)
        answer = link.getresponse()
        return Answer(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answer.read(),
        )


def get(server: WebServer, path: str, **headers: str) -> Answer:
    return ask(server, "GET", path, **headers)


def post(server: WebServer, path: str, body: Any = None, **headers: str) -> Answer:
    return ask(server, "POST", path, body, **headers)


def basic(password: str, user: str = "visitor") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Events:
    """The stream, event by event."""

    def __init__(self, server: WebServer, **headers: str) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        self._link.request("GET", "/live", headers=headers)
        self._answer = self._link.getresponse()
        self.status = self._answer.status

    def next(self, name: str) -> Any:
        """Return what comes with the next event of that name."""
        for event, data in self:
            if event == name:
                return data
        raise AssertionError(f"the stream ended before {name}")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        event = ""
        while line := self._answer.readline().decode():
            if line.startswith("event: "):
                event = line.removeprefix("event: ").strip()
            elif line.startswith("data: "):
                yield event, json.loads(line.removeprefix("data: "))

    def close(self) -> None:
        self._answer.close()
        self._link.close()


@contextmanager
def watching(server: WebServer) -> Iterator[Events]:
    with closing(Events(server)) as events:
        yield events


def connect(server: WebServer, *, receive_bytes: int = 0) -> socket.socket:
    """Open a connection on which nothing is said yet."""
    link = socket.socket()
    if receive_bytes:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    link.settimeout(PATIENCE_S)
    link.connect(("127.0.0.1", server.port))
    return link


def is_closed(link: socket.socket) -> bool:
    """Read until the other side ends, and return whether it did; a reset is an end."""
    try:
        while link.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True
