"""Connections that cannot be held open for nothing."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 48
"""A browser opens up to six for each page."""
_REQUEST_S = 15.0
_STALLED_S = 20.0


class Connection(H11Protocol):
    """Ends where no request comes, or where nobody reads what is sent, and when there are many."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(  # type: ignore[override]  # as in the base class
        self, transport: asyncio.Transport
    ) -> None:
        """Begin, unless there are too many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            self._refused = True
            transport.abort()
            return
        super().connection_made(transport)
        self._set_timer(_REQUEST_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._clear_timer()
        if not self._refused:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read. Half a request has to become a whole one soon."""
        if self._refused:
            return
        super().data_received(data)
        if self._timer is None and self._waits_for_request:
            self._set_timer(_REQUEST_S)

    def pause_writing(self) -> None:
        """Wait for the other side to read, but not for ever."""
        super().pause_writing()
        self._set_timer(_STALLED_S)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._clear_timer()

    def abort(self) -> None:
        """End now, whatever is not sent yet."""
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
