"""Keeps a connection up: one after the other, in the session's thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeclassifier.errors import BrokerError
from edgeclassifier.host.priority import be_nice
from edgeclassifier.mqtt.subscriptions import Subscriptions
from edgeclassifier.mqtt.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeclassifier.contract.messages import Incoming
    from edgeclassifier.host.wakeup import WakeUp
    from edgeclassifier.mqtt.broker import Access, Protocol
    from edgeclassifier.mqtt.connection import Connection
    from edgeclassifier.mqtt.delivery import Delivery
    from edgeclassifier.mqtt.orders import Orders
    from edgeclassifier.mqtt.outbox import Outbox
    from edgeclassifier.mqtt.retries import Retries

_FAREWELL_SHARE = 0.25
"""The part of the time to stop that is kept for the last message."""


class Upkeep:
    """Connects, serves, and follows orders; `connections` may be read from any thread."""

    def __init__(
        self,
        access: Access,
        *,
        orders: Orders,
        outbox: Outbox,
        delivery: Delivery,
        retries: Retries,
        ears: Sequence[Callable[[Incoming], None]],
        wake_up: WakeUp,
        nice: int,
        timeout_s: float,
        step_s: float,
        switch_s: float,
    ) -> None:
        """Begin with `access`; the other arguments are those of the session."""
        self.connections = 0
        """How often a broker has accepted this client."""
        self.protocol: Protocol | None = None
        """What was spoken on the newest of these connections."""
        self._access, self._versions = access, Versions(access.broker)
        self._orders, self._outbox, self._delivery = orders, outbox, delivery
        self._retries, self._ears, self._wake_up = retries, ears, wake_up
        self._nice = nice
        self._timeout_s, self._step_s, self._switch_s = timeout_s, step_s, switch_s
        self._resumes = False
        """Whether this broker has accepted this client before."""

    def run(self) -> None:
        """Work until it is told to stop."""
        from edgeclassifier.mqtt.connection import Connection, RefusedError
        from edgeclassifier.mqtt.listener import Listener

        while not self._orders.stopping:
            broker = self._versions.broker
            connection = Connection(
                broker=broker,
                will=self._access.will,
                wake=self._wake_up,
                on_delivered=self._delivery.note_answer,
                listener=Listener(self._ears, on_answers=self._delivery.note_subscribed),
                timeout_s=self._timeout_s,
            )
            wait_s = 0.0
            try:
                self._attempt(connection, protocol=broker.protocol)
            except BrokerError as error:
                if not self._versions.note_failure(connection.ending):
                    wait_s = self._retries.wait_s(
                        error,
                        for_good=isinstance(error, RefusedError),
                        soon=connection.accepted and self._delivery.suspicious,
                        quiet=self._orders.given.is_set(),
                    )
            finally:
                connection.close(politely=False)
            self._orders.given.wait(wait_s)
            self._follow_switch()
        self._wake_up.close()

    def _follow_switch(self) -> None:
        access = self._orders.take()
        if access is None:
            return
        self._access, self._versions = access, Versions(access.broker)
        self._delivery.move(Subscriptions(self._access.subscriptions))
        self._resumes = False
        self._retries.begin(str(self._access.broker))

    def _attempt(self, connection: Connection, *, protocol: Protocol) -> None:
        connection.open(resume=self._resumes)
        while not connection.accepted:
            if self._orders.given.is_set():
                return
            connection.step(self._step_s)
        # Not before: until then the first message is waited for.
        be_nice(self._nice)
        self.connections += 1
        self.protocol = protocol
        self._versions.note_accepted()
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
        while not self._orders.given.is_set():
            self._delivery.send_waiting(connection)
            if steady_at_s is not None and time.monotonic() >= steady_at_s:
                steady_at_s = None
                self._retries.note_steady()
            connection.step(min(self._step_s, steady_after_s, self._delivery.due_in_s()))
            self._delivery.check(connection)

    def _leave(self, connection: Connection) -> None:
        orders = self._orders
        with orders.lock:
            switching, stopping = orders.switching, orders.stopping
        if switching:
            # Also if the switch came a moment before this connection stood.
            self._outbox.part(last=None)
            until_s = time.monotonic() + self._switch_s
        else:
            until_s = orders.stop_at_s
            kept_back = 0 if orders.last is None else _FAREWELL_SHARE
            share_s = kept_back * (until_s - time.monotonic())
            self._delivery.send_everything(connection, until_s=until_s - share_s)
            self._outbox.part(last=orders.last)
        if stopping:
            until_s = min(until_s, orders.stop_at_s)
        # Else the will has to say what the farewell could not.
        if self._delivery.finish(connection, until_s=until_s) or not self._outbox.has_farewell:
            connection.close(politely=True)
