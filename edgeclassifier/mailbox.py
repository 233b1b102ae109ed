"""Hands items from one thread to another, one at a time."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - an event, not an error
    """The other side is gone and nothing is left to take."""


class Mailbox(Generic[T]):
    """Holds at most one item: the newest, or the oldest that was not taken yet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.replaced = 0
        """How many items nobody took before a newer one came."""

    @property
    def closed(self) -> bool:
        """Whether nothing will be put, or taken, any more."""
        return self._closed

    def put(self, item: T) -> None:
        """Leave an item, in the place of one that nobody took."""
        with self._changed:
            if self._item is not None:
                self.replaced += 1
            self._item = item
            self._changed.notify_all()

    def put_next(self, item: T) -> bool:
        """Leave an item once the one before was taken; False where the mailbox was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is None or self._closed)
            if self._closed:
                return False
            self._item = item
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> T | None:
        """Take the item, waiting up to `timeout_s` for it; None where none came.

        Raises Closed when no item is left and none will come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            self._changed.notify_all()
        if item is None and self._closed:
            raise Closed
        return item

    def close(self) -> None:
        """Say that no more will be put, or none will be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
