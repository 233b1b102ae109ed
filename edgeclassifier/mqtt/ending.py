"""How a connection ended: why, in words, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeclassifier.errors import BrokerError
from edgeclassifier.mqtt import codes, reasons

if TYPE_CHECKING:
    from paho.mqtt.client import Client, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from edgeclassifier.mqtt.broker import Broker
    from edgeclassifier.mqtt.codes import Then


class RefusedError(BrokerError):
    """The broker refused, and will until a person changes something."""


class Ending:
    """The first reason that there was; None while the connection stands."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.reason: str | None = None
        self.then: Then | None = None
        """What follows from how the broker ended it; None if it did not."""
        self.code: int | None = None
        """The reason code of the broker's refusal."""
        self.accepted = False
        """Whether the broker had welcomed this client."""
        self._for_good = False

    def note(self, reason: str, *, then: Then | None = None) -> None:
        """Note why there is no connection any more."""
        if self.reason is None:
            self.reason, self.then = reason, then

    def error(self) -> BrokerError:
        """Return the exception for it."""
        kind = RefusedError if self._for_good else BrokerError
        broker = self._broker
        one_version = broker.protocol == "5" and not broker.older_too
        hint = reasons.OLDER if one_version and self.reason == reasons.CLOSED_EARLY else ""
        return kind(f"{broker}: {self.reason}{hint}")

    def note_refusal(self, reason: ReasonCode) -> None:
        """Note that the broker does not accept this client."""
        self._for_good = codes.of_connecting(reason.value) == "retry slowly"
        self.code = reason.value
        client_id = self._broker.client_id
        self.note(reasons.of_refusal(reason.value, str(reason), client_id=client_id))

    def note_garbage(self) -> None:
        """Note that the broker sent what is not MQTT; some do for a message they cannot take."""
        self.note(reasons.NOT_MQTT, then="suspect")

    def note_error(self, text: str) -> None:
        """Note what paho, or the system, says of an error of the socket."""
        reason = reasons.of_network_text(text, accepted=self.accepted)
        # A broker that closes a connection with something unread resets it.
        self.note(reason, then="suspect" if reason == reasons.CLOSED else None)

    def handle_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        """Take paho's word for it."""
        if flags.is_disconnect_packet_from_server:
            name = str(reason)
            text = reasons.of_farewell(reason.value, name, client_id=self._broker.client_id)
            self.note(text, then=codes.of_leaving(reason.value))
        elif reason == "Keep alive timeout":
            self.note(reasons.SILENT)
        elif reason == "Protocol error":
            self.note_garbage()
        else:
            self.note(reasons.CLOSED if self.accepted else reasons.CLOSED_EARLY, then="suspect")
