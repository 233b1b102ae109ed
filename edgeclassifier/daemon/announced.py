"""What the broker retains of this device, so that nothing stays there under an earlier name."""

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from edgeclassifier.contract.messages import Message
from edgeclassifier.host import threads
from edgeclassifier.host.durable import read_json, reason, write_text

RECORD = "announced.json"
"""What the file is called."""
_WILL = "/availability"
_DISCOVERY = "/config"
_LISTENERS_GO_S = 2.0
"""Home Assistant stops listening to the topics of an entity once it has heard that it is gone."""
_MOST = 256
_LARGEST_BYTES = 256 * 1024

log = logging.getLogger(__name__)


class Announced:
    """Keeps a record of topics in the state directory, and clears those that are no longer used.

    A topic is on record before anything is published on it, and until the broker has confirmed
    that it is empty, whenever the process ends in between.
    """

    def __init__(self, directory: Path | None, *, publish: Callable[[Message], bool]) -> None:
        """Without a directory, or if it cannot be written, nothing outlives a restart."""
        self._directory = directory
        self._publish = publish
        self._lock = threading.Lock()
        self._record = dict.fromkeys(read_announced(directory))
        self._used: set[str] = set()
        self._cleared: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics on record."""
        with self._lock:
            return tuple(self._record)

    def remember(self, topics: Collection[str]) -> None:
        """Put topics on record, and clear them no more; waits for the disk if one is new."""
        with self._lock:
            self._used.update(topics)
            if self._record.keys() >= {*topics}:
                return
            self._record |= dict.fromkeys(topics)
            for oldest in [*self._record][:-_MOST]:
                del self._record[oldest]
            self._write()

    def publish(self, message: Message) -> bool:
        """Publish on a topic, which is put on record before."""
        self.remember([message.topic])
        return self._publish(message)

    def use(self, topics: Collection[str], *, will_after_s: float) -> None:
        """Publish on these from now on, and clear all others that are on record.

        For `will_after_s` the broker may yet publish the last will of a connection that it has not
        given up, so the topic of that is cleared again.
        """
        with self._lock:
            self._used = set(topics)
            left = [topic for topic in self._record if topic not in topics]
            self._cleared.put(None)
            self._cleared = queue.SimpleQueue()
        if left:
            wills = {topic for topic in left if topic.endswith(_WILL)}
            args = (self._cleared, left, wills, will_after_s)
            threads.start(self._clear, args=args, name="announced")

    def note_cleared(self, topic: str) -> None:
        """Note that the broker retains nothing on a topic. Does not wait."""
        self._cleared.put(topic)

    def stop(self) -> None:
        """Leave the rest for the next start."""
        self._cleared.put(None)

    def _clear(
        self,
        cleared: "queue.SimpleQueue[str | None]",
        left: Collection[str],
        wills: set[str],
        will_after_s: float,
    ) -> None:
        log.info("clearing what the broker retains of earlier names: %s", ", ".join(left))
        for topic in left:
            if topic.endswith(_DISCOVERY):
                self._publish(emptied(topic))
        waiting = set(left)
        if self._ends_within(_LISTENERS_GO_S, cleared, waiting):
            return
        for topic in left:
            if not topic.endswith(_DISCOVERY):
                self._publish(emptied(topic))
        again_at_s = time.monotonic() + will_after_s
        while waiting:
            try:
                left_s = max(0.0, again_at_s - time.monotonic()) if wills else None
                done = cleared.get(timeout=left_s)
            except queue.Empty:
                for will in wills - self._used:
                    self._publish(emptied(will))
                wills = set()
                continue
            if done is None:
                return
            if done in waiting - wills:
                waiting.remove(done)
                self._forget(done)

    def _ends_within(
        self, pause_s: float, cleared: "queue.SimpleQueue[str | None]", waiting: set[str]
    ) -> bool:
        """Wait, and take what is cleared meanwhile from `waiting`; say whether all this is over."""
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                done = cleared.get(timeout=left_s)
            except queue.Empty:
                break
            if done is None:
                return True
            waiting.discard(done)
            self._forget(done)
        return False

    def _forget(self, topic: str) -> None:
        with self._lock:
            if topic not in self._used and topic in self._record:
                del self._record[topic]
                self._write()

    def _write(self) -> None:
        if self._directory is None:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_text(self._directory / RECORD, json.dumps([*self._record], indent=1) + "\n")
        except OSError as error:
            log.warning("what is retained will not be cleared after a change: %s", reason(error))


def emptied(topic: str) -> Message:
    """Take away what the broker retains.

    It goes the way of all that is kept, so that it comes after what may still be in the buffer.
    """
    return Message(topic=topic, payload=b"", retain=True, keep=True)


def read_announced(directory: Path | None) -> tuple[str, ...]:
    """Return the topics on record; none if there is no record, or if it is damaged."""
    if directory is None:
        return ()
    path = directory / RECORD
    try:
        listed = read_json(path, largest_bytes=_LARGEST_BYTES)
        topics = [emptied(topic).topic for topic in listed]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is damaged"
        log.warning("%s is ignored: %s; what is retained of earlier names stays", path, why)
        return ()
    return tuple(topics[-_MOST:])


def forget_announced(directory: Path | None) -> None:
    """Remove the record: nothing is retained any more. Raises OSError."""
    if directory is not None:
        (directory / RECORD).unlink(missing_ok=True)
