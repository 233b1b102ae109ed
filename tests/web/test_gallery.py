"""The kept pictures over HTTP: each one, behind the same guard as everything else."""

from collections.abc import Iterator

import pytest
from support.kept import JPEG
from support.web_client import Answer, ask, basic, get, post
from support.web_device import WebDevice, bundled_inference, sample_pictures, serving

from edgeclassifier.engine.inference import Inference
from edgeclassifier.errors import KeepError
from edgeclassifier.web.server import WebServer

PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def inference() -> Inference:
    return bundled_inference()


@pytest.fixture
def device(inference: Inference) -> WebDevice:
    device = WebDevice(inference, sample_pictures())
    device.kept = {"7": JPEG, "8": JPEG}
    return device


@pytest.fixture
def server(device: WebDevice) -> Iterator[WebServer]:
    server = serving(device)
    yield server
    server.stop()


def test_a_picture_comes_as_a_jpeg_that_no_cache_keeps(server: WebServer) -> None:
    answer = get(server, "/kept/7.jpg")
    assert (answer.status, answer.body) == (200, JPEG)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["9", "x", "-1", "7.5", "²", "1" * 30, "..%2f7", "7%00"])
def test_what_is_not_kept_is_not_there(server: WebServer, name: str) -> None:
    quoted = name.replace("²", "%C2%B2")
    assert get(server, f"/kept/{quoted}.jpg").status == 404


def test_throwing_away_is_a_post(server: WebServer, device: WebDevice) -> None:
    path = "/api/kept/7/throw_away"
    assert get(server, path).status == 405
    assert post(server, path).json == {"status": "ok", "data": {}}
    assert device.kept.keys() == {"8"}
    again = post(server, path)
    assert (again.status, again.json["error"]) == (400, "no picture 7 is kept here")


def test_another_site_throws_nothing_away(server: WebServer, device: WebDevice) -> None:
    path = "/api/kept/7/throw_away"
    foreign: list[dict[str, str]] = [
        {"Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Host": "evil.example"},
    ]
    for headers in foreign:
        assert post(server, path, **headers).status == 403
        assert get(server, "/kept/7.jpg", **headers).status == 403
    assert device.kept.keys() == {"7", "8"}


def test_the_gallery_needs_the_password_as_well(device: WebDevice) -> None:
    server = serving(device, password=PASSWORD)
    try:
        for method, path in (
            ("GET", "/gallery"),
            ("GET", "/gallery.js"),
            ("GET", "/kept/7.jpg"),
            ("POST", "/api/kept/7/throw_away"),
        ):
            assert ask(server, method, path).status == 401
        assert device.kept.keys() == {"7", "8"}
        answer: Answer = get(server, "/kept/7.jpg", Authorization=basic(PASSWORD))
        assert answer.body == JPEG
    finally:
        server.stop()


def test_a_disk_that_fails_is_said_in_one_line(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_device: WebDevice, _number: str) -> bytes:
        raise KeepError("kept pictures in /x: input/output error")

    monkeypatch.setattr(WebDevice, "kept_picture", fail)
    answer = get(server, "/kept/7.jpg")
    assert (answer.status, answer.json["error"]) == (503, "kept pictures in /x: input/output error")


@pytest.mark.parametrize("path", ["/gallery", "/gallery.js", "/gallery.css"])
def test_the_page_itself_is_there(server: WebServer, path: str) -> None:
    answer = get(server, path)
    assert answer.status == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
