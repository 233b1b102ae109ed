"""Who may see the page: addresses, passwords, cross-site requests; and the headers of answers."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeclassifier.host.addresses import is_loopback
from edgeclassifier.host.rates import TokenBucket

OPEN_PATHS = frozenset(("/healthz", "/readyz"))
"""Need no password: the answer tells no more than whether the daemon works."""
_WRONG_S = 0.5
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="edgeclassifier", charset="UTF-8"'}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors "
)
_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_TRIES = 10
_TRIES_HZ = 0.1
_SLOW_S = 60.0
"""So long after a wrong password too many, the attempts from there take their turns."""
_TURN_S = 1.0
_TURNS = 24
"""At most so many attempts from one address wait; the server takes 48 connections."""
_ADDRESSES = 256
_KNOWN_BROWSERS = 256
_COOKIE = "edgeclassifier_known"
_COOKIE_DAYS = 30
_IPV6_NETWORK_BITS = 64
"""One home network has that many bits of addresses."""

log = logging.getLogger(__name__)


class Verdict(Enum):
    """The outcome of a password check."""

    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"
    TOO_MANY = "too many"


class Guard:
    """Refuses requests before anything else sees them, and sets headers on every answer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        password: str | None,
        loopback: bool,
        frame_ancestors: Sequence[str] = (),
    ) -> None:
        """`loopback`: whether only this machine can reach the page.

        `frame_ancestors` are the origins whose pages may show this one in a frame; "self" is the
        page's own.
        """
        self._app = app
        self._check = None if password is None else PasswordCheck(password)
        self._loopback = loopback
        framing = " ".join("'self'" if each == "self" else each for each in frame_ancestors)
        self._headers = {"Content-Security-Policy": _POLICY + (framing or "'none'"), **_HEADERS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        cookie: str | None = None

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if cookie is not None:
                    headers.append("Set-Cookie", cookie)
            await send(message)

        refusal = await self._refusal(scope)
        if refusal is None and self._check is not None and scope["path"] == "/":
            known = _known(Headers(scope=scope))
            cookie = None if self._check.knows(known) else _cookie(self._check.remember())
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may go by the other one, and take the rest for a request of its own.
            return _refuse(400, "Content-Length and Transfer-Encoding exclude each other")
        if self._loopback and not names_loopback(host):
            return _refuse(403, "ask for localhost: this page is for this machine only")
        if self._check is not None and scope["path"] not in OPEN_PATHS:
            client = scope["client"][0] if scope["client"] else ""
            verdict = await self._judge(self._check, headers, client)
            if verdict is not Verdict.RIGHT:
                return await _unauthorized(verdict)
        foreign = is_foreign(
            scope["method"],
            host=host,
            origin=headers.get("origin"),
            fetch_site=headers.get("sec-fetch-site"),
            fetch_mode=headers.get("sec-fetch-mode"),
        )
        return _refuse(403, "cross-site request refused") if foreign else None

    async def _judge(self, check: "PasswordCheck", headers: Headers, client: str) -> Verdict:
        authorization, known = headers.get("authorization"), _known(headers)
        if authorization is None:
            return Verdict.MISSING
        if not check.knows(known):
            wait_s = check.wait_s(client, now_s=time.monotonic())
            if wait_s is None:
                return Verdict.TOO_MANY
            await asyncio.sleep(wait_s)
        return check.look(authorization, client=client, now_s=time.monotonic(), known=known)


async def _unauthorized(verdict: Verdict) -> Response:
    if verdict is Verdict.TOO_MANY:
        return _refuse(429, "too many passwords at a time: try again", {"Retry-After": "5"})
    if verdict is Verdict.WRONG:
        await asyncio.sleep(_WRONG_S)
    return _refuse(401, "a password is needed; the user name does not matter", _CHALLENGE)


def _refuse(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    # The rest of the request is not read.
    return PlainTextResponse(f"{why}\n", status, headers={"Connection": "close", **(headers or {})})


def names_loopback(host_header: str) -> bool:
    """Tell whether a request names this machine in its header Host.

    Refuses DNS rebinding: a foreign name that resolves to this machine would make a foreign page
    same-origin.
    """
    try:
        name = urlsplit(f"//{host_header}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def is_foreign(
    method: str, *, host: str, origin: str | None, fetch_site: str | None, fetch_mode: str | None
) -> bool:
    """Tell whether a page of another site made the browser send this request.

    `fetch_site` and `fetch_mode` are the headers Sec-Fetch-*, `origin` is the header Origin.
    Programs that are no browsers send none of them. Following a link to the page is allowed.
    """
    reads = method in {"GET", "HEAD"}
    if fetch_site not in {None, "same-origin", "none"} and not (reads and fetch_mode == "navigate"):
        return True
    return origin is not None and _authority(origin) != host.lower()


def _authority(origin: str) -> str:
    try:
        return (urlsplit(origin).netloc or origin).lower()
    except ValueError:
        return origin.lower()


@dataclass(slots=True)
class _Tries:
    left: TokenBucket = field(default_factory=lambda: TokenBucket(rate_hz=_TRIES_HZ, burst=_TRIES))
    slow_until_s: float = float("-inf")
    next_turn_s: float = float("-inf")


class PasswordCheck:
    """Compares passwords, and slows down guessing without locking anybody out.

    After ten wrong passwords, the attempts from an address take turns, one a second, whether right
    or wrong: who shares it with a guesser waits, but comes in. A browser that has had the right
    password before is known by a cookie and waits for nothing, unless it sends a wrong one.
    """

    def __init__(self, password: str) -> None:
        self._digest = _digest(password.encode())
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait_s(self, client: str, *, now_s: float) -> float | None:
        """Return how long an attempt from the address `client` has to wait for its turn.

        None: too many are waiting there already.
        """
        tries = self._tries.get(_network(client))
        if tries is None or now_s >= tries.slow_until_s:
            return 0.0
        turn_s = max(now_s, tries.next_turn_s)
        if turn_s - now_s >= _TURNS * _TURN_S:
            return None
        tries.next_turn_s = turn_s + _TURN_S
        return turn_s - now_s

    def look(
        self, authorization: str, *, client: str, now_s: float, known: str | None = None
    ) -> Verdict:
        """Judge the header Authorization of an attempt whose turn it is.

        `known` is what remember() has given to the browser.
        """
        if hmac.compare_digest(_digest(_password(authorization)), self._digest):
            return Verdict.RIGHT
        if known is not None:
            self._known.pop(known, None)
        tries = self._remember(_network(client))
        if not tries.left.allows(now_s):
            if now_s >= tries.slow_until_s:
                log.warning("the page: many wrong passwords from %s: slowed down", client)
                tries.next_turn_s = now_s + _TURN_S
            tries.slow_until_s = now_s + _SLOW_S
        return Verdict.WRONG

    def knows(self, known: str | None) -> bool:
        """Tell whether remember() has given that to a browser."""
        if known is None or known not in self._known:
            return False
        self._known.move_to_end(known)
        return True

    def remember(self) -> str:
        """Return what a browser that sent the right password is known by from now on."""
        known = secrets.token_urlsafe(16)
        self._known[known] = None
        if len(self._known) > _KNOWN_BROWSERS:
            self._known.popitem(last=False)
        return known

    def _remember(self, address: str) -> _Tries:
        tries = self._tries.setdefault(address, _Tries())
        self._tries.move_to_end(address)
        if len(self._tries) > _ADDRESSES:
            self._tries.popitem(last=False)
        return tries


def _known(headers: Headers) -> str | None:
    cookies = (each.partition("=") for each in headers.get("cookie", "").split(";"))
    return next((value.strip() for name, _, value in cookies if name.strip() == _COOKIE), None)


def _cookie(known: str) -> str:
    age_s = _COOKIE_DAYS * 24 * 3600
    return f"{_COOKIE}={known}; Max-Age={age_s}; Path=/; HttpOnly; SameSite=Strict"


def _digest(password: bytes) -> bytes:
    # Of equal length whatever was sent, so that the comparison takes constant time.
    return hashlib.sha256(password).digest()


def _password(authorization: str) -> bytes:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        _, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b""
    return password


def _network(client: str) -> str:
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if address.version == 4 or address.ipv4_mapped is not None:  # noqa: PLR2004 - IPv4
        return str(address)
    network = ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False)
    return str(network.network_address)
