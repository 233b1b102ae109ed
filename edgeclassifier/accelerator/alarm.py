"""Wakes a thread that waits in poll()."""

import contextlib
import os
import select


class Alarm:
    """Rings once for all that happened since it was cleared. One thread waits, any may ring."""

    def __init__(self) -> None:
        """Be quiet."""
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def ring(self) -> None:
        """Wake who waits, now or later; nobody does after close()."""
        if self.fd >= 0:
            os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Be quiet again."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def wait(self, timeout_s: float) -> None:
        """Wait until it rings, or for `timeout_s`."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.poll(1000 * timeout_s)

    def close(self) -> None:
        """Give the file descriptor back. Once more does no harm."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
