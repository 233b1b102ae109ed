"""Keeps the newest frame of a live source, and connects again when the connection is lost."""

import logging
import math
import threading
import time
from collections.abc import Callable

from edgeclassifier.cameras.backlog import Backlog
from edgeclassifier.cameras.source import Captured, Piece, Source
from edgeclassifier.errors import CameraError, CameraTimeout
from edgeclassifier.host import threads
from edgeclassifier.host.backoff import Backoff

_RECONNECT_MIN_S = 0.25
# After a connection that gave frames for so long, the pauses are short again: some cameras end a
# stream every few seconds.
_STEADY_S = 1.0
# If neither thread has run for so long the process was stopped, and what waits in buffers is old.
_STOPPED_S = 1.0
_TICK_S = 0.25
# After a frame that nobody had time for: a server that sends without measure must not take the
# processor from the decoder. No camera sends two hundred in a second.
_REST_S = 0.005

log = logging.getLogger(__name__)


class LiveReader:
    """Receives a live source in a thread of its own, so that FFmpeg may hang without harm.

    Frames are decoded in the thread that asks for them: the newest, and those before it that it
    needs. So what the decoder is too slow for is left out, and does not wait in the connection.
    """

    def __init__(self, *, name: str, connect: Callable[[], Source], reconnect_max_s: float) -> None:
        """Prepare to read what `connect` opens. `name` is for messages: no password in it."""
        self._name = name
        self._connect = connect
        self._backoff = Backoff(min_s=min(_RECONNECT_MIN_S, reconnect_max_s), max_s=reconnect_max_s)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._opened = threading.Event()
        self._wanted = threading.Event()
        self._open_error: CameraError | None = None
        self._decoding = threading.Lock()  # held to decode, and to close what is decoded from
        self._changed = threading.Condition()  # guards what follows
        self._source: Source | None = None
        self._backlog = Backlog()
        self._died = False
        self._lost_since_s: float | None = None
        self._asked_s = self._stopped_until_s = self._received_s = self._piece_s = 0.0
        self._unreadable_before = self._unreadable_at_last = 0

    @property
    def unreadable(self) -> int:
        """How many frames were damaged, or refer to such."""
        source = self._source
        return self._unreadable_before + (source.unreadable if source else 0)

    def start(self, timeout_s: float) -> None:
        """Connect for the first time. Raises CameraError if that fails or takes too long."""
        self._asked_s = time.monotonic()
        self._thread = threads.start(self._run, name="stream-reader", on_death=self._note_death)
        if not self._opened.wait(timeout_s):
            self._stopping.set()
            raise CameraError(f"{self._name}: does not answer within {timeout_s:g} s")
        if self._open_error is not None:
            raise self._open_error
        self.note_alive()

    def note_alive(self) -> None:
        """Say that the caller runs, to be called often: a gap means that the process did not."""
        with self._changed:
            now_s = time.monotonic()
            if now_s - self._asked_s > _STOPPED_S:
                self._stopped_until_s = now_s
                if now_s - self._backlog.newest_s > _STOPPED_S:
                    self._backlog.clear()
            self._asked_s = now_s

    def next(self, timeout_s: float) -> Captured:
        """Take the newest frame; each is given out once. Raises CameraTimeout and CameraError."""
        deadline_s = time.monotonic() + timeout_s
        self._wanted.set()
        newest: Captured | None = None
        first_s = math.inf
        while (taken := self._take(deadline_s, first_s, first=newest is None)) is not None:
            # What comes after the first of them, and a new key frame, is for the next call.
            first_s = min(first_s, time.monotonic())
            newest = self._decode(*taken) or newest
            if newest is None:
                first_s = math.inf
            if time.monotonic() >= deadline_s:
                break
        if newest is None:
            raise self._timeout(timeout_s)
        self._wanted.clear()
        self._unreadable_at_last = self.unreadable
        self._note_back()
        return newest

    def stop(self, timeout_s: float) -> None:
        """End the thread; leave it behind if FFmpeg does not return in time."""
        self._stopping.set()
        self._wanted.set()
        source = self._source
        if source is not None:
            source.abort()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("%s: does not end, left behind", self._name)

    # In the thread that asks for frames

    def _take(
        self, deadline_s: float, before_s: float, *, first: bool
    ) -> tuple[Source, Piece, bool] | None:
        while True:
            self.note_alive()
            with self._changed:
                left_s = max(0.0, deadline_s - time.monotonic()) if first else 0.0
                self._changed.wait_for(self._has_news, min(left_s, _TICK_S))
                taken = self._backlog.take(before_s, keys=first)
                if taken is not None:
                    self._changed.notify_all()
                if self._source is not None and taken is not None:
                    return self._source, *taken
                if self._died:
                    raise self._death()
            if left_s <= _TICK_S:
                return None

    def _has_news(self) -> bool:
        return bool(self._backlog) or self._died

    def _decode(self, source: Source, piece: Piece, after_gap: bool) -> Captured | None:
        with self._decoding:
            if source is not self._source:
                return None
            frames = source.decode(piece, after_gap=after_gap)
        return frames[-1] if frames else None

    def _timeout(self, timeout_s: float) -> CameraTimeout:
        source = self._source
        if source is not None and source.refusal is not None:
            return CameraTimeout(f"{self._name}: {source.refusal}")
        if self._lost_since_s is not None:
            return CameraTimeout(f"{self._name}: lost, no frame for {timeout_s:.1f} s")
        if broken := self.unreadable - self._unreadable_at_last:
            return CameraTimeout(f"{self._name}: no whole frame, {broken} came damaged")
        return CameraTimeout(f"{self._name}: no frame for {timeout_s:.1f} s")

    def _note_back(self) -> None:
        with self._changed:
            since_s, self._lost_since_s = self._lost_since_s, None
        if since_s is not None:
            log.info("%s: back after %.0f s", self._name, time.monotonic() - since_s)

    # In the thread that receives

    def _run(self) -> None:
        while not self._stopping.is_set():
            began_s = time.monotonic()
            reason = self._read_until_lost()
            if not self._opened.is_set():
                self._open_error = reason
                self._opened.set()
                return
            if self._stopping.is_set():
                return
            if reason is None:
                log.debug("%s: was stopped, connecting again", self._name)
                continue
            self._mark_lost(reason)
            if self._piece_s - began_s >= _STEADY_S:
                self._backoff.reset()
            self._stopping.wait(self._backoff.next_s())

    def _read_until_lost(self) -> CameraError | None:
        """Receive; return why it ended, None if what comes is old because the process stopped."""
        try:
            source = self._connect()
        except CameraError as error:
            return error
        with self._changed:
            self._source = source
            self._received_s = time.monotonic()
        try:
            self._opened.set()
            for piece in source.pieces(self._wait):
                if self._stopping.is_set():
                    break
                if self._was_stopped():
                    return None
                with self._changed:
                    self._piece_s = piece.arrived_s
                    too_fast = self._backlog.put(piece)
                    self._changed.notify_all()
                    if too_fast:
                        self._changed.wait_for(lambda: not self._backlog, _REST_S)
        except CameraError as error:
            return error
        finally:
            self._leave(source)
        return CameraError(f"{self._name}: the stream has ended")

    def _wait(self, pause_s: float) -> bool:
        """Wait for the pause to be over, and for a frame to be wanted; False if none will be."""
        self._stopping.wait(pause_s)
        self._wanted.wait()
        return not self._stopping.is_set()

    def _was_stopped(self) -> bool:
        with self._changed:
            now_s = time.monotonic()
            since_s, self._received_s = self._received_s, now_s
            caller_ran = now_s - self._asked_s <= _STOPPED_S and self._stopped_until_s <= since_s
            return now_s - since_s > _STOPPED_S and not caller_ran

    def _leave(self, source: Source) -> None:
        with self._decoding, self._changed:
            self._unreadable_before += source.unreadable
            self._source = None
            self._backlog = Backlog()
        source.close()

    def _mark_lost(self, reason: CameraError) -> None:
        with self._changed:
            if self._lost_since_s is not None:
                return
            self._lost_since_s = time.monotonic()
        log.warning("lost, connecting again: %s", reason)

    def _note_death(self, _error: BaseException) -> None:
        self._open_error = self._death()
        self._opened.set()
        with self._changed:
            self._died = True
            self._changed.notify()

    def _death(self) -> CameraError:
        # Without the fault's own words, which may name the URL with its password.
        return CameraError(f"{self._name}: its reader has ended unexpectedly")
