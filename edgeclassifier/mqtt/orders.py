"""What a session's thread is told to do instead of serving: go to another broker, or stop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeclassifier.contract.messages import Message
    from edgeclassifier.mqtt.broker import Access


class Orders:
    """Given by any thread, followed by one. A stop outweighs a switch."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held by those who prepare something that belongs to an order."""
        self.given = threading.Event()
        """Set while there is something to do."""
        self.stopping = False
        self.last: Message | None = None
        """What is to be said before the stop."""
        self.stop_at_s = 0.0
        self._next: Access | None = None

    @property
    def switching(self) -> bool:
        """Whether another broker is to be used."""
        with self.lock:
            return self._next is not None

    def switch(self, access: Access) -> None:
        """Go to another broker, or to the same one under another name."""
        with self.lock:
            self._next = access
            self.given.set()

    def stop(self, *, last: Message | None, at_s: float) -> None:
        """Come to an end by this moment of the monotonic clock."""
        with self.lock:
            self.last, self.stop_at_s = last, at_s
            self.stopping = True
            self.given.set()

    def take(self) -> Access | None:
        """Return where to go now; None if that is nowhere else."""
        with self.lock:
            if self._next is None or self.stopping:
                return None
            access, self._next = self._next, None
            self.given.clear()
            return access
