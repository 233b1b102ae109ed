"""The page's server if its address or port is not available: the daemon works without it."""

import errno
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from support.brokers import Mosquitto, Subscriber, needs_mosquitto, wait_until
from support.device import Site, has_predictions
from support.web_client import get
from support.web_device import WebDevice, bundled_inference, sample_pictures, serving, web_threads

from edgeclassifier.engine.inference import Inference
from edgeclassifier.errors import ConfigError
from edgeclassifier.host.addresses import page_host_problem
from edgeclassifier.web.server import WebServer

NOT_SERVED = "the page is not served: "
ELSEWHERE = "198.51.100.7"
"""No machine has it."""
SHORT_PAUSES = {"retry_min_s": 0.001, "retry_max_s": 0.01}
LONG_PAUSES = {"retry_min_s": 3600.0, "retry_max_s": 3600.0}
"""Longer than any test."""


@pytest.fixture(scope="module")
def inference() -> Inference:
    return bundled_inference()


@pytest.fixture
def device(inference: Inference) -> WebDevice:
    return WebDevice(inference, sample_pictures())


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class Tries:
    """Lets getaddrinfo fail as told, and then work."""

    def __init__(self, *outcomes: Exception | str) -> None:
        self.outcomes = list(outcomes)
        self.count = 0
        self._real = socket.getaddrinfo

    def __call__(self, _host: str, *rest: Any, **more: Any) -> Any:
        self.count += 1
        outcome = self.outcomes.pop(0) if self.outcomes else "127.0.0.1"
        if isinstance(outcome, Exception):
            raise outcome
        return self._real(outcome, *rest, **more)

    def into(self, monkeypatch: pytest.MonkeyPatch) -> Self:
        monkeypatch.setattr(socket, "getaddrinfo", self)
        return self


@contextmanager
def served(device: WebDevice, **more: Any) -> Iterator[WebServer]:
    server = serving(device, **more)
    try:
        yield server
    finally:
        server.stop()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


def answers(server: WebServer) -> bool:
    try:
        return get(server, "/healthz", Host="localhost").status in {401, 404}
    except OSError:
        return False


def test_a_port_that_is_taken_is_told_once_and_had_when_it_is_free(
    device: WebDevice,
    taken: socket.socket,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = Tries().into(monkeypatch)
    port = taken.getsockname()[1]
    with caplog.at_level(logging.INFO), served(device, port=port, **SHORT_PAUSES) as server:
        assert wait_until(lambda: tries.count >= 5)
        (said,) = warnings(caplog)
        assert said.startswith(f"{NOT_SERVED}web.port {port} is taken by another program")
        assert "\n" not in said
        taken.close()
        assert wait_until(lambda: answers(server))
    assert caplog.messages[-1] == f"the page is on http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "case",
    [
        (
            "porch.lan",
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            'web.host "porch.lan" is not found: temporary failure in name resolution: see',
        ),
        (
            "porch.lan",
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            'web.host "porch.lan" is not found: name or service not known: see',
        ),
        (ELSEWHERE, ELSEWHERE, f'web.host "{ELSEWHERE}" is no address of this machine'),
        ("porch.lan", ELSEWHERE, 'web.host "porch.lan" is no address of this machine'),
        (
            ELSEWHERE,
            OSError(errno.ENETDOWN, "Network is down"),
            f'web.host "{ELSEWHERE}", port 0: network is down',
        ),
    ],
)
def test_what_is_not_there_yet_is_told_once_and_waited_for(
    device: WebDevice,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    case: tuple[str, Exception | str, str],
) -> None:
    host, outcome, why = case
    tries = Tries(outcome, outcome, outcome).into(monkeypatch)
    with served(device, host=host, password="x", **SHORT_PAUSES) as server:
        assert wait_until(lambda: tries.count > 3)
        assert wait_until(lambda: answers(server))
    (said,) = warnings(caplog)
    assert said.startswith(NOT_SERVED + why)


def test_the_end_is_not_held_up_by_the_next_try(device: WebDevice, taken: socket.socket) -> None:
    server = serving(device, port=taken.getsockname()[1], **LONG_PAUSES)
    assert web_threads() != []
    server.stop()
    assert web_threads() == []


def test_nothing_is_held_up_by_the_look_for_a_name(
    device: WebDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def slow(*_: Any, **__: Any) -> Any:
        asked.set()
        assert answered.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    server = serving(device, host="porch.lan", password="x")
    assert asked.wait(20)
    server.stop()
    answered.set()
    assert wait_until(lambda: web_threads() == []), web_threads()


def test_a_port_for_root_is_refused_at_once(
    device: WebDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ConfigError) as caught:
        serving(device, port=80)
    assert str(caught.value) == "web.port 80 is for root only: choose one from 1024 on"


@pytest.mark.parametrize(
    "host", ["no such host", "192.168.1.256", "10.1", "a..b", "a" * 64, "porch!", "[::1]", "1:2"]
)
def test_what_is_no_address_and_no_name_is_refused_at_once(device: WebDevice, host: str) -> None:
    said = page_host_problem(host, has_password=True)
    assert said is not None
    assert said.startswith(f'web.host "{host}" is neither an address nor a host name: ')
    with pytest.raises(ConfigError, match="neither an address nor a host name"):
        serving(device, host=host, password="x")


@pytest.mark.parametrize(
    "host", ["porch", "porch.local.", "my_pi.lan", "küche.lan", "pi4", "4pi", "fe80::1%eth0"]
)
def test_what_may_be_a_name_is_not_refused(host: str) -> None:
    assert page_host_problem(host, has_password=True) is None


@needs_mosquitto
def test_the_daemon_classifies_although_the_port_of_its_page_is_taken(
    tmp_path: Path, broker: Mosquitto, taken: socket.socket
) -> None:
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["web"] = {"enabled": True, "port": taken.getsockname()[1]}
    root = site.settings["mqtt"]["root"]
    with Subscriber(broker.port, f"{root}/#") as watching, site.daemon() as daemon:
        assert daemon.wait_for_line(NOT_SERVED), daemon.lines
        assert watching.wait_for(has_predictions(3)), daemon.lines
        daemon.stop()
        assert daemon.wait() == 0, daemon.lines
    assert sum(NOT_SERVED in line for line in daemon.lines) == 1
