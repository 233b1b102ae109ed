"""Hands items from one thread to another, one at a time."""

import queue
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - an event, not an error
    """The other side is gone and nothing is left to take."""


class Turns(Generic[T]):
    """Where one thread takes from several mailboxes: from the one that has waited longest.

    A mailbox whose item was taken goes behind all others that wait, so none starves.
    """

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Mailbox[T] | None] = queue.SimpleQueue()
        """Each mailbox once for each item in it; None is the end."""
        self._mailboxes: set[Mailbox[T]] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing will be put, or taken, any more."""
        return self._closed

    def mailbox(self) -> "Mailbox[T]":
        """Add a mailbox."""
        added = Mailbox(self)
        self._mailboxes.add(added)
        return added

    def remove(self, mailbox: "Mailbox[T]") -> None:
        """Forget a mailbox, into which nothing is put any more; what is in it can be taken."""
        self._mailboxes.discard(mailbox)

    def take(self, timeout_s: float) -> T | None:
        """Take an item, waiting up to `timeout_s` for one; None where none came.

        Raises Closed when no item is left and none will come.
        """
        try:
            mailbox = self.waiting.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if mailbox is None:
            self.waiting.put(None)
            raise Closed
        return mailbox.collect()

    def close(self) -> None:
        """Say that no more will be put, or none will be taken."""
        if not self._closed:
            self._closed = True
            self.waiting.put(None)
            for mailbox in tuple(self._mailboxes):
                mailbox.make_room()


class Mailbox(Generic[T]):
    """Holds at most one item: the newest, or the oldest that was not taken yet.

    One thread puts, another takes. The interpreter waits while a thread is here, so it is made of
    queues written in C: with a condition variable the threads wake each other four times an item.
    """

    def __init__(self, turns: Turns[T]) -> None:
        """Turns.mailbox() makes them."""
        self._turns = turns
        self._items: queue.SimpleQueue[tuple[T, bool]] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._room.put(None)
        self.replaced = 0
        """How many items nobody took before a newer one came."""

    def put(self, item: T) -> None:
        """Leave an item, in the place of one that nobody took."""
        try:
            _older, waits_for_room = self._items.get_nowait()
        except queue.Empty:
            self._items.put((item, False))
            self._turns.waiting.put(self)
            return
        # Its turn stays: whoever takes it waits for this item.
        self._items.put((item, False))
        self.replaced += 1
        if waits_for_room:
            self._room.put(None)

    def put_next(self, item: T) -> bool:
        """Leave an item once the one before was taken; False if there are no more turns."""
        self._room.get()
        if self._turns.closed:
            self._room.put(None)
            return False
        self._items.put((item, True))
        self._turns.waiting.put(self)
        return True

    def collect(self) -> T:
        """Take the item whose turn it is."""
        item, waits_for_room = self._items.get()
        if waits_for_room:
            self._room.put(None)
        return item

    def make_room(self) -> None:
        """Let put_next() go on."""
        self._room.put(None)
