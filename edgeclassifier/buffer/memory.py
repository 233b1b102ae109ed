"""A buffer that lasts as long as the process."""

import threading
from collections.abc import Callable

from edgeclassifier.buffer.parcel import Kept
from edgeclassifier.buffer.queue import Queue, memory_bytes
from edgeclassifier.contract.message import Message
from edgeclassifier.contract.status import BufferStatus


class MemoryBuffer:
    """Keeps messages in memory.

    A message that alone is larger than the limit is dropped; else the limit may be exceeded by
    one message, if everything older is under way.
    """

    def __init__(self, *, max_bytes: int) -> None:
        """Count against `max_bytes` topics, payloads, and an overhead for each message."""
        if max_bytes < 1:
            raise ValueError(f"a buffer of {max_bytes} bytes holds nothing")
        self._lock = threading.Lock()
        self._queue = Queue(max_bytes=max_bytes)

    def start(self, *, on_ready: Callable[[], None]) -> None:
        """Do nothing: what is in memory is always ready."""

    def add(self, message: Message) -> int:
        """Keep a message and return its number; the oldest give way."""
        with self._lock:
            return self._queue.add(message, size_bytes=memory_bytes(message))

    def take(self) -> Kept | None:
        """Return the oldest message that is not under way; it is under way then."""
        with self._lock:
            return self._queue.take()

    def passed(self, number: int) -> bool:
        """Whether neither this message nor an older one is still to be taken."""
        with self._lock:
            return self._queue.passed(number)

    def put_back(self) -> None:
        """Let everything under way be taken again, in order."""
        with self._lock:
            self._queue.put_back()

    def remove(self, kept: Kept) -> None:
        """Forget a message."""
        with self._lock:
            self._queue.remove(kept)

    def close(self, *, timeout_s: float) -> None:
        """Do nothing: what is in memory ends with the process."""

    def status(self) -> BufferStatus:
        """Return how many messages there are and were."""
        with self._lock:
            return BufferStatus(
                pending=len(self._queue),
                pending_bytes=self._queue.bytes,
                dropped=self._queue.dropped,
                storage="memory",
            )
