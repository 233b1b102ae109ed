"""The MQTT session: keeps a connection up in the background, and never makes a publisher wait."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from edgeclassifier.contract.messages import Incoming, Message
from edgeclassifier.contract.status import MqttStatus
from edgeclassifier.errors import BrokerError, ConfigError
from edgeclassifier.host import threads
from edgeclassifier.host.priority import be_nice
from edgeclassifier.host.wakeup import WakeUp
from edgeclassifier.mqtt.broker import Access, Broker
from edgeclassifier.mqtt.delivery import Delivery
from edgeclassifier.mqtt.outbox import Outbox
from edgeclassifier.mqtt.retries import Retries
from edgeclassifier.mqtt.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeclassifier.buffer import Buffer
    from edgeclassifier.contract.status import BufferStatus
    from edgeclassifier.mqtt.connection import Connection

logger = logging.getLogger(__name__)

_FAREWELL_SHARE = 0.25
"""The part of the time to stop that is kept for the last message."""
_GRACE_S = 0.5
"""What stop() adds to its time limit for the thread to come to its end."""
_WRITE_S = 3.0
"""What stop() adds for a buffer on disk."""


class Session:
    """Delivers messages to one broker at a time, for as long as the process lives.

    Messages that are to be kept wait in the buffer; the newest of each other retained topic is
    published again on every connection. The counters may be read from any thread.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        buffer: Buffer,
        reconnect_min_s: float,
        reconnect_max_s: float,
        max_queued: int,
        will: Message | None,
        subscriptions: Sequence[str] = (),
        nice: int = 0,
        backlog_rate_hz: float = 0.0,
        confirm_s: float = 10.0,
        patience_s: float = 8.0,
        timeout_s: float = 10.0,
        step_s: float = 1.0,
        switch_s: float = 2.0,
    ) -> None:
        """Prepare a session; `nice` is the niceness of its thread.

        While connected, `max_queued` messages may wait that are neither retained nor kept.
        What is published on the topics of `subscriptions`, and is not retained, goes to those who
        listen().
        What waits for a connection leaves at `backlog_rate_hz` (0: no limit). The broker has
        `confirm_s` to confirm each message, and `patience_s` to take larger ones.
        `timeout_s` bounds each wait for a broker, `step_s` one for the network, `switch_s` a leave.
        """
        problems = broker.problems() + Retries.problems(reconnect_min_s, reconnect_max_s)
        if max_queued < 1:
            problems.append(f"MQTT: a queue of {max_queued} messages holds nothing")
        if problems:
            raise ConfigError(problems)
        self._access = Access(broker=broker, will=will, subscriptions=subscriptions)
        self._ears: list[Callable[[Incoming], None]] = []
        self._nice = nice
        self._timeout_s = timeout_s
        self._step_s = step_s
        self._switch_s = switch_s
        self._buffer = buffer
        self._outbox = Outbox(
            buffer=buffer,
            max_queued=max_queued,
            backlog_rate_hz=backlog_rate_hz,
            patience_s=patience_s,
        )
        self._delivery = Delivery(
            outbox=self._outbox, subscriptions=Subscriptions(subscriptions), confirm_s=confirm_s
        )
        self._retries = Retries(name=str(broker), min_s=reconnect_min_s, max_s=reconnect_max_s)
        self._connections = 0
        self._resumes = False
        """Whether this broker has accepted this client before."""
        self._lock = threading.Lock()
        self._next_access: Access | None = None
        self._stopping = False
        self._interrupted = threading.Event()
        """Set if the thread has something else to do."""
        self._last: Message | None = None
        self._stop_at_s = 0.0
        self._thread: threading.Thread | None = None
        self._wake_up = WakeUp()

    @property
    def connected(self) -> bool:
        """Whether a broker has accepted the session and the connection still stands."""
        return self._outbox.online

    @property
    def alive(self) -> bool:
        """Whether the session is at work, connected or trying."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def status(self) -> MqttStatus:
        """How the connection is, and what became of the messages."""
        drops = dict(self._outbox.drops)
        return MqttStatus(
            connected=self.connected,
            listening=self._delivery.subscriptions.listening,
            left_out=dict(self._delivery.problems),
            published=self._outbox.published,
            dropped=sum(drops.values()),
            drops=drops,
            reconnects=max(0, self._connections - 1),
            last_error=self._retries.last_error,
        )

    @property
    def acknowledged(self) -> int:
        """Deliveries confirmed by the broker, those that repeat a retained message included."""
        return self._outbox.acknowledged

    @property
    def pending(self) -> int:
        """Messages that wait or are not confirmed yet, those in the buffer included."""
        return self._outbox.pending

    @property
    def buffer(self) -> BufferStatus:
        """How the buffer is."""
        return self._buffer.status()

    def start(self) -> None:
        """Connect in the background, and stay connected. Returns at once, broker or not."""
        self._buffer.start(on_ready=self._wake_up.ring)
        self._thread = threads.start(self._run, name="mqtt")

    def listen(self, hear: Callable[[Incoming], None]) -> None:
        """Call `hear` with what comes in, in the session's thread. It must not wait or raise."""
        self._ears.append(hear)

    def publish(self, message: Message) -> bool:
        """Accept a message for delivery. Never blocks; False means that it is dropped.

        Messages to be kept and retained ones are always accepted, until the session is stopped.
        """
        accepted = self._outbox.add(message)
        if accepted:
            self._wake_up.ring()
        return accepted

    def switch(
        self,
        broker: Broker,
        *,
        will: Message | None,
        farewell: Message | None,
        subscriptions: Sequence[str] = (),
    ) -> None:
        """Go to another broker, or to the same one under another name; returns at once.

        On the connection that stands, `farewell` follows what is under way; if it is not confirmed
        within two seconds, the connection is cut, and the old broker sends the will. The birth is
        forgotten: what is published from now on, and what the buffer holds, goes to `broker`.
        Raises ConfigError.
        """
        if problems := broker.problems():
            raise ConfigError(problems)
        with self._lock:
            self._outbox.move(last=farewell)
            self._next_access = Access(broker=broker, will=will, subscriptions=subscriptions)
            self._interrupted.set()
        self._wake_up.ring()

    def stop(self, *, last: Message | None, timeout_s: float) -> None:
        """Deliver what waits, then `last`, and leave; the broker does not send the will.

        Returns after `timeout_s` and at most half a second more, or three more if the buffer's disk
        hangs. What is not delivered stays in a buffer on disk; if `last` is not confirmed, the
        connection is cut, and the broker sends the will.
        """
        with self._lock:
            self._last = last
            self._stop_at_s = time.monotonic() + timeout_s
            self._stopping = True
            self._interrupted.set()
        self._outbox.close()
        self._wake_up.ring()
        if self._thread is None:
            self._wake_up.close()
        else:
            self._thread.join(timeout_s + _GRACE_S)
        if self.alive:
            # A name service can take very long. The thread will find that it is to end.
            logger.debug("%s: left behind while connecting", self._access.broker)
        self._buffer.close(timeout_s=_WRITE_S)

    def _run(self) -> None:
        from edgeclassifier.mqtt.connection import Connection, RefusedError
        from edgeclassifier.mqtt.listener import Listener

        while not self._stopping:
            access = self._access
            connection = Connection(
                broker=access.broker,
                will=access.will,
                wake=self._wake_up,
                on_delivered=self._delivery.note_answer,
                listener=Listener(self._ears, on_answers=self._delivery.note_subscribed),
                timeout_s=self._timeout_s,
            )
            wait_s = 0.0
            try:
                self._attempt(connection)
            except BrokerError as error:
                wait_s = self._retries.wait_s(
                    error,
                    for_good=isinstance(error, RefusedError),
                    soon=connection.accepted and self._delivery.suspicious,
                    quiet=self._interrupted.is_set(),
                )
            finally:
                connection.close(politely=False)
            self._interrupted.wait(wait_s)
            self._follow_switch()
        self._wake_up.close()

    def _follow_switch(self) -> None:
        with self._lock:
            if self._next_access is None or self._stopping:
                return
            self._access, self._next_access = self._next_access, None
            self._interrupted.clear()
        self._delivery.move(Subscriptions(self._access.subscriptions))
        self._resumes = False
        self._retries.begin(str(self._access.broker))

    def _attempt(self, connection: Connection) -> None:
        connection.open(resume=self._resumes)
        while not connection.accepted:
            if self._interrupted.is_set():
                return
            connection.step(self._step_s)
        # Not before: until then the first message is waited for.
        be_nice(self._nice)
        self._connections += 1
        self._resumes = True
        self._delivery.begin(connection)
        self._retries.note_up()
        try:
            self._serve(connection)
            self._leave(connection)
        finally:
            self._delivery.end(connection.ending)

    def _serve(self, connection: Connection) -> None:
        steady_after_s = self._retries.steady_after_s
        steady_at_s: float | None = time.monotonic() + steady_after_s
        while not self._interrupted.is_set():
            self._delivery.send_waiting(connection)
            if steady_at_s is not None and time.monotonic() >= steady_at_s:
                steady_at_s = None
                self._retries.note_steady()
            connection.step(min(self._step_s, steady_after_s, self._delivery.due_in_s()))
            self._delivery.check(connection)

    def _leave(self, connection: Connection) -> None:
        with self._lock:
            switching, stopping = self._next_access is not None, self._stopping
        if switching:
            # Also if the switch came a moment before this connection stood.
            self._outbox.part(last=None)
            until_s = time.monotonic() + self._switch_s
        else:
            until_s = self._stop_at_s
            kept_back = 0 if self._last is None else _FAREWELL_SHARE
            share_s = kept_back * (until_s - time.monotonic())
            self._delivery.send_everything(connection, until_s=until_s - share_s)
            self._outbox.part(last=self._last)
        if stopping:
            until_s = min(until_s, self._stop_at_s)
        # Else the will has to say what the farewell could not.
        if self._delivery.finish(connection, until_s=until_s) or not self._outbox.has_farewell:
            connection.close(politely=True)
