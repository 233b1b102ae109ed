"""Ends a thread's wait in poll() from another thread."""

import contextlib
import os
import select
import threading


class WakeUp:
    """Readable for poll() from ring() to clear(). One thread waits, any thread may ring."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = threading.Lock()

    def fileno(self) -> int:
        """Return what poll() takes; -1 after close()."""
        return self._fd

    def ring(self) -> None:
        """End the wait, or the next one. Never blocks; no effect after close()."""
        # Without the lock, the number could belong to another file by now.
        with self._closing:
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Forget every ring() so far."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def wait(self, timeout_s: float) -> None:
        """Wait for ring(), at most `timeout_s`, and clear()."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        poll.poll(1000 * timeout_s)
        self.clear()

    def close(self) -> None:
        """Release the file descriptor. May be called twice."""
        with self._closing:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1
