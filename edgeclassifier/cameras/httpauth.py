"""HTTP authentication of cameras: Basic, and Digest with MD5, SHA-256 or SHA-512-256."""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
# The best first; a password is sent in the clear only if there is no other way.
_PREFERENCE = ("SHA-512-256", "SHA-256", "MD5")
_PARAMETER = re.compile(r'\s*([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)\s*,?')
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][\w-]*)(?=[\s,]|$)(?!\s*=)")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a server asks for in one WWW-Authenticate header."""

    scheme: str
    """In lower case: "basic", "digest" or what this program does not know."""
    parameters: Mapping[str, str]

    @property
    def algorithm(self) -> str:
        """The hash of a digest, in capitals, without "-SESS"."""
        return self._stated_algorithm.removesuffix("-SESS")

    @property
    def stale(self) -> bool:
        """Whether the password was right and only the nonce too old."""
        return self.parameters.get("stale", "").lower() == "true"

    @property
    def shown(self) -> str:
        """What to call it in a message, without what a server may put into a terminal."""
        name = self.scheme.capitalize()
        if self.scheme == "digest":
            name += f" with {self._stated_algorithm}"
        return "".join(each for each in name if each.isprintable())[:40]

    @property
    def known(self) -> bool:
        """Whether it can be answered."""
        if self.scheme == "basic":
            return True
        known_hash = _ALGORITHMS.get(self.algorithm) in hashlib.algorithms_available
        asks = {each.strip().lower() for each in self.parameters.get("qop", "auth").split(",")}
        return self.scheme == "digest" and known_hash and bool(asks & {"auth", "auth-int"})

    @property
    def _stated_algorithm(self) -> str:
        return self.parameters.get("algorithm", "MD5").upper()


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """Read WWW-Authenticate headers, each of which may hold several challenges."""
    return [challenge for header in headers for challenge in _parse(header)]


def best(offered: Sequence[Challenge]) -> Challenge | None:
    """Choose the strongest that can be answered; None if there is none."""

    def rank(challenge: Challenge) -> int:
        if challenge.scheme == "basic":
            return len(_PREFERENCE)
        return _PREFERENCE.index(challenge.algorithm)

    return min((each for each in offered if each.known), key=rank, default=None)


class Credentials:
    """A user name and password, and how the server last asked for them."""

    def __init__(self, username: str, password: str, *, given: bool) -> None:
        self.given = given
        self._username = username
        self._password = password
        self._challenge: Challenge | None = None
        self._uses = 0

    @property
    def unknown_to_ffmpeg(self) -> str | None:
        """What was asked for, if FFmpeg could not answer it."""
        asked = self._challenge
        if asked is None or asked.scheme == "basic" or asked.algorithm == "MD5":
            return None
        return asked.shown

    def answer(self, challenge: Challenge) -> None:
        """Answer this challenge from now on."""
        self._challenge = challenge
        self._uses = 0

    def header(self, method: str, uri: str) -> bytes | None:
        """Return the Authorization header of a request; None as long as nothing was asked."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return b"Basic " + base64.b64encode(f"{self._username}:{self._password}".encode())
        self._uses += 1
        return self._digest(self._challenge, method, uri).encode()

    def _digest(self, challenge: Challenge, method: str, uri: str) -> str:
        asked = challenge.parameters
        digest = _hash(challenge.algorithm)
        realm, nonce = asked.get("realm", ""), asked.get("nonce", "")
        count, client_nonce = f"{self._uses:08x}", secrets.token_hex(8)
        secret = digest(f"{self._username}:{realm}:{self._password}")
        stated = asked.get("algorithm", "")
        in_session = stated.upper().endswith("-SESS")
        if in_session:
            secret = digest(f"{secret}:{nonce}:{client_nonce}")
        request = f"{method}:{uri}"
        qops = {each.strip().lower() for each in asked.get("qop", "").split(",")}
        qop = "auth" if "auth" in qops else "auth-int" if "auth-int" in qops else ""
        if qop == "auth-int":
            request += ":" + digest("")
        middle = f"{nonce}:{count}:{client_nonce}:{qop}" if qop else nonce
        fields = {
            "username": _quoted(self._username),
            "realm": _quoted(realm),
            "nonce": _quoted(nonce),
            "uri": _quoted(uri),
            "response": _quoted(digest(f"{secret}:{middle}:{digest(request)}")),
        }
        if stated:
            fields["algorithm"] = stated
        if "opaque" in asked:
            fields["opaque"] = _quoted(asked["opaque"])
        if qop:
            fields |= {"qop": qop, "nc": count}
        if qop or in_session:
            fields["cnonce"] = _quoted(client_nonce)
        return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())


def _parse(header: str) -> Iterator[Challenge]:
    scheme: str | None = None
    parameters: dict[str, str] = {}
    at = 0
    while at < len(header):
        if scheme is not None and (found := _PARAMETER.match(header, at)):
            parameters[found[1].lower()] = _unquoted(found[2])
        elif found := _SCHEME.match(header, at):
            if scheme is not None:
                yield Challenge(scheme=scheme, parameters=parameters)
            scheme, parameters = found[1].lower(), {}
        at = found.end() if found else at + 1
    if scheme is not None:
        yield Challenge(scheme=scheme, parameters=parameters)


def _hash(algorithm: str) -> Callable[[str], str]:
    name = _ALGORITHMS[algorithm]
    return lambda text: hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(r"\1", text[1:-1]) if text.startswith('"') else text


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
