"""uvicorn's server and connections, bounded in time and in number.

Overrides insides that uvicorn does not document: pyproject.toml caps its version.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

BACKLOG = 32
_TICK_S = 1.0
_GRACE_S = 0.3
_MAX_HEADER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many connections there may be, and how long one may do nothing."""

    connections: int = 48
    """A browser opens up to six for each page."""
    request_s: float = 15.0
    """For a whole request to arrive."""
    stalled_s: float = 20.0
    """While the other side does not read what is sent."""


class Connection(H11Protocol):
    """One connection within the limits; aborted when it exceeds them."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(  # type: ignore[override]  # as in the base class
        self, transport: asyncio.Transport
    ) -> None:
        """Begin, unless there are too many."""
        if len(self.connections) >= self._limits.connections:
            self._refused = True
            transport.abort()
            return
        super().connection_made(transport)
        self._set_timer(self._limits.request_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._clear_timer()
        if not self._refused:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; a request that has begun must be complete in time."""
        if self._refused:
            return
        super().data_received(data)
        if self._timer is None and self._waits_for_request:
            self._set_timer(self._limits.request_s)

    def pause_writing(self) -> None:
        """Wait for the other side to read, within the limit."""
        super().pause_writing()
        self._set_timer(self._limits.stalled_s)

    def resume_writing(self) -> None:
        """Continue."""
        super().resume_writing()
        self._clear_timer()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, also in the middle of a request that is being answered."""
        if not self._waits_for_request:
            # Its answer would come after this one, which is a fault.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.abort()

    def abort(self) -> None:
        """End now; what is not sent yet is lost."""
        self.transport.abort()

    @property
    def _waits_for_request(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _set_timer(self, after_s: float) -> None:
        self._clear_timer()
        self._timer = self.loop.call_later(after_s, self._time_is_up)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self._waits_for_request or self.flow.write_paused:
            self.abort()


class Server(uvicorn.Server):
    """Wakes once a second, not ten times, and ends although viewers are connected.

    Belongs to the running event loop.
    """

    def __init__(self, app: Starlette, *, limits: Limits, on_end: Callable[[], None]) -> None:
        """Call `on_end` first when it ends, so that endless answers end, too."""
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(Connection, limits=limits),  # type: ignore[arg-type]  # called only
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
        )
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """End soon. May be called from any thread."""
        self.should_exit = True
        # The loop may have ended at this very moment.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake.set)

    def abort_all(self) -> None:
        """Abort the connections that are still open."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.abort()

    async def main_loop(self) -> None:
        """Wait for stop()."""
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self._wake.wait(), _TICK_S)
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the answers, then the connections."""
        self._on_end()
        self._loop.call_later(_GRACE_S, self.abort_all)
        await super().shutdown(sockets)
