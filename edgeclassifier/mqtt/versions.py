"""Which version of MQTT a broker is spoken to in."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeclassifier.mqtt import reasons

if TYPE_CHECKING:
    from edgeclassifier.mqtt.broker import Broker
    from edgeclassifier.mqtt.ending import Ending

logger = logging.getLogger(__name__)

_UNSUPPORTED = 132


class Versions:
    """Tries 3.1.1 if that is allowed and the broker does not take 5.

    What worked is kept until a connection fails before it is accepted: the broker may have been
    replaced by a newer one.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._older = self._has_said = False

    @property
    def broker(self) -> Broker:
        """The broker, with the version to speak now."""
        return replace(self._broker, protocol="3.1.1") if self._older else self._broker

    def note_accepted(self) -> None:
        """Note that the broker has accepted a connection."""
        if self._older and not self._has_said:
            logger.warning(
                "%s: does not take MQTT 5: going on with 3.1.1, which has no response topics",
                self._broker,
            )
            self._has_said = True

    def note_failure(self, ending: Ending) -> bool:
        """Take how a connection ended; return whether the other version is to be tried at once."""
        if ending.accepted or not self._broker.older_too:
            return False
        # Some brokers close the connection without a word.
        self._older = not self._older and (
            ending.code == _UNSUPPORTED or ending.reason in {reasons.CLOSED_EARLY, reasons.NOT_MQTT}
        )
        return self._older
