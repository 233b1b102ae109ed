"""Passwords: how cameras ask for them, to whom they are sent, and what is said if it fails."""

import socket
from collections.abc import Iterator

import pytest
from support.mjpeg_forms import OK, CameraServer, Lock

from edgeclassifier.cameras.http import HttpClient
from edgeclassifier.cameras.httpauth import best, challenges
from edgeclassifier.cameras.stream import StreamCamera
from edgeclassifier.errors import CameraError

NONCE = 'realm="cam, \\"x\\"", nonce="NONCE"'
LOCKS = {
    "basic": Lock(('Basic realm="cam"',)),
    "digest": Lock((f"Digest {NONCE}",)),
    "md5": Lock((f"Digest {NONCE}, algorithm=MD5",)),
    "quoted": Lock((f'Digest {NONCE}, algorithm="MD5", qop=auth',)),
    "qop": Lock((f'Digest {NONCE}, qop="auth,auth-int", opaque="a\\"b"',)),
    "auth-int": Lock((f'Digest {NONCE}, qop="auth-int"',)),
    "md5-sess": Lock((f'Digest {NONCE}, algorithm=MD5-sess, qop="auth"',), session=True),
    "sha-256": Lock((f'Digest {NONCE}, algorithm=SHA-256, qop="auth"',), "SHA-256"),
    "sha-256-sess": Lock(
        (f'digest {NONCE}, algorithm=sha-256-SESS, qop="auth"',), "SHA-256", session=True
    ),
    "sha-512-256": Lock((f'Digest {NONCE}, algorithm=SHA-512-256, qop="auth"',), "SHA-512-256"),
    "two headers": Lock(
        (
            'Basic realm="cam"',
            f"Digest {NONCE}, algorithm=MD5",
            f"Digest {NONCE}, algorithm=SHA-256",
        ),
        "SHA-256",
    ),
    "one header": Lock((f'Basic realm="a, b", Digest {NONCE}, algorithm=MD5, qop="auth"',)),
    "unknown first": Lock((f"Digest {NONCE}, algorithm=SHA3", f"Digest {NONCE}, algorithm=MD5")),
    "each time anew": Lock((f'Digest {NONCE}, qop="auth"',), uses=1),
}
PASSWORDS = ["hunter2", "p@ss/w:rd?#&%41", "ümläut€", '"quote"\\', " "]


@pytest.fixture
def server() -> Iterator[CameraServer]:
    running = CameraServer()
    yield running
    running.close()


def client(url: str) -> HttpClient:
    return HttpClient(url, options={}, timeout_s=5)


@pytest.mark.parametrize("lock", LOCKS)
def test_each_way_to_ask_for_a_password_is_answered(server: CameraServer, lock: str) -> None:
    server.lock = LOCKS[lock]
    asking = client(server.url("still?ch=1&x=%41 b", "admin:hunter2@"))
    for _ in range(3):
        assert asking.get().status == 200
    asking.close()
    if lock != "each time anew":
        assert len(server.requests) == 4, "later requests bring the password at once"
    wrong = client(server.url("still", "admin:hunter3@"))
    with pytest.raises(CameraError, match=r"user name or password not accepted \(HTTP 401\)"):
        wrong.get()
    wrong.close()


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("lock", ["basic", "digest", "sha-256"])
def test_passwords_of_any_characters(password: str, lock: str) -> None:
    from urllib.parse import quote

    server = CameraServer(password=password)
    server.lock = LOCKS[lock]
    asking = client(server.url("still", f"admin:{quote(password, safe='')}@"))
    try:
        assert asking.get().status == 200
    finally:
        asking.close()
        server.close()


@pytest.mark.parametrize(
    ("challenge", "named"),
    [
        (f"Digest {NONCE}, algorithm=SHA3-256", "Digest with SHA3-256"),
        ("NTLM", "Ntlm"),
        ('Bearer realm="x"', "Bearer"),
        (f'Digest {NONCE}, qop="other"', "Digest with MD5"),
    ],
)
def test_an_unknown_way_is_named_and_no_wrong_password(
    server: CameraServer, challenge: str, named: str
) -> None:
    server.lock = Lock((challenge,))
    asking = client(server.url("still", "admin:hunter2@"))
    with pytest.raises(CameraError, match="not supported") as caught:
        asking.get()
    asking.close()
    assert named in str(caught.value)
    assert "not accepted" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_ffmpeg_is_to_read_but_cannot_log_in_to_is_said(server: CameraServer) -> None:
    server.lock = LOCKS["sha-256"]
    server.answers["live.m3u8"] = lambda connection: connection.sendall(
        OK + b"Content-Type: application/vnd.apple.mpegurl\r\n\r\n#EXTM3U\n"
    )
    camera = StreamCamera(
        camera_id="cam0",
        url=server.url("live.m3u8", "admin:hunter2@"),
        max_rate_hz=0,
        options={},
        timeout_s=5,
        reconnect_max_s=1,
        loop=False,
    )
    with pytest.raises(CameraError, match=r"FFmpeg cannot answer \(Digest with SHA-256\)"):
        camera.open()
    camera.close()


def test_without_a_password_it_is_asked_for(server: CameraServer) -> None:
    server.lock = LOCKS["basic"]
    asking = client(server.url("still"))
    with pytest.raises(CameraError, match=r"set camera\.stream\.username"):
        asking.get()
    asking.close()


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def test_the_password_stays_with_its_server(server: CameraServer) -> None:
    """Another port is another server, as it is to a browser."""
    other = CameraServer()
    other.lock = LOCKS["basic"]

    def away(connection: socket.socket) -> None:
        connection.sendall(redirect(other.url("still?token=t0psecret")))

    server.answers["away"] = away
    server.answers["here"] = lambda connection: connection.sendall(redirect("/still"))
    server.lock = LOCKS["basic"]
    asking = client(server.url("away", "admin:hunter2@"))
    try:
        with pytest.raises(CameraError, match="wants a password: it is sent to") as caught:
            asking.get()
        assert not any("Authorization" in request for request in other.requests)
        assert "t0psecret" not in str(caught.value)
        other.lock = None
        assert asking.get().status == 200
        assert not any("Authorization" in request for request in other.requests)
        here = client(server.url("here", "admin:hunter2@"))
        assert here.get().status == 200
        here.close()
    finally:
        asking.close()
        other.close()


@pytest.mark.parametrize("to", ["file:///etc/passwd", "concat:/etc/passwd", "ftp://h/x"])
def test_a_redirect_to_anything_but_http_is_refused(server: CameraServer, to: str) -> None:
    server.answers["x"] = lambda connection: connection.sendall(redirect(to))
    asking = client(server.url("x"))
    with pytest.raises(CameraError, match="neither http nor https"):
        asking.get()
    asking.close()


def test_a_redirect_to_what_is_no_url_is_refused(server: CameraServer) -> None:
    server.answers["x"] = lambda connection: connection.sendall(redirect("http://[bad/"))
    asking = client(server.url("x"))
    with pytest.raises(CameraError, match="redirects to what is no URL"):
        asking.get()
    asking.close()


def test_a_redirect_in_a_circle_ends(server: CameraServer) -> None:
    server.answers["x"] = lambda connection: connection.sendall(redirect("/x"))
    asking = client(server.url("x"))
    with pytest.raises(CameraError, match="in a circle"):
        asking.get()
    asking.close()
    assert len(server.requests) < 10


@pytest.mark.parametrize("url", ["http://", "http://[", "http://h:port/x", "http://[::1/x"])
def test_what_is_no_url_is_said(url: str) -> None:
    with pytest.raises(CameraError, match=r"is no URL"):
        client(url)


def test_several_challenges_in_one_header_are_told_apart() -> None:
    header = 'Negotiate, Basic realm="a=\\"1\\", b", Digest nonce=abc,realm="r" , stale=TRUE'
    found = challenges([header])
    assert [each.scheme for each in found] == ["negotiate", "basic", "digest"]
    assert dict(found[1].parameters) == {"realm": 'a="1", b'}
    assert dict(found[2].parameters) == {"nonce": "abc", "realm": "r", "stale": "TRUE"}
    assert found[2].stale
    assert best(found) is found[2]
    assert best(found[:1]) is None
