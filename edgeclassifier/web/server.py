"""The HTTP server, in a thread of its own."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Sequence

import uvicorn
from starlette.routing import Route

from edgeclassifier.errors import ConfigError
from edgeclassifier.host.addresses import is_loopback, page_host_problem
from edgeclassifier.host.backoff import Backoff
from edgeclassifier.web.app import Site
from edgeclassifier.web.connection import Connection
from edgeclassifier.web.device import Device
from edgeclassifier.web.listener import BACKLOG, NotYetError, asks_nobody, listen
from edgeclassifier.web.live import Live
from edgeclassifier.web.workers import give_way

_TICK_S = 1.0
_GRACE_S = 0.3
_JOIN_S = 1.5
_MAX_HEADER_BYTES = 16 * 1024
_PAUSE_MIN_S = 1.0
_PAUSE_MAX_S = 60.0

log = logging.getLogger(__name__)


class WebServer:
    """Serves the page until stop()."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        password: str | None,
        live: Live,
        device: Device,
        routes: Sequence[Route] = (),
    ) -> None:
        """Take `port` 0 for any that is free, and further `routes`.

        All routes need the password, where there is one, but for guard.OPEN_PATHS. Raises
        ConfigError where `host` is neither an address nor a name, or can be reached from elsewhere
        and there is no password.
        """
        if (wrong := page_host_problem(host, has_password=password is not None)) is not None:
            raise ConfigError([wrong])
        self._host = host
        self._port = port
        self._password = password
        self._live = live
        self._device = device
        self._routes = routes
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port; once it is listened on, if it was to be any."""
        return self._port

    def start(self) -> None:
        """Serve from now on, or as soon as address and port can be had. Waits for nothing.

        Raises ConfigError where they never will be.
        """
        if asks_nobody(self._host):
            # The thread tries again, and says so.
            with contextlib.suppress(NotYetError):
                self._listen()
        self._thread.start()

    def stop(self) -> None:
        """End within a second or so, whoever looks and whatever they wait for."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def _serve(self) -> None:
        give_way()
        backoff = Backoff(min_s=_PAUSE_MIN_S, max_s=_PAUSE_MAX_S)
        told: set[str] = set()
        while self._socket is None:
            try:
                self._listen()
            except (NotYetError, ConfigError) as error:
                if (why := str(error)) not in told:
                    told.add(why)
                    log.warning("the page is not served: %s: trying again", why)
                if self._stopping.wait(backoff.next_s()):
                    return
        asyncio.run(self._run())

    def _listen(self) -> None:
        self._socket = listen(self._host, self._port)
        self._port = self._socket.getsockname()[1]
        name = f"[{self._host}]" if ":" in self._host else self._host
        log.info("the page is on http://%s:%s", name, self._port)

    async def _run(self) -> None:
        assert self._socket is not None  # noqa: S101 - _serve() waited for it
        loop = asyncio.get_running_loop()
        self._live.attach(loop)
        site = Site(live=self._live, device=self._device)
        app = site.app(password=self._password, loopback=is_loopback(self._host), more=self._routes)
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config, site, loop)
        if self._stopping.is_set():
            self._server.stop()
        try:
            await self._server.serve([self._socket])
        finally:
            self._live.attach(None)
            site.close()


class _Server(uvicorn.Server):
    """Wakes once a second, not ten times, and ends although somebody is connected."""

    def __init__(self, config: uvicorn.Config, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config)
        self._site = site
        self._loop = loop
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """End soon. May be called from any thread."""
        self.should_exit = True
        # The loop may have ended at this very moment.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake.set)

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self._wake.wait(), _TICK_S)
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._site.close()
        self._loop.call_later(_GRACE_S, self._abort_all)
        await super().shutdown(sockets)

    def _abort_all(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.abort()
