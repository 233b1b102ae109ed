"""The page's server: its thread, and the socket that it listens on."""

import asyncio
import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Sequence

from starlette.routing import Route

from edgeclassifier.errors import ConfigError
from edgeclassifier.host import threads
from edgeclassifier.host.addresses import is_address, is_loopback, page_host_problem
from edgeclassifier.host.backoff import Backoff
from edgeclassifier.host.threads import OnDeath
from edgeclassifier.web.app import Site
from edgeclassifier.web.connections import BACKLOG, Limits, Server
from edgeclassifier.web.device import Device, give_way
from edgeclassifier.web.live import Live

_JOIN_S = 1.5
_SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel keeps for a viewer who reads slowly."""
_UNREACHABLE_S = 30
_LOCALHOST = "localhost"

log = logging.getLogger(__name__)


class WebServer:
    """Serves the page until stop(). To serve again, make another one."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        password: str | None,
        live: Live,
        device: Device,
        frame_ancestors: Sequence[str] = (),
        routes: Sequence[Route] = (),
        limits: Limits | None = None,
        retry_min_s: float = 1.0,
        retry_max_s: float = 60.0,
        on_death: OnDeath | None = None,
    ) -> None:
        """Take `port` 0 for any that is free, and further `routes`.

        With a password all routes need it but access.OPEN_PATHS. `frame_ancestors` are the origins
        whose pages may show this one in a frame. `retry_min_s` to `retry_max_s`
        pass between two attempts to listen. Raises ConfigError if `host` is neither an address nor
        a name, or can be reached from elsewhere and there is no password.
        """
        if (wrong := page_host_problem(host, has_password=password is not None)) is not None:
            raise ConfigError([wrong])
        self._host = host
        self._port = port
        self._password = password
        self._live = live
        self._device = device
        self._frame_ancestors = frame_ancestors
        self._routes = routes
        self._limits = limits or Limits()
        self._backoff = Backoff(min_s=retry_min_s, max_s=retry_max_s)
        self._on_death = on_death
        self._stopping = threading.Event()
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port; if it was to be any, once it is listened on."""
        return self._port

    def start(self) -> None:
        """Serve from now on, or as soon as address and port are available. Waits for nothing.

        Raises ConfigError if they never will be.
        """
        # A name would have to be looked up, which takes time: the thread does that.
        if self._host == _LOCALHOST or is_address(self._host):
            # The thread tries again, and says so.
            with contextlib.suppress(_NotYetError):
                self._listen()
        self._thread = threads.start(self._serve, name="web", on_death=self._on_death)

    def stop(self) -> None:
        """End within a second or so, whatever the viewers wait for."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _serve(self) -> None:
        give_way()
        try:
            self._wait_for_socket()
            if self._socket is not None:
                asyncio.run(self._run(self._socket))
        finally:
            # So that the port is free for the next server, however this one ends.
            if self._socket is not None:
                self._socket.close()

    def _wait_for_socket(self) -> None:
        told: set[str] = set()
        while self._socket is None:
            try:
                self._listen()
            except (_NotYetError, ConfigError) as error:
                if (why := str(error)) not in told:
                    told.add(why)
                    log.warning("the page is not served: %s: trying again", why)
                if self._stopping.wait(self._backoff.next_s()):
                    return

    def _listen(self) -> None:
        self._socket = _listen(self._host, self._port)
        self._port = self._socket.getsockname()[1]
        name = f"[{self._host}]" if ":" in self._host else self._host
        log.info("the page is on http://%s:%s", name, self._port)

    async def _run(self, listener: socket.socket) -> None:
        self._live.attach(asyncio.get_running_loop())
        site = Site(live=self._live, device=self._device)
        app = site.app(
            password=self._password,
            loopback=is_loopback(self._host),
            frame_ancestors=self._frame_ancestors,
            more=self._routes,
        )
        self._server = server = Server(app, limits=self._limits, on_end=site.close)
        if self._stopping.is_set():
            server.stop()
        try:
            await server.serve([listener])
        finally:
            self._live.attach(None)
            site.close()
            server.abort_all()


class _NotYetError(Exception):
    """Address or port is not available now, which may pass by itself. One line for the user."""


def _listen(host: str, port: int) -> socket.socket:
    """Listen on one address.

    Raises _NotYetError if that may work later: at boot there is a time without addresses and
    names. Raises ConfigError if it never will.
    """
    try:
        # One address only, even if a name has two.
        family, kind, protocol, _, address = socket.getaddrinfo(
            "127.0.0.1" if host == _LOCALHOST else host, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted connections inherit these.
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
                [f"web.port {port} is for root only: choose one from 1024 on"]
            ) from None
        raise _NotYetError(_why(error, host, port)) from None
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
