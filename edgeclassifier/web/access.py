"""Who may see the page: addresses, passwords, other people's pages."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from edgeclassifier.host.addresses import is_loopback
from edgeclassifier.host.rates import TokenBucket

_TRIES = 10
_TRIES_HZ = 0.1
_LOCKED_S = 30.0
_ADDRESSES = 256
_IPV6_NETWORK_BITS = 64
"""One house has that many bits of addresses to try from."""

log = logging.getLogger(__name__)


def names_loopback(host_header: str) -> bool:
    """Tell whether a request was made to an address of this machine.

    Any other name that leads here was made to: the page of somebody else would then count as ours.
    """
    try:
        name = urlsplit(f"//{host_header}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def is_foreign(
    method: str, *, host: str, origin: str | None, fetch_site: str | None, fetch_mode: str | None
) -> bool:
    """Tell whether a page of somebody else made the browser send this request.

    `fetch_site` and `fetch_mode` are what the browser says in Sec-Fetch-*, `origin` what it says
    in Origin. Programs that are no browsers send none of them. A link to the page is nobody's
    harm.
    """
    reads = method in {"GET", "HEAD"}
    if fetch_site not in {None, "same-origin", "none"} and not (reads and fetch_mode == "navigate"):
        return True
    return origin is not None and (urlsplit(origin).netloc or origin).lower() != host.lower()


class Verdict(Enum):
    """What came of a password."""

    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"
    TOO_MANY = "too many"


@dataclass(slots=True)
class _Tries:
    left: TokenBucket = field(default_factory=lambda: TokenBucket(rate_hz=_TRIES_HZ, burst=_TRIES))
    locked_until_s: float = float("-inf")


class PasswordCheck:
    """Compares passwords, and slows down whoever guesses."""

    def __init__(self, password: str) -> None:
        self._digest = _digest(password.encode())
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def look(self, authorization: str | None, *, client: str, now_s: float) -> Verdict:
        """Judge the header Authorization of a request from the address `client`.

        After too many wrong passwords nothing from there is looked at for a while, and be it
        right.
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
    # Of one length whatever was sent, so that the comparison takes one time.
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
