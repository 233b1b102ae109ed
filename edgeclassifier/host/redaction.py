"""What of a camera's URL may be shown."""

import re

HIDDEN = "***"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[\w.-]+)(?P<port>:\d{1,5})?")
_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]+\]|\d{1,3}(?:\.\d{1,3}){3}")
_END_OF_AUTHORITY = re.compile(r"[/?#]")
# A URL that lacks its "://" would be taken for a file name.
_USER_INFO = re.compile(r":.*@")
_SECRET_WORD = re.compile(r"(?i)(?:user|usr|login|pass|pwd|token|key|auth|secret)[^=/]*=")


def redact(url: str) -> str:
    """Return scheme, host and port of a URL, and `***` for the rest: any of it may be a secret.

    Makers put user name, password or a token before the host, in the path, behind `?`, `;` or
    `#`. Local files and devices are returned as they are.
    """
    before, separator, rest = url.partition("://")
    if not separator:
        return HIDDEN if _USER_INFO.search(url) or _SECRET_WORD.search(url) else url
    scheme = before.rpartition(":")[2]
    if not _SCHEME.fullmatch(scheme):
        return HIDDEN
    if scheme.lower() == "file":
        return url
    return f"{scheme}://{_host_and_rest(rest)}"


def _host_and_rest(text: str) -> str:
    end = _END_OF_AUTHORITY.search(text)
    authority = text[: end.start()] if end else text
    rest = text[len(authority) :]
    host = _HOST.fullmatch(authority.rpartition("@")[2])
    if host is None:
        return HIDDEN
    if "@" in rest and ("@" in authority or not _ADDRESS.fullmatch(host["host"])):
        # Perhaps a password with a "/" in it, and the host comes later.
        return HIDDEN
    return host[0] + ("" if rest in {"", "/"} else f"/{HIDDEN}")
