"""Addresses and host names that a server may listen on."""

import ipaddress
import re

_NAME = re.compile(rb"(?:[\w-]+\.)*(?!\d+\.?$)[\w-]+\.?")
"""A name does not end in a number: that would be a mistyped address."""


def is_address(host: str) -> bool:
    """Tell whether a host is an IPv4 or IPv6 address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own, without asking any server."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def page_host_problem(host: str, *, has_password: bool) -> str | None:
    """Say what is wrong with serving the page on `host`, and what to do; None if all is well."""
    if not host:
        return 'web.host is empty: say "127.0.0.1", or "0.0.0.0" for every address'
    if not is_address(host) and not _is_name(host):
        return (
            f'web.host "{host}" is neither an address nor a host name: say "127.0.0.1", or '
            '"0.0.0.0" for every address'
        )
    if has_password or is_loopback(host):
        return None
    return (
        f'web.host "{host}" can be reached from other machines: name a file with a password in '
        'web.password_file, or set web.host = "127.0.0.1"'
    )


def _is_name(host: str) -> bool:
    try:
        return _NAME.fullmatch(host.encode("idna")) is not None
    except UnicodeError:
        return False
