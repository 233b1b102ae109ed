"""Which log-in an RTSP server wants, if FFmpeg cannot say."""

import re
import socket
from urllib.parse import urlsplit

from edgeclassifier.cameras.httpauth import challenges

_PORT = 554
_MOST_BYTES = 16 * 1024
_CHALLENGE = re.compile(r"(?mi)^WWW-Authenticate[ \t]*:[ \t]*(.*?)\r?$")


def unknown_login(url: str, *, timeout_s: float) -> str | None:
    """Name the log-in that FFmpeg cannot answer; None if it can, or the server says nothing."""
    try:
        parts = urlsplit(url)
        if parts.scheme.lower() != "rtsp" or not parts.hostname:
            return None
        address = (parts.hostname, parts.port or _PORT)
        with socket.create_connection(address, timeout_s) as connection:
            plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
            request = f"DESCRIBE {plain} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
            connection.sendall(request.encode())
            answer = b""
            while b"\r\n\r\n" not in answer and len(answer) < _MOST_BYTES:
                more = connection.recv(4096)
                if not more:
                    break
                answer += more
    except (OSError, ValueError):
        return None
    offered = challenges(_CHALLENGE.findall(answer.decode("latin-1")))
    if not offered or any(
        each.scheme == "basic" or (each.scheme == "digest" and each.algorithm == "MD5")
        for each in offered
    ):
        return None
    return ", ".join(sorted({each.shown for each in offered}))
