"""The page's server: what it shows and takes, over real HTTP, with a real model behind it."""

import contextlib
import dataclasses
import io
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.brokers import wait_until
from support.web_client import ask, basic, get, post, watching
from support.web_device import Hanging, WebDevice, bundled_inference, sample_pictures, web_threads

from edgeclassifier import web
from edgeclassifier.engine.inference import Inference
from edgeclassifier.errors import CameraError, ConfigError
from edgeclassifier.host.addresses import page_host_problem
from edgeclassifier.web import live as live_module
from edgeclassifier.web.server import WebServer
from edgeclassifier.web.stream import MAX_VIEWERS

PAGE = Path(web.__file__).parent / "page"
SAMPLES = PAGE.parents[1] / "samples"
Serve = Callable[..., WebServer]


@pytest.fixture(scope="module")
def inference() -> Inference:
    return bundled_inference()


@pytest.fixture
def device(inference: Inference) -> WebDevice:
    return WebDevice(inference, sample_pictures())


@pytest.fixture
def serve(device: WebDevice) -> Iterator[Serve]:
    started: list[WebServer] = []

    def start(device: WebDevice = device, **more: Any) -> WebServer:
        fields = {"host": "127.0.0.1", "port": 0, "password": None, **more}
        server = WebServer(live=device.live, device=device, **fields)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def server(serve: Serve) -> WebServer:
    return serve()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pictures that were encoded for viewers."""
    done: list[bytes] = []
    encode = live_module.encode

    def counting(pixels: Any) -> bytes:
        done.append(encode(pixels))
        return done[-1]

    monkeypatch.setattr(live_module, "encode", counting)
    return done


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    return image


def test_the_page_and_its_parts_are_served_and_nothing_else(server: WebServer) -> None:
    html = get(server, "/").text
    for name in re.findall(r'(?:src|href)="([^"#]+)"', html):
        assert get(server, f"/{name}").status == 200, name
    for script in PAGE.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', script.read_text()):
            assert get(server, f"/{name}").headers["content-type"].startswith("text/javascript")
    for path in ("/app.py", "/page/index.html", "/../app.py", "/%2e%2e/app.py", "/page", "//"):
        assert get(server, path).status == 404, path
    assert ask(server, "HEAD", "/live").body == b""


def test_the_page_needs_nothing_from_outside_and_runs_no_inline_code() -> None:
    for path in PAGE.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|\beval\(|innerHTML", text), path.name
    html = (PAGE / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html) == []


@pytest.mark.parametrize("path", ["/", "/live/picture", "/api/crop", "/nowhere"])
def test_every_answer_says_what_a_browser_may_do_with_it(server: WebServer, path: str) -> None:
    headers = get(server, path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("frame-ancestors 'none'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_pages_that_are_named_may_frame_it(serve: Serve) -> None:
    server = serve(frame_ancestors=("self", "http://homeassistant.local:8123"))
    policy = get(server, "/").headers["content-security-policy"]
    assert policy.endswith("; frame-ancestors 'self' http://homeassistant.local:8123")
    framed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert get(server, "/", **framed, Sec_Fetch_Dest="iframe").status == 200


def test_the_picture_is_the_newest_frame_with_its_number(
    server: WebServer, device: WebDevice
) -> None:
    missing = get(server, "/live/picture")
    assert (missing.status, missing.text) == (404, "there is no picture yet")
    device.step()
    frame = device.step().frame
    answer = get(server, "/live/picture")
    assert answer.headers["x-seq"] == "2"
    assert answer.headers["cache-control"] == "no-store"
    image = opened(answer.body)
    assert image.size == (frame.pixels.shape[1], frame.pixels.shape[0])
    difference = np.asarray(image).astype(int) - frame.pixels
    assert np.abs(difference).mean() < 6


def test_a_large_frame_is_made_smaller(serve: Serve, inference: Inference) -> None:
    large = WebDevice(inference, [np.zeros((1080, 1920, 3), np.uint8)])
    large.step()
    assert opened(get(serve(large), "/live/picture").body).size == (960, 540)


def test_a_picture_is_encoded_once_for_all_and_only_when_asked_for(
    server: WebServer, device: WebDevice, encoded: list[bytes]
) -> None:
    for _ in range(5):
        device.step()
    assert encoded == []
    pictures = {get(server, "/live/picture").body for _ in range(4)}
    assert pictures == set(encoded)
    assert len(encoded) == 1


def test_with_nobody_looking_a_result_costs_next_to_nothing(
    server: WebServer, device: WebDevice, figures: Callable[[str], None]
) -> None:
    result = device.step()
    with watching(server) as events:
        events.next("result")
    rounds = 20_000

    def cost_s(call: Callable[[], object]) -> float:
        started_s = time.thread_time()
        for _ in range(rounds):
            call()
        return (time.thread_time() - started_s) / rounds

    handle_s = min(cost_s(lambda: device.live.handle(result, None)) for _ in range(5))
    nothing_s = min(cost_s(lambda: None) for _ in range(5))
    started_s = time.thread_time()
    for _ in range(20):
        device.step()
    step_s = (time.thread_time() - started_s) / 20
    figures(
        f"{handle_s * 1e6:.2f} µs for each result, {nothing_s * 1e6:.2f} of them for the call: "
        f"{handle_s / step_s:.6f} of a result of the bundled model on one core"
    )
    assert handle_s < step_s / 100


def test_the_stream_says_what_is_seen_and_how_the_device_is(
    server: WebServer, device: WebDevice
) -> None:
    result = device.step()
    with watching(server) as events:
        assert events.next("hello")["instance"]
        status = events.next("status")
        assert status["device"] == "porch"
        assert status["connected"] is True
        assert status["temperature_c"] == 51.2
        assert [each["label"] for each in events.next("changes")] == ["Egyptian cat"]
        shown = events.next("result")
        assert shown["size"] == [result.frame.pixels.shape[1], result.frame.pixels.shape[0]]
        assert [each["label"] for each in shown["predictions"]] == [
            each.label for each in result.predictions
        ]
        x, y, width, height = shown["crop"]
        assert x + width / 2 == pytest.approx(0.5, abs=1e-4)
        assert y + height / 2 == pytest.approx(0.5, abs=1e-4)
        assert shown["size"][0] * width == pytest.approx(shown["size"][1] * height, abs=0.1)


def test_the_stream_goes_on_with_what_is_new(server: WebServer, device: WebDevice) -> None:
    device.step()
    with watching(server) as events:
        assert events.next("result")["seq"] == 1
        device.step()
        assert events.next("result")["seq"] == 2
        post(server, "/api/request/pause")
        assert events.next("status")["paused"] is True


def test_each_view_is_shown_and_only_the_newest_frame_is_held(
    server: WebServer, device: WebDevice
) -> None:
    result = device.take()
    for view in ("bowl", "gate", "bowl"):
        device.live.handle(dataclasses.replace(result, view=view), None)
    held = [each.result for each in device.live.after(0)]
    assert [each.view for each in held] == ["gate", "bowl"]
    assert not any(each.frame.pixels.size + each.crop.size for each in held)
    with watching(server) as events:
        shown = [events.next("result") for _ in held]
    assert [(each["view"], each["seq"]) for each in shown] == [("gate", 2), ("bowl", 3)]
    height, width = result.frame.pixels.shape[:2]
    assert all(each["size"] == [width, height] for each in shown)
    assert get(server, "/live/picture").headers["x-seq"] == "3"


def test_who_reads_late_gets_the_newest_and_not_the_backlog(
    server: WebServer, device: WebDevice
) -> None:
    device.step()
    with watching(server) as events:
        events.next("result")
        result = device.step()
        for _ in range(500):
            device.live.handle(result, None)
        numbers = [events.next("result")["seq"]]
        while numbers[-1] < 502:
            numbers.append(events.next("result")["seq"])
        assert len(numbers) < 20


def test_more_viewers_than_there_is_room_for_are_told_so(
    server: WebServer, device: WebDevice
) -> None:
    device.step()
    streams = [watching(server) for _ in range(MAX_VIEWERS)]
    for stream in streams:
        stream.__enter__().next("result")
    refused = get(server, "/live")
    assert refused.status == 503
    assert "close one of them" in refused.text
    assert get(server, "/live/picture").status == 200
    streams.pop().__exit__(None, None, None)
    deadline_s = time.monotonic() + 20
    while True:
        with watching(server) as events:
            if events.status == 200:
                break
        assert time.monotonic() < deadline_s, "the place of a viewer who left stays taken"
        time.sleep(0.05)
    for stream in streams:
        stream.__exit__(None, None, None)


def test_a_request_goes_to_the_device_and_its_answer_back(
    server: WebServer, device: WebDevice
) -> None:
    done = post(server, "/api/request/set_threshold", json.dumps({"threshold": 0.6}))
    assert (done.status, done.json["status"]) == (200, "ok")
    assert device.requests == [("set_threshold", {"threshold": 0.6})]
    refused = post(server, "/api/request/restart")
    assert (refused.status, refused.json["error"]) == (400, "restart: not on this device")


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"[]", 400, "the request is not a JSON object"),
        (b"{", 400, "the request is not a JSON object"),
        (b"[" * 4000, 400, "the request is not a JSON object"),
        (b"\xff", 400, "the request is not a JSON object"),
        (b" " * 5000, 413, "a request has at most 4096 bytes"),
    ],
)
def test_what_is_no_request_does_not_reach_the_device(
    server: WebServer, device: WebDevice, body: bytes, status: int, why: str
) -> None:
    answer = post(server, "/api/request/pause", body)
    assert (answer.status, answer.json) == (status, {"status": "error", "error": why})
    assert device.requests == []


def test_a_request_is_no_link(server: WebServer, device: WebDevice) -> None:
    for path in ("/api/request/pause", "/api/take", "/api/classify"):
        assert get(server, path).status == 405
    assert device.requests == []


def test_a_picture_of_the_visitor_is_classified(server: WebServer) -> None:
    answer = post(server, "/api/classify", (SAMPLES / "coffee.png").read_bytes())
    assert answer.status == 200
    assert answer.json["data"]["predictions"][0]["label"] == "espresso"


def test_what_is_no_picture_is_refused_in_one_line(server: WebServer) -> None:
    answer = post(server, "/api/classify", b"hello")
    assert answer.status == 422
    assert answer.json["error"] == "this picture: not a picture in a known format"


def test_a_picture_that_is_too_large_is_not_read(server: WebServer) -> None:
    said = post(server, "/api/classify", b"", Content_Length="20000001", Expect="100-continue")
    assert said.status == 413
    assert said.json["error"] == "the picture is too large: the limit is 20 MB"


def test_the_limit_holds_for_a_picture_that_does_not_say_its_size(server: WebServer) -> None:
    chunks = (b"x" * 1_000_000 for _ in range(40))
    # The server may end before everything is sent.
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        assert post(server, "/api/classify", chunks).status == 413
    assert get(server, "/api/crop?width=1&height=1").status == 200


def test_one_picture_at_a_time(server: WebServer) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"half a picture"
        begun.set()
        assert go_on.wait(20)
        yield b"and the rest"

    statuses: list[int] = []
    uploading = threading.Thread(
        target=lambda: statuses.append(post(server, "/api/classify", slow()).status)
    )
    uploading.start()
    assert begun.wait(20)
    deadline_s = time.monotonic() + 20
    while (other := post(server, "/api/classify", b"x")).status != 503:
        assert time.monotonic() < deadline_s
    assert "another picture is being classified" in other.text
    go_on.set()
    uploading.join(20)
    assert statuses == [422]


def test_taking_a_picture_gives_it_with_its_result(server: WebServer, device: WebDevice) -> None:
    data = post(server, "/api/take").json["data"]
    assert data["predictions"][0]["label"] == "Egyptian cat"
    assert data["picture"].startswith("data:image/jpeg;base64,")
    assert len(data["crop"]) == 4
    device.refuse = CameraError("the camera is being opened again")
    refused = post(server, "/api/take")
    assert (refused.status, refused.json["error"]) == (503, "the camera is being opened again")


def test_the_square_can_be_asked_for_any_size(server: WebServer) -> None:
    crop = get(server, "/api/crop?width=400&height=200").json["data"]["crop"]
    assert crop == [0.28125, 0.0625, 0.4375, 0.875]
    for query in ("", "?width=a&height=1", "?width=0&height=5", "?width=5&height=1e9"):
        assert get(server, f"/api/crop{query}").status == 400


def test_an_address_that_can_be_reached_needs_a_password(device: WebDevice) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "porch.local"):
        assert page_host_problem(host, has_password=True) is None
        said = page_host_problem(host, has_password=False)
        assert said is not None
        assert "web.password_file" in said
        with pytest.raises(ConfigError, match="can be reached from other machines"):
            WebServer(host=host, port=0, password=None, live=device.live, device=device)
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert page_host_problem(host, has_password=False) is None


def test_without_the_password_there_is_nothing_but_the_probes(
    serve: Serve, device: WebDevice
) -> None:
    def answer(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("figures")

    routes = [Route(path, answer) for path in ("/metrics", "/healthz")]
    server = serve(password="höhle 7", routes=routes)
    for path in ("/", "/page.js", "/live", "/live/picture", "/metrics", "/nowhere"):
        refused = get(server, path)
        assert refused.status == 401, path
        assert refused.headers["www-authenticate"].startswith("Basic ")
    assert post(server, "/api/request/pause").status == 401
    assert device.requests == []
    assert get(server, "/healthz").text == "figures"
    for path in ("/", "/metrics"):
        assert get(server, path, Authorization=basic("höhle 7")).status == 200
    for wrong in (basic("hohle 7"), basic(""), "Basic ???", "Bearer x", ""):
        assert get(server, "/", Authorization=wrong).status == 401


def test_a_fault_of_ours_is_logged_and_costs_one_answer(
    server: WebServer, device: WebDevice, caplog: pytest.LogCaptureFixture
) -> None:
    device.refuse = ZeroDivisionError("a fault")  # type: ignore[assignment] # what is tried here
    assert post(server, "/api/take").status == 500
    # The answer is on its way before the log is written.
    assert wait_until(lambda: "ZeroDivisionError" in caplog.text)
    device.refuse = None
    assert post(server, "/api/take").status == 200


def test_the_faults_of_others_are_not_logged(
    server: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for path in ("/nowhere", "/api/crop"):
            get(server, path)
        post(server, "/api/classify", b"hello")
        ask(server, "BREW", "/")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def test_requests_that_hang_do_not_keep_others_waiting(serve: Serve, inference: Inference) -> None:
    device = Hanging(inference, sample_pictures())
    server = serve(device)
    threads = [threading.Thread(target=post, args=(server, "/api/request/pause")) for _ in range(4)]
    for thread in threads:
        thread.start()
    # Before all four hang, a fifth would take the place of one.
    assert wait_until(lambda: web_threads().count("web-request") == len(threads))
    fifth = post(server, "/api/take")
    assert fifth.status == 503
    assert "too many requests at a time" in fifth.text
    with watching(server) as events:
        assert events.next("status")["device"] == "porch"
    device.let_go.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
