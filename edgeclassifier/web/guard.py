"""What every request has to pass, and what every answer says of itself."""

import asyncio
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeclassifier.web.access import PasswordCheck, Verdict, is_foreign, names_loopback

OPEN_PATHS = frozenset(("/healthz", "/readyz"))
"""What those ask that have no password: they learn no more than whether the daemon works."""
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


class Guard:
    """Refuses what is not for us, before anything looks at it."""

    def __init__(self, app: ASGIApp, *, password: str | None, loopback: bool) -> None:
        """Take whether only this machine can reach us."""
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
            return _refuse(403, "ask for localhost: this page is for this machine alone")
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
        return _refuse(403, "this was asked by the page of somebody else") if foreign else None


async def _unauthorized(verdict: Verdict) -> Response:
    if verdict is Verdict.TOO_MANY:
        return _refuse(
            429, "too many wrong passwords: try again in a minute", {"Retry-After": "60"}
        )
    if verdict is Verdict.WRONG:
        await asyncio.sleep(_WRONG_S)
    return _refuse(401, "a password is needed; the user name does not matter", _CHALLENGE)


def _refuse(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    # Whatever else was sent is not read.
    return PlainTextResponse(f"{why}\n", status, headers={"Connection": "close", **(headers or {})})
