"""Hands items from one thread to another, one at a time."""

import queue
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - an event, not an error
    """The other side is gone and nothing is left to take."""


class _End:
    """What stands in the queue behind the last item."""


_END: Final = _End()


class Mailbox(Generic[T]):
    """Holds at most one item: the newest, or the oldest that was not taken yet.

    One thread puts, another takes. The interpreter waits while a thread is here, so it is made of
    queues written in C: with a condition variable the threads wake each other four times an item.
    """

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[tuple[T, bool] | _End] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._room.put(None)
        self._closed = False
        self.replaced = 0
        """How many items nobody took before a newer one came."""

    @property
    def closed(self) -> bool:
        """Whether nothing will be put, or taken, any more."""
        return self._closed

    def put(self, item: T) -> None:
        """Leave an item, in the place of one that nobody took."""
        try:
            older = self._items.get_nowait()
        except queue.Empty:
            pass
        else:
            if isinstance(older, _End):
                self._items.put(older)
                return
            self.replaced += 1
        self._items.put((item, False))

    def put_next(self, item: T) -> bool:
        """Leave an item once the one before was taken; False if the mailbox was closed."""
        self._room.get()
        if self._closed:
            self._room.put(None)
            return False
        self._items.put((item, True))
        return True

    def take(self, timeout_s: float) -> T | None:
        """Take the item, waiting up to `timeout_s` for it; None where none came.

        Raises Closed when no item is left and none will come.
        """
        try:
            found = self._items.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(found, _End):
            self._items.put(found)
            raise Closed
        item, waits_for_room = found
        if waits_for_room:
            self._room.put(None)
        return item

    def close(self) -> None:
        """Say that no more will be put, or none will be taken."""
        if not self._closed:
            self._closed = True
            self._items.put(_END)
            self._room.put(None)
