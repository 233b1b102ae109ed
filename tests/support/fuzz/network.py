"""What comes from the network, and what names a place in it."""

import base64
import hashlib
import http.client
import io
import re
from collections.abc import Mapping
from pathlib import Path

from edgeclassifier.cameras.http import HttpClient
from edgeclassifier.cameras.httpauth import Credentials, best, challenges
from edgeclassifier.cameras.mjpeg import MAX_PICTURE_BYTES, Jpeg, JpegScanner, picture_size
from edgeclassifier.contract.messages import Incoming
from edgeclassifier.daemon.requests import matches, read_request
from edgeclassifier.errors import CameraError
from edgeclassifier.host.redaction import redact
from support.fuzz.target import Target, assert_one_line
from support.mjpeg_forms import WHOLE

_SECRET = "hunter2"
_BASE = "home/porch"
_ALLOWED = ("answers/#", "team/+/inbox")
_LONGEST_TOPIC_BYTES = 256


def url(data: bytes, folder: Path) -> bool:  # noqa: ARG001 - a target
    """No part of the password is shown, whatever is around it; accepted: the host is."""
    text = data.decode(errors="replace")
    shown = redact(text)
    assert redact(shown) == shown
    # A word that introduces a secret or a separator before it: any maker's way to write it.
    if "://" in text and not text.partition("://")[0].lower().endswith("file"):
        host = text.partition("://")[2]
        host = re.split(r"[/?#]", host, maxsplit=1)[0].rpartition("@")[2]
        assert _SECRET not in shown or _SECRET in host or _SECRET in text.partition("://")[0]
    elif re.search(r":.*@|(?i:pass|pwd|token|key|user)[^=/]*=", text):
        assert _SECRET not in shown
    return shown not in {"***", text}


def response_topic(data: bytes, folder: Path) -> bool:  # noqa: ARG001 - a target
    """The answer goes where the device may write, and to a topic that any broker takes."""
    incoming = Incoming(
        topic=f"{_BASE}/request/health",
        payload=b"{}",
        response_topic=data.decode(errors="surrogateescape"),
        correlation=None,
    )
    found = read_request(incoming, base=_BASE, reply_topics=_ALLOWED)
    assert found is not None
    topic = found.reply_topic
    own = topic.startswith(f"{_BASE}/response/")
    assert own or any(matches(topic, each) for each in _ALLOWED)
    assert own or not topic.startswith(_BASE)
    assert len(topic.encode()) <= _LONGEST_TOPIC_BYTES
    assert all(topic.split("/"))
    assert not set(topic) & set("+#\0")
    return found.elsewhere is None


def stream(data: bytes, folder: Path) -> bool:  # noqa: ARG001 - a target
    """Pictures are found in any pieces, each within its bound; the first byte is their size."""
    scanner, size = JpegScanner(boundary=b"frame"), 1 + 16 * (data[0] if data else 0)
    found: list[Jpeg] = []
    try:
        for start in range(0, len(data), size):
            found += scanner.feed(data[start : start + size])
    except CameraError as error:
        assert_one_line(str(error))
        return False
    if (last := scanner.finish()) is not None:
        found.append(last)
    assert sum(len(each.data) for each in found) <= len(data)
    for each in found:
        assert len(each.data) <= MAX_PICTURE_BYTES
        picture_size(each.data)
    return bool(found)


class _Heard:
    """A connection that has an answer on it, and takes what is sent."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def answer(data: bytes, folder: Path) -> bool:  # noqa: ARG001 - a target
    """What the standard library says of a damaged answer is told in one line."""
    client = HttpClient("http://127.0.0.1/", options={}, timeout_s=1)
    response = http.client.HTTPResponse(_Heard(data))  # type: ignore[arg-type] # all it uses
    try:
        response.begin()
        while response.read1(65536):
            pass
    except (OSError, http.client.HTTPException, ValueError) as error:
        assert_one_line(str(client.explain(error)))
        return False
    finally:
        response.close()
    return True


def challenge(data: bytes, folder: Path) -> bool:  # noqa: ARG001 - a target
    """The password goes out as a digest, or in the clear if nothing else is offered."""
    headers = data.decode("latin-1").splitlines()
    offered = challenges(headers)
    for each in offered:
        assert_one_line(each.shown)
    chosen = best(offered)
    if chosen is None:
        return False
    credentials = Credentials("admin", _SECRET, given=True)
    credentials.answer(chosen)
    header = credentials.header("GET", "/video?a=1")
    assert header is not None
    assert not set(header) & set(b"\r\n"), "a header that would be several"
    assert _SECRET.encode() not in header
    known = any(each.known and each.scheme == "digest" for each in offered)
    sent = base64.b64encode(f"admin:{_SECRET}".encode())
    assert not known or sent not in header
    assert hashlib.md5(_SECRET.encode(), usedforsecurity=False).hexdigest().encode() not in header
    return True


def _url_seeds() -> list[bytes]:
    return [
        b"rtsp://admin:hunter2@10.0.0.5:554/Streaming/Channels/101",
        b"rtsp://10.0.0.5:554/user=admin&password=hunter2&channel=1&stream=0.sdp",
        b"rtsp://cam.lan/user=admin_password=hunter2_channel=1_stream=0.sdp?real_stream",
        b"http://cam.lan:88/video.cgi?usr=admin;pwd=hunter2#hunter2",
        b"rtsps://[fe80::1]:7441/hunter2?enableSrtp",
        b"http://admin:a/hunter2@cam.lan/video",
        b"srt://cam.lan:9000?passphrase=hunter2&mode=caller",
        b"admin:hunter2@cam.lan/live",
    ]


def _topic_seeds() -> list[bytes]:
    return [
        b"home/porch/response/health",
        b"home/porch/response/me/1",
        b"answers/a/b",
        b"team/a/inbox",
        b"home/porch/availability",
        b"homeassistant/status",
        b"$SYS/broker",
        "home/porch/response/ä".encode(),
        b"home/porch/response/" + b"a/" * 250,
    ]


def _stream_seeds() -> list[bytes]:
    return [b"\x04" + each.head + each.first + 3 * each.repeated for each in WHOLE.values()]


def _answer_seeds() -> list[bytes]:
    bodies = [each.head + each.repeated for each in WHOLE.values()]
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
    return [*bodies, chunked, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"]


def _challenge_seeds() -> list[bytes]:
    return [
        b'Basic realm="camera"',
        b'Digest realm="a, b", nonce="n0", qop="auth,auth-int", algorithm=SHA-256, opaque="o"',
        b'Digest realm="x", nonce="1", algorithm=MD5-sess, stale=TRUE, Basic realm="y"',
        b'Digest qop="auth", algorithm=SHA-512-256, nonce="a\\"b", realm="c\\\\d"',
        b'Bearer error="x"\nNegotiate\nDigest realm=x,nonce=y',
    ]


NETWORK_TARGETS: Mapping[str, Target] = {
    "url": Target(read=url, seeds=_url_seeds),
    "response_topic": Target(read=response_topic, seeds=_topic_seeds),
    "stream": Target(read=stream, seeds=_stream_seeds),
    "answer": Target(read=answer, seeds=_answer_seeds),
    "challenge": Target(read=challenge, seeds=_challenge_seeds),
}
