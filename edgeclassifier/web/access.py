"""Who may see the page: addresses, passwords, cross-site requests; and the headers of answers."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
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
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_TRIES = 10
_TRIES_HZ = 0.1
_LOCKED_S = 30.0
_ADDRESSES = 256
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

    def __init__(self, app: ASGIApp, *, password: str | None, loopback: bool) -> None:
        """`loopback`: whether only this machine can reach the page."""
        self._app = app
        self._check = None if password is None else PasswordCheck(password)
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = await self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._loopback and not names_loopback(host):
            return _refuse(403, "ask for localhost: this page is for this machine only")
        if self._check is not None and scope["path"] not in OPEN_PATHS:
            client = scope["client"][0] if scope["client"] else ""
            authorization = headers.get("authorization")
            verdict = self._check.look(authorization, client=client, now_s=time.monotonic())
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


async def _unauthorized(verdict: Verdict) -> Response:
    if verdict is Verdict.TOO_MANY:
        return _refuse(
            429, "too many wrong passwords: try again in a minute", {"Retry-After": "60"}
        )
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
    return origin is not None and (urlsplit(origin).netloc or origin).lower() != host.lower()


@dataclass(slots=True)
class _Tries:
    left: TokenBucket = field(default_factory=lambda: TokenBucket(rate_hz=_TRIES_HZ, burst=_TRIES))
    locked_until_s: float = float("-inf")


class PasswordCheck:
    """Compares passwords, and slows down guessing."""

    def __init__(self, password: str) -> None:
        self._digest = _digest(password.encode())
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def look(self, authorization: str | None, *, client: str, now_s: float) -> Verdict:
        """Judge the header Authorization of a request from the address `client`.

        After too many wrong passwords every one from there is refused for a while, even the right
        one.
        """
        if authorization is None:
            return Verdict.MISSING
        address = _network(client)
        tries = self._tries.get(address)
        if tries is not None and now_s < tries.locked_until_s:
            return Verdict.TOO_MANY
        if hmac.compare_digest(_digest(_password(authorization)), self._digest):
            return Verdict.RIGHT
        tries = self._remember(address)
        if tries.left.allows(now_s):
            return Verdict.WRONG
        if tries.locked_until_s == float("-inf"):
            log.warning("the page: too many wrong passwords from %s", client)
        tries.locked_until_s = now_s + _LOCKED_S
        return Verdict.TOO_MANY

    def _remember(self, address: str) -> _Tries:
        tries = self._tries.setdefault(address, _Tries())
        self._tries.move_to_end(address)
        if len(self._tries) > _ADDRESSES:
            self._tries.popitem(last=False)
        return tries


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
