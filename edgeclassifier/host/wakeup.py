"""Ends a wait for the network from another thread."""

import contextlib
import socket


class WakeUp:
    """A bell that poll() can hear."""

    def __init__(self) -> None:
        self.listener, self._bell = socket.socketpair()
        self.listener.setblocking(False)
        self._bell.setblocking(False)

    def ring(self) -> None:
        """Make `listener` readable. Never blocks, and may be called after close()."""
        # A full pipe wakes as well, and a closed one has nobody left to wake.
        with contextlib.suppress(OSError):
            self._bell.send(b"\0")

    def close(self) -> None:
        """Give back what it holds."""
        self._bell.close()
        self.listener.close()
