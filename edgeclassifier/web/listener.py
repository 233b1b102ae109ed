"""The socket that the page is served on, and what can be in the way of it."""

import errno
import socket

from edgeclassifier.errors import ConfigError
from edgeclassifier.host.addresses import is_address

BACKLOG = 32
_SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel keeps for somebody who reads slowly."""
_UNREACHABLE_S = 30
_LOCALHOST = "localhost"


class NotYetError(Exception):
    """Address or port cannot be had now; that may pass by itself. One line for the user."""


def asks_nobody(host: str) -> bool:
    """Tell whether listen() takes no time, as there is no name to look up."""
    return host == _LOCALHOST or is_address(host)


def listen(host: str, port: int) -> socket.socket:
    """Listen on one address.

    Raises NotYetError where that may work later: at boot there is a time without addresses and
    names. Raises ConfigError where it never will.
    """
    try:
        # One address alone, also for a name that has two.
        family, kind, protocol, _, address = socket.getaddrinfo(
            "127.0.0.1" if host == _LOCALHOST else host, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Those that are accepted inherit these.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREACHABLE_S * 1000)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EACCES:
            raise ConfigError(
                [f"web.port {port} is for root alone: choose one from 1024 on"]
            ) from None
        raise NotYetError(_why(error, host, port)) from None
    return listener


def _why(error: OSError, host: str, port: int) -> str:
    reason = (error.strerror or str(error)).lower()
    if isinstance(error, socket.gaierror):
        return f'web.host "{host}" is not found: {reason}: see `getent hosts {host}`'
    if error.errno == errno.EADDRINUSE:
        return (
            f"web.port {port} is taken by another program (sudo ss -ltnp 'sport = :{port}' names "
            "it): stop that one, or choose another port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f'web.host "{host}" is no address of this machine: see `ip address`'
    return f'web.host "{host}", port {port}: {reason}'
