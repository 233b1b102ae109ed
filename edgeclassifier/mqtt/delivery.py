"""Messages from the outbox through one connection, and what the broker says about each."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeclassifier.buffer.parcel import Parcel
    from edgeclassifier.contract.messages import Message
    from edgeclassifier.mqtt.connection import Connection
    from edgeclassifier.mqtt.outbox import Outbox

logger = logging.getLogger(__name__)


class Delivery:
    """Moves messages; belongs to the thread of the connections."""

    def __init__(self, *, outbox: Outbox) -> None:
        self._outbox = outbox
        self._under_way: dict[int, Parcel] = {}
        self._complaints: set[tuple[str, str]] = set()

    def send_waiting(self, connection: Connection) -> None:
        """Send as much as the broker takes without a confirmation."""
        while (parcel := self._outbox.take(window=connection.window)) is not None:
            if connection.fits(parcel.message):
                self._under_way[connection.send(parcel.message)] = parcel
            else:
                self._outbox.reject(parcel)
                self._complain(parcel.message, "larger than the broker accepts")

    def send_everything(self, connection: Connection, *, until_s: float) -> None:
        """Send until nothing waits and everything is answered, or until the time has come."""
        while self._outbox.pending and (left_s := until_s - time.monotonic()) > 0:
            self.send_waiting(connection)
            connection.step(left_s)

    def finish(self, connection: Connection, *, until_s: float) -> bool:
        """Send what may still be sent after part(); return whether that was done in time."""
        while not self._outbox.settled and (left_s := until_s - time.monotonic()) > 0:
            self.send_waiting(connection)
            connection.step(left_s)
        return self._outbox.settled

    def note_answer(self, number: int, refusal: str | None) -> None:
        """Take the broker's answer to the delivery of this number: None is a confirmation."""
        parcel = self._under_way.pop(number)
        if refusal is None:
            self._outbox.confirm(parcel)
        else:
            self._outbox.reject(parcel)
            self._complain(parcel.message, f"refused by the broker: {refusal}")

    def end(self) -> None:
        """Take back what is under way: the connection has ended."""
        self._under_way.clear()
        given_up = self._outbox.go_offline()
        if given_up is not None:
            self._complain(given_up, "connections break while it is sent; is it too large?")

    def _complain(self, message: Message, reason: str) -> None:
        complaint = (message.topic, reason)
        level = logging.DEBUG if complaint in self._complaints else logging.WARNING
        self._complaints.add(complaint)
        size = len(message.payload)
        logger.log(level, "MQTT: dropped %s (%d bytes): %s", message.topic, size, reason)
