"""The HTTP client of network cameras: bounded, and careful with the password."""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from edgeclassifier.cameras.httpauth import Credentials, best, challenges
from edgeclassifier.errors import CameraError
from edgeclassifier.host.redaction import redact

_MOST_REDIRECTS = 5
_MOST_CHALLENGES = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
# Of an answer whose connection is to be used again, if it has no more.
_WORTH_READING_BYTES = 64 * 1024
# What a path may hold as it is; "%" too, because it is escaped already.
_PATH = "%/:=&?~+!$,;'@()*[]|-._"
_REASONS = {
    401: "user name or password not accepted (HTTP 401)",
    403: "access denied (HTTP 403)",
    404: "no such page on this server (HTTP 404)",
}


class _Server(NamedTuple):
    scheme: str
    host: str
    port: int


class UnavailableError(CameraError):
    """The server answers, but not with what was asked for; it may do so the next time."""


class HttpClient:
    """Sends GET requests for one URL: with its password, to where it redirects, kept alive."""

    def __init__(self, url: str, *, options: Mapping[str, str], timeout_s: float) -> None:
        """Prepare to read `url`, which may carry a user name and password.

        Of FFmpeg's `options` user_agent, referer, headers, tls_verify and ca_file are honoured.
        Raises CameraError if it is no URL.
        """
        self.name = redact(url)
        self._url = url
        self._home, _ = self._split(url)
        self._credentials = _credentials(url)
        self._options = options
        self._timeout_s = timeout_s
        self._server: _Server | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._answer: http.client.HTTPResponse | None = None

    def get(self) -> http.client.HTTPResponse:
        """Ask, and return the answer once it is a good one, its content unread.

        Raises CameraError, in the words of the server's refusal; UnavailableError if that need not
        be so the next time.
        """
        url, redirects, asked = self._url, 0, 0
        while True:
            answer = self._ask(url)
            if answer.status in _REDIRECTS and (location := answer.headers.get("Location")):
                redirects += 1
                if redirects > _MOST_REDIRECTS:
                    raise CameraError(f"{self.name}: redirects in a circle")
                url = self._redirected(url, location)
            elif answer.status == 401:  # noqa: PLR2004  # as everybody knows it
                asked += 1
                self._take_challenge(answer, url, asked)
            elif answer.status in range(200, 300):
                return answer
            else:
                kind = CameraError if answer.status == 403 else UnavailableError  # noqa: PLR2004
                raise kind(f"{self.name}: {_reason(answer.status)}")

    @property
    def unknown_to_ffmpeg(self) -> str | None:
        """The log-in that the server wanted, if FFmpeg could not answer it."""
        return self._credentials.unknown_to_ffmpeg

    def abort(self) -> None:
        """End a read that goes on in another thread."""
        if (now := self._socket) is not None:
            with contextlib.suppress(OSError):
                now.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Disconnect."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()
        if self._connection is not None:
            self._connection.close()
        self._connection = self._server = self._socket = None

    def explain(self, error: Exception) -> CameraError:
        """Say what went wrong with a connection."""
        return CameraError(f"{self.name}: {_explain(error, self._timeout_s)}")

    def _ask(self, url: str) -> http.client.HTTPResponse:
        server, target = self._split(url)
        kept = self._keep_connection(server)
        try:
            return self._send(server, target)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not kept or isinstance(error, TimeoutError):
                raise self.explain(error) from None
        # The server has ended a connection that was kept for the next request.
        try:
            return self._send(server, target)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self.explain(error) from None

    def _keep_connection(self, server: _Server) -> bool:
        answer = self._answer
        if answer is not None and not answer.isclosed():
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer.read(_WORTH_READING_BYTES)
        if server != self._server or answer is None or not answer.isclosed() or answer.will_close:
            self.close()
        return self._connection is not None

    def _send(self, server: _Server, target: str) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect(server)
            self._server = server
        connection = self._connection
        connection.putrequest("GET", target, skip_accept_encoding=True)
        for name, value in self._headers().items():
            connection.putheader(name, value)
        if self._is_home(server) and (header := self._credentials.header("GET", target)):
            connection.putheader("Authorization", header)
        connection.endheaders()
        self._answer = connection.getresponse()
        return self._answer

    def _connect(self, server: _Server) -> http.client.HTTPConnection:
        if server.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                server.host,
                server.port,
                timeout=self._timeout_s,
                context=_tls(self._options),
            )
        else:
            connection = http.client.HTTPConnection(
                server.host, server.port, timeout=self._timeout_s
            )
        connection.connect()
        # Kept, because the connection forgets it when the server is to end it.
        self._socket = connection.sock
        return connection

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "edgeclassifier", "Accept": "*/*", "Cache-Control": "no-cache"}
        for option, name in (("user_agent", "User-Agent"), ("referer", "Referer")):
            if option in self._options:
                headers[name] = self._options[option]
        for line in self._options.get("headers", "").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip()] = value.strip()
        return headers

    def _take_challenge(self, answer: http.client.HTTPResponse, url: str, asked: int) -> None:
        server, _ = self._split(url)
        offered = challenges(answer.headers.get_all("WWW-Authenticate", []))
        chosen = best(offered)
        if not self._is_home(server):
            raise CameraError(
                f"{self.name}: redirects to {redact(url)}, which wants a password: it is sent "
                "to the server of camera.stream.url only, so name the other one there"
            )
        if chosen is None and offered:
            names = ", ".join(sorted({each.shown for each in offered}))
            raise CameraError(
                f"{self.name}: wants a log-in of a kind that is not supported ({names}): choose "
                "Basic or Digest with MD5 or SHA-256 in the camera's settings"
            )
        if not self._credentials.given:
            raise CameraError(
                f"{self.name}: wants a user name and password (HTTP 401): set "
                "camera.stream.username and camera.stream.password_file"
            )
        # The first may renew what was asked for an earlier request.
        again = asked == 1 or (asked <= _MOST_CHALLENGES and chosen is not None and chosen.stale)
        if chosen is None or not again:
            raise CameraError(f"{self.name}: {_reason(401)}")
        self._credentials.answer(chosen)

    def _redirected(self, url: str, location: str) -> str:
        try:
            return urljoin(url, location)
        except ValueError:
            raise CameraError(f"{self.name}: redirects to what is no URL") from None

    def _is_home(self, server: _Server) -> bool:
        """Say whether the password may be sent there."""
        home = self._home
        upgraded = _Server("https", home.host, _PORTS["https"])
        return server == home or (home.port == _PORTS["http"] and server == upgraded)

    def _split(self, url: str) -> tuple[_Server, str]:
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme.lower(), parts.hostname
            if scheme not in _PORTS:
                raise CameraError(
                    f"{self.name}: redirects to {redact(url)}, which is neither http nor https"
                )
            port = parts.port or _PORTS[scheme]
        except ValueError:
            host = None
        if not host:
            raise CameraError(f"{self.name}: is no URL: http://HOST/PATH is expected")
        target = quote(parts.path or "/", safe=_PATH)
        if parts.query:
            target += "?" + quote(parts.query, safe=_PATH)
        return _Server(scheme, host, port), target


def _credentials(url: str) -> Credentials:
    user_info, at, _ = urlsplit(url).netloc.rpartition("@")
    username, _, password = user_info.partition(":")
    return Credentials(unquote(username), unquote(password), given=bool(at))


def _tls(options: Mapping[str, str]) -> ssl.SSLContext:
    """Trust any certificate, as FFmpeg does, unless `tls_verify` is set: cameras sign their own."""
    context = ssl.create_default_context(cafile=options.get("ca_file"))
    if options.get("tls_verify", "0") in {"", "0"}:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # Their keys are short, too.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def _reason(status: int) -> str:
    if status >= 500:  # noqa: PLR2004  # as everybody knows it
        return f"the server reports an error (HTTP 5xx, here {status})"
    return _REASONS.get(status, f"the server refuses (HTTP {status})")


def _explain(error: Exception, timeout_s: float) -> str:
    match error:
        case ConnectionRefusedError():
            return "connection refused: is the camera on and its port right?"
        case TimeoutError():
            return f"does not answer within {timeout_s:g} s"
        case socket.gaierror():
            return "its host name cannot be found: check it"
        case ssl.SSLError():
            return f"TLS fails ({error.reason or 'no reason given'}): check the URL's scheme"
        case http.client.InvalidURL():
            return "is no URL: http://HOST/PATH is expected"
        case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
            return "the server has ended the connection"
        case http.client.HTTPException():
            return "its answer is no HTTP"
        case OSError():
            return (error.strerror or "cannot be reached").lower()
    return type(error).__name__
