"""The MQTT session: keeps a connection up in the background, and never makes a publisher wait."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Literal

from edgeclassifier.errors import BrokerError, ConfigError
from edgeclassifier.mqtt.backoff import Backoff
from edgeclassifier.mqtt.base import Broker, Message
from edgeclassifier.mqtt.linklog import LinkLog
from edgeclassifier.mqtt.outbox import Outbox, Parcel
from edgeclassifier.priority import be_nice

if TYPE_CHECKING:
    import ssl

    from edgeclassifier.mqtt.connection import Connection

__all__ = ["Message", "Session"]

logger = logging.getLogger(__name__)

_STEP_S = 1.0
_STEADY_WAITS = 10
"""A connection that lasted this many of the shortest waits is a good one."""
_GRACE_S = 0.5
"""What stop() adds to its time limit for the thread to come to its end."""


class Session:
    """Delivers messages to one broker, for as long as the process lives.

    The newest retained message of each topic is published again on every connection. The
    counters may be read from any thread.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        protocol: Literal["5", "3.1.1"],
        client_id: str,
        username: str | None,
        password: str | None,
        tls: ssl.SSLContext | None,
        keepalive_s: int,
        reconnect_min_s: float,
        reconnect_max_s: float,
        max_queued: int,
        will: Message | None,
        nice: int = 0,
    ) -> None:
        """Prepare a session; `nice` is the niceness of its thread."""
        self._broker = Broker(
            host=host,
            port=port,
            protocol=protocol,
            client_id=client_id,
            username=username,
            password=password,
            tls=tls,
            keepalive_s=keepalive_s,
        )
        problems = self._broker.problems()
        if not 0 < reconnect_min_s <= reconnect_max_s:
            problems.append(
                f"MQTT: reconnecting after {reconnect_min_s} to {reconnect_max_s} s is no range "
                "of positive times"
            )
        if max_queued < 1:
            problems.append(f"MQTT: a queue of {max_queued} messages holds nothing")
        if problems:
            raise ConfigError(problems)
        self._will = will
        self._nice = nice
        self._outbox = Outbox(max_queued=max_queued)
        self._backoff = Backoff(min_s=reconnect_min_s, max_s=reconnect_max_s)
        self._steady_after_s = _STEADY_WAITS * reconnect_min_s
        self._link = LinkLog(name=str(self._broker))
        self._connections = 0
        self._last_error: str | None = None
        self._under_way: dict[int, Parcel] = {}
        self._complaints: set[tuple[str, str]] = set()
        self._stopping = threading.Event()
        self._last: Message | None = None
        self._stop_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        # A byte in here ends the wait for the network.
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)

    @property
    def connected(self) -> bool:
        """Whether a broker has accepted the session and the connection still stands."""
        return self._outbox.online

    @property
    def alive(self) -> bool:
        """Whether the session is at work, connected or trying."""
        return self._thread.is_alive()

    @property
    def published(self) -> int:
        """Messages that publish() accepted."""
        return self._outbox.published

    @property
    def acknowledged(self) -> int:
        """Deliveries confirmed by the broker, those that repeat a retained message included."""
        return self._outbox.acknowledged

    @property
    def dropped(self) -> int:
        """Messages that publish() refused, that the broker refused, or that got lost."""
        return self._outbox.dropped

    @property
    def pending(self) -> int:
        """Messages that wait or are not confirmed yet."""
        return self._outbox.pending

    @property
    def reconnects(self) -> int:
        """How often the session came back after its first connection."""
        return max(0, self._connections - 1)

    @property
    def last_error(self) -> str | None:
        """Why the latest connection failed or ended; kept when the next one succeeds."""
        return self._last_error

    def start(self) -> None:
        """Connect in the background, and stay connected. Returns at once, broker or not."""
        self._thread.start()

    def publish(self, message: Message) -> bool:
        """Accept a message for delivery. Never blocks; False means that it is dropped.

        A retained message is always accepted, and delivered when there is a connection.
        """
        accepted = self._outbox.add(message)
        if accepted:
            self._wake()
        return accepted

    def stop(self, *, last: Message | None, timeout_s: float) -> None:
        """Deliver what is under way, then `last`, and leave; the broker does not send the will.

        Returns after `timeout_s` and at most half a second more, whatever the network does. If
        `last` is not confirmed by then, the connection is cut, and the broker sends the will.
        """
        self._last = last
        self._stop_at_s = time.monotonic() + timeout_s
        self._stopping.set()
        self._wake()
        if self._thread.ident is None:
            self._close_for_good()
            return
        self._thread.join(timeout_s + _GRACE_S)
        if self._thread.is_alive():
            # A name service can take longer than anybody wants to wait. The thread is a daemon
            # and will find that it is to end.
            logger.debug("%s: left behind while connecting", self._broker)

    def _wake(self) -> None:
        # A full pipe wakes as well, and a closed one belongs to a session that has ended.
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    def _run(self) -> None:
        from edgeclassifier.mqtt.connection import Connection, RefusedError

        while not self._stopping.is_set():
            connection = Connection(
                broker=self._broker,
                will=self._will,
                wake=self._wake_out,
                on_delivered=self._handle_delivered,
            )
            wait_s = 0.0
            try:
                self._attempt(connection)
            except BrokerError as error:
                self._last_error = str(error)
                if not self._stopping.is_set():
                    self._link.down(str(error))
                slow = isinstance(error, RefusedError)
                wait_s = self._backoff.slow_s() if slow else self._backoff.next_s()
            finally:
                connection.close(politely=False)
                self._under_way.clear()
            self._stopping.wait(wait_s)
        self._close_for_good()

    def _attempt(self, connection: Connection) -> None:
        connection.open()
        while not connection.accepted:
            if self._stopping.is_set():
                return
            connection.step(_STEP_S)
        # Not before: until then somebody waits for the first message.
        be_nice(self._nice)
        self._connections += 1
        self._outbox.go_online()
        self._link.up()
        try:
            self._serve(connection)
            self._leave(connection)
        finally:
            given_up = self._outbox.go_offline()
            if given_up is not None:
                self._complain(given_up, "connections break while it is sent; is it too large?")

    def _serve(self, connection: Connection) -> None:
        steady_at_s = time.monotonic() + self._steady_after_s
        while not self._stopping.is_set():
            self._send_waiting(connection)
            if time.monotonic() >= steady_at_s:
                self._backoff.reset()
                self._link.steady()
            connection.step(min(_STEP_S, self._steady_after_s))

    def _leave(self, connection: Connection) -> None:
        self._outbox.close(last=self._last)
        while self._outbox.pending and (left_s := self._stop_at_s - time.monotonic()) > 0:
            self._send_waiting(connection)
            connection.step(left_s)
        if self._last is None or not self._outbox.pending:
            connection.close(politely=True)

    def _send_waiting(self, connection: Connection) -> None:
        while (parcel := self._outbox.take(window=connection.window)) is not None:
            if connection.fits(parcel.message):
                self._under_way[connection.send(parcel.message)] = parcel
            else:
                self._outbox.reject(parcel)
                self._complain(parcel.message, "larger than the broker accepts")

    def _handle_delivered(self, number: int, refusal: str | None) -> None:
        parcel = self._under_way.pop(number)
        if refusal is None:
            self._outbox.confirm(parcel)
        else:
            self._outbox.reject(parcel)
            self._complain(parcel.message, f"refused by the broker: {refusal}")

    def _complain(self, message: Message, reason: str) -> None:
        complaint = (message.topic, reason)
        level = logging.DEBUG if complaint in self._complaints else logging.WARNING
        self._complaints.add(complaint)
        size = len(message.payload)
        logger.log(
            level, "%s: dropped %s (%d bytes): %s", self._broker, message.topic, size, reason
        )

    def _close_for_good(self) -> None:
        self._outbox.close(last=None)
        self._wake_in.close()
        self._wake_out.close()
