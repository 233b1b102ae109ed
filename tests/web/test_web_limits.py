"""The page's server against clients that try to block it, and its end."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.brokers import wait_until
from support.open_files import open_files
from support.web_client import basic, connect, get, is_closed, post, watching
from support.web_device import (
    Hanging,
    WebDevice,
    bundled_inference,
    sample_pictures,
    serving,
    web_threads,
)

from edgeclassifier.engine.inference import Inference
from edgeclassifier.web import access, connections
from edgeclassifier.web.access import PasswordCheck, Verdict, is_foreign, names_loopback
from edgeclassifier.web.connections import Limits
from edgeclassifier.web.server import WebServer

CLIENT = "192.168.1.7"
HALF_A_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
Serve = Callable[..., WebServer]


@pytest.fixture(scope="module")
def inference() -> Inference:
    return bundled_inference()


@pytest.fixture
def device(inference: Inference) -> WebDevice:
    device = WebDevice(inference, sample_pictures())
    device.step()
    return device


@pytest.fixture
def serve(device: WebDevice) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(**more: Any) -> WebServer:
            server = serving(device, **more)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def server(serve: Serve) -> WebServer:
    return serve()


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:8080", True),
        ("LOCALHOST", True),
        ("127.0.0.1:9000", True),
        ("127.3.2.1", True),
        ("[::1]:8080", True),
        ("porch.local:8080", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:8080", False),
        ("192.168.1.5", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_a_page_for_this_machine_answers_to_its_names_alone(
    server: WebServer, host: str, *, ours: bool
) -> None:
    assert names_loopback(host) is ours
    assert (get(server, "/", Host=host).status == 200) is ours


@pytest.mark.parametrize(
    ("method", "headers", "foreign"),
    [
        ("POST", {}, False),
        ("POST", {"origin": "http://localhost:1"}, False),
        ("POST", {"origin": "http://localhost:1", "fetch_site": "same-origin"}, False),
        ("POST", {"origin": "https://localhost:1"}, False),  # a proxy speaks TLS for us
        ("POST", {"origin": "http://localhost:2"}, True),
        ("POST", {"origin": "http://evil.example"}, True),
        ("POST", {"origin": "null"}, True),
        ("POST", {"fetch_site": "cross-site"}, True),
        ("POST", {"fetch_site": "same-site", "fetch_mode": "navigate"}, True),
        ("GET", {"fetch_site": "none", "fetch_mode": "navigate"}, False),
        ("GET", {"fetch_site": "cross-site", "fetch_mode": "navigate"}, False),
        ("GET", {"fetch_site": "cross-site", "fetch_mode": "no-cors"}, True),
        ("GET", {"fetch_site": "same-site", "fetch_mode": "cors"}, True),
    ],
)
def test_pages_of_others_ask_for_nothing(
    method: str, headers: dict[str, str], *, foreign: bool
) -> None:
    said = {"origin": None, "fetch_site": None, "fetch_mode": None, **headers}
    assert is_foreign(method, host="localhost:1", **said) is foreign


def test_a_foreign_request_does_not_reach_the_device(server: WebServer, device: WebDevice) -> None:
    answer = post(server, "/api/request/pause", Origin="http://evil.example")
    assert (answer.status, answer.text) == (403, "cross-site request refused")
    assert get(server, "/live", Sec_Fetch_Site="cross-site").status == 403
    assert device.requests == []


def test_guessing_is_slowed_down_and_nobody_is_locked_out() -> None:
    check = PasswordCheck("right")
    wrong, right = basic("wrong"), basic("right")

    def look(password: str, now_s: float, client: str = CLIENT) -> Verdict:
        return check.look(password, client=client, now_s=now_s)

    assert [check.wait_s(CLIENT, now_s=0.0) for _ in range(20)] == [0.0] * 20
    assert [look(wrong, 0.0) for _ in range(11)] == [Verdict.WRONG] * 11
    # The eleventh was one too many: from now on, one each second has its turn.
    assert [check.wait_s(CLIENT, now_s=0.5) for _ in range(3)] == [0.5, 1.5, 2.5]
    assert look(right, 3.0) is Verdict.RIGHT
    assert check.wait_s("192.168.1.8", now_s=3.0) == 0.0
    waits = [check.wait_s(CLIENT, now_s=3.0) for _ in range(100)]
    assert waits[22:] == [23.0] + [None] * 77
    assert check.wait_s(CLIENT, now_s=61.0) == 0.0


def test_a_browser_that_had_the_right_password_does_not_wait() -> None:
    check = PasswordCheck("right")
    known = check.remember()
    assert check.knows(known)
    assert not any(check.knows(each) for each in (None, "", known[:-1]))
    assert check.look(basic("right"), client=CLIENT, now_s=0.0, known=known) is Verdict.RIGHT
    assert check.look(basic("wrong"), client=CLIENT, now_s=0.0, known=known) is Verdict.WRONG
    assert not check.knows(known), "what a guesser has found opens the door to guessing"
    kept = check.remember()
    for _ in range(300):
        check.remember()
        assert check.knows(kept)


def test_an_ipv6_network_counts_as_one_and_many_addresses_are_forgotten() -> None:
    check = PasswordCheck("right")
    for number in range(11):
        check.look(basic("x"), client=f"2001:db8::{number:x}", now_s=0.0)
    assert check.wait_s("2001:db8::ffff", now_s=0.0) == 1.0
    for number in range(256):
        check.look(basic("x"), client=f"10.0.0.{number}", now_s=0.0)
    assert check.wait_s("2001:db8::1", now_s=0.0) == 0.0


def test_the_owner_comes_in_while_somebody_guesses_from_the_same_address(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_TURN_S", 0.05)
    monkeypatch.setattr(access, "_WRONG_S", 0.0)
    server = serve(password="right")
    (cookie,) = get(server, "/", Authorization=basic("right")).headers["set-cookie"].split(";")[:1]
    over = threading.Event()
    guesses: list[int] = []

    def guess() -> None:
        while not over.is_set():
            guesses.append(get(server, "/live", Authorization=basic("wrong")).status)

    guessing = [threading.Thread(target=guess) for _ in range(16)]
    for each in guessing:
        each.start()
    try:
        assert wait_until(lambda: len(guesses) > 30)
        for path in ("/", "/live/picture", "/page.js"):
            assert get(server, path, Authorization=basic("right")).status == 200
            assert get(server, path, Authorization=basic("right"), Cookie=cookie).status == 200
    finally:
        over.set()
        for each in guessing:
            each.join(20)
    assert set(guesses) <= {401, 429}


def test_a_known_browser_gets_no_second_cookie_and_a_program_none(serve: Serve) -> None:
    server = serve(password="right")
    assert "set-cookie" not in get(server, "/page.js", Authorization=basic("right")).headers
    assert "set-cookie" not in get(server, "/", Authorization=basic("wrong")).headers
    cookie = get(server, "/", Authorization=basic("right")).headers["set-cookie"]
    assert "HttpOnly; SameSite=Strict" in cookie
    again = get(server, "/", Authorization=basic("right"), Cookie=f"a=b; {cookie}; c")
    assert "set-cookie" not in again.headers
    assert get(server, "/", Cookie=cookie).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://["},
        {"Origin": "http://[::1"},
        {"Origin": "http://a\u2100.com".encode().decode("latin-1")},
        {"Origin": "a" * 15_000},
        {"Origin": "\x7f"},
        {"Host": "["},
        {"Host": "localhost:abc", "Origin": "http://localhost:99999999"},
        {"Authorization": "Basic \xff\xff"},
        {"Cookie": "=;;=" * 1000},
        {"Content-Length": "9" * 5000},
        {"Sec-Fetch-Site": "\xff"},
    ],
    ids=str,
)
@pytest.mark.parametrize("password", [None, "right"])
@pytest.mark.parametrize("path", ["/", "/api/classify", "/api/request/pause"])
def test_an_odd_header_is_refused_without_a_fault(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
    password: str | None,
    path: str,
) -> None:
    server = serve(password=password)
    lines = {"Host": "localhost", "Content-Length": "0", "Connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    method = "GET" if path == "/" else "POST"
    with connect(server) as link:
        link.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        assert int(link.recv(100).split()[1]) in {200, 400, 401, 403, 413, 422}
    assert caplog.records == []


@pytest.mark.parametrize("path", ["/api/request/pause", "/api/classify", "/nowhere"])
def test_a_body_that_is_no_http_is_refused_without_a_fault(
    server: WebServer, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body in (b"zz\r\n", b"2\r\n{}\r\nzz\r\n", b"5;" + b"a" * 40_000):
        for pause_s in (0.0, 0.05):
            with connect(server) as link:
                link.sendall(head.encode())
                time.sleep(pause_s)
                link.sendall(body)
                assert is_closed(link)
    assert get(server, "/").status == 200
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


def test_a_request_with_two_lengths_is_refused(server: WebServer) -> None:
    with connect(server) as link:
        link.sendall(
            b"POST /api/request/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert link.recv(100).startswith(b"HTTP/1.1 400")
        assert is_closed(link)


def test_it_listens_on_ipv6_too(device: WebDevice) -> None:
    if not Path("/proc/net/if_inet6").read_text():
        pytest.skip("this machine has no IPv6 address, not even ::1")
    server = serving(device, host="::1")
    try:
        with socket.create_connection(("::1", server.port), timeout=20) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
            assert link.recv(100).startswith(b"HTTP/1.1 200 OK")
    finally:
        server.stop()


def test_it_ends_soon_whoever_looks_and_whatever_they_wait_for(
    inference: Inference, figures: Any, caplog: pytest.LogCaptureFixture
) -> None:
    device = Hanging(inference, sample_pictures())
    device.step()
    server = serving(device)
    asking = threading.Thread(target=post, args=(server, "/api/request/pause"))
    asking.start()
    assert device.asked.wait(20)
    with ExitStack() as stack:
        streams = [stack.enter_context(watching(server)) for _ in range(3)]
        for stream in streams:
            stream.next("result")
        stack.enter_context(connect(server))
        half = stack.enter_context(connect(server))
        half.sendall(HALF_A_REQUEST)
        # Answered after the others were accepted: Python 3.13 leaves those of the last moment open.
        assert get(server, "/").status == 200
        started_s = time.monotonic()
        server.stop()
        took_s = time.monotonic() - started_s
        for stream in streams:
            list(stream)
        assert is_closed(half)
    asking.join(20)
    assert not asking.is_alive(), "the client was left without an answer"
    device.let_go.set()
    device.step()
    figures(f"{took_s:.2f} s with streams, half a request and one that hangs")
    assert took_s < 5
    assert wait_until(lambda: web_threads() == []), web_threads()
    again = serving(device, port=server.port)
    assert get(again, "/").status == 200
    again.stop()
    assert caplog.records == [], "the port was not free at once"
    server.stop()


def test_starting_and_ending_leaves_nothing_behind(device: WebDevice) -> None:
    def once() -> None:
        server = serving(device)
        with watching(server) as events:
            events.next("result")
        server.stop()

    once()
    before = open_files()
    for _ in range(5):
        once()
    assert open_files() <= before
    assert web_threads() == []
    device.step()


def test_an_end_right_after_the_start_ends_it(device: WebDevice) -> None:
    for _ in range(5):
        serving(device).stop()
    assert wait_until(lambda: web_threads() == []), web_threads()


def test_a_thread_that_dies_is_reported_and_leaves_the_port_to_the_next(
    device: WebDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths: list[BaseException] = []
    fault = ZeroDivisionError("injected")
    server = serving(device, on_death=deaths.append)
    with watching(server) as events:
        events.next("result")
        with monkeypatch.context() as injected:

            async def dies(*_: object) -> bool:
                raise fault

            injected.setattr(connections.Server, "on_tick", dies)
            assert wait_until(lambda: deaths == [fault])
        list(events)
    server.stop()
    after = serving(device, port=server.port)
    device.step()
    assert get(after, "/live/picture").status == 200
    after.stop()


def test_half_a_request_is_not_waited_for(serve: Serve) -> None:
    server = serve(limits=Limits(request_s=0.3))
    with connect(server) as silent, connect(server) as half, connect(server) as second:
        half.sendall(HALF_A_REQUEST)
        second.sendall(b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert second.recv(100).startswith(b"HTTP/1.1 200")
        second.sendall(HALF_A_REQUEST)
        assert is_closed(silent)
        assert is_closed(half)
        assert is_closed(second)
    assert get(server, "/").status == 200


def test_headers_without_end_are_refused(server: WebServer) -> None:
    with connect(server) as link:
        link.sendall(HALF_A_REQUEST + b"x" * 100_000)
        assert is_closed(link)


def test_who_does_not_read_is_left(serve: Serve) -> None:
    """Its memory and its place are free for other viewers."""
    server = serve(limits=Limits(stalled_s=0.5))
    with connect(server, receive_bytes=2048) as deaf:
        request = b"GET /live/picture HTTP/1.1\r\nHost: localhost\r\n\r\n"

        def ended() -> bool:
            try:
                deaf.send(request * 50)
            except (ConnectionResetError, BrokenPipeError):
                return True
            except TimeoutError:
                return False
            return False

        deaf.settimeout(0.05)
        assert wait_until(ended)
    assert get(server, "/live/picture").status == 200


def test_more_connections_than_the_page_needs_are_refused(server: WebServer) -> None:
    links = [connect(server) for _ in range(Limits().connections + 10)]
    try:
        assert is_closed(links[-1])
        for link in links[:10]:
            link.close()
        assert wait_until(lambda: _answers(server)), "closed connections still count"
    finally:
        for link in links:
            link.close()


def _answers(server: WebServer) -> bool:
    try:
        return get(server, "/").status == 200
    except OSError:
        return False
