"""The MQTT session: keeps a connection up in the background, and never makes a publisher wait."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from edgeclassifier.contract.messages import Incoming, Message
from edgeclassifier.contract.status import MqttStatus
from edgeclassifier.errors import ConfigError
from edgeclassifier.host import threads
from edgeclassifier.host.wakeup import WakeUp
from edgeclassifier.mqtt.broker import Access, Broker
from edgeclassifier.mqtt.delivery import Delivery
from edgeclassifier.mqtt.orders import Orders
from edgeclassifier.mqtt.outbox import Outbox
from edgeclassifier.mqtt.retries import Retries
from edgeclassifier.mqtt.subscriptions import Subscriptions
from edgeclassifier.mqtt.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeclassifier.buffer import Buffer
    from edgeclassifier.contract.status import BufferStatus

logger = logging.getLogger(__name__)

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
        self._name = str(broker)
        self._ears: list[Callable[[Incoming], None]] = []
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
        self._orders = Orders()
        self._wake_up = WakeUp()
        self._upkeep = Upkeep(
            Access(broker=broker, will=will, subscriptions=subscriptions),
            orders=self._orders,
            outbox=self._outbox,
            delivery=self._delivery,
            retries=self._retries,
            ears=self._ears,
            wake_up=self._wake_up,
            nice=nice,
            timeout_s=timeout_s,
            step_s=step_s,
            switch_s=switch_s,
        )
        self._thread: threading.Thread | None = None

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
            protocol=self._upkeep.protocol,
            reconnects=max(0, self._upkeep.connections - 1),
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
        self._thread = threads.start(self._upkeep.run, name="mqtt")

    def listen(self, hear: Callable[[Incoming], None]) -> None:
        """Call `hear` with what comes in, in the session's thread. It must not wait or raise."""
        self._ears.append(hear)

    def on_cleared(self, call: Callable[[str], None]) -> None:
        """Call with each topic that an empty retained message has cleared, as listen() does."""
        self._delivery.on_cleared.append(call)

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
        with self._orders.lock:
            self._outbox.move(last=farewell)
            self._orders.switch(Access(broker=broker, will=will, subscriptions=subscriptions))
        self._wake_up.ring()

    def stop(self, *, last: Message | None, timeout_s: float) -> None:
        """Deliver what waits, then `last`, and leave; the broker does not send the will.

        Returns after `timeout_s` and at most half a second more, or three more if the buffer's disk
        hangs. What is not delivered stays in a buffer on disk; if `last` is not confirmed, the
        connection is cut, and the broker sends the will.
        """
        self._orders.stop(last=last, at_s=time.monotonic() + timeout_s)
        self._outbox.close()
        self._wake_up.ring()
        if self._thread is None:
            self._wake_up.close()
        else:
            self._thread.join(timeout_s + _GRACE_S)
        if self.alive:
            # A name service can take very long. The thread will find that it is to end.
            logger.debug("%s: left behind while connecting", self._name)
        self._buffer.close(timeout_s=_WRITE_S)
