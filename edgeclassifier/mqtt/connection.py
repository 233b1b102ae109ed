"""One connection to the broker: opened once, used by one thread, then thrown away.

Importing paho takes a tenth of a second on a fast machine, so this module is imported late.
"""

from __future__ import annotations

import functools
import select
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, MQTT_LOG_ERR, PUBLISH, Client, ConnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgeclassifier.contract.messages import Message
from edgeclassifier.errors import BrokerError
from edgeclassifier.host.wakeup import WakeUp
from edgeclassifier.mqtt import reasons
from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.mqtt.client import (
    GARBAGE,
    LARGEST_INCOMING_BYTES,
    IncomingClient,
    UnwantedError,
    connect,
    make_client,
    publish_bytes,
)
from edgeclassifier.mqtt.ending import Ending, RefusedError
from edgeclassifier.mqtt.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.client import SocketLike

    from edgeclassifier.mqtt.listener import Listener

__all__ = ["Connection", "Refusal", "RefusedError"]

_WINDOW = 20
Refusal = tuple[int, str]
"""A reason code, and how it is called."""


class _Client(IncomingClient):
    """A client whose every read and write passes here."""

    write_error: OSError | None = None
    """Why nothing can be written any more. What the broker said before may still be read."""

    def _sock_recv(self, bufsize: int) -> bytes:
        packet = self._in_packet
        if packet["have_remaining"] and packet["remaining_length"] > LARGEST_INCOMING_BYTES:
            self.skip()
        return super()._sock_recv(bufsize)

    def _sock_send(self, buf: bytes | bytearray) -> int:
        if self.write_error is not None:
            raise BlockingIOError
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            # paho would close the socket, and with it go the broker's last words.
            self.write_error = error
            raise BlockingIOError from error


class Connection:
    """A connection that lasts until `step` raises BrokerError or `close` is called.

    Every method is called from the same thread. `on_delivered` is called, from within `step`,
    with the number that `send` returned and None, or the code and the name of the broker's refusal.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        will: Message | None,
        wake: WakeUp | None = None,
        on_delivered: Callable[[int, Refusal | None], None] | None = None,
        listener: Listener | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Take `timeout_s` for each of: connecting to one address, and the broker's answer."""
        self._broker, self._wake = broker, wake
        self._on_delivered, self._listener = on_delivered, listener
        self._timeout_s = timeout_s
        self.ending = Ending(broker)
        """Why there is no connection any more, once that is so."""
        self._answer_due_s = 0.0
        self.limit_bytes: int | None = None
        """The size of packets that the broker accepts; None if it did not say."""
        self._may_retain = True
        self.window = _WINDOW
        """How many unconfirmed messages the broker takes; paho knows of no such limit."""
        self._client = client = make_client(broker, will, timeout_s=timeout_s, kind=_Client)
        client.on_connect = self._handle_connect
        client.on_disconnect = self.ending.handle_disconnect
        client.on_publish = self._handle_publish
        client.on_log = self._handle_log
        # With this callback paho leaves writing to the loop in `step`.
        client.on_socket_register_write = _ignore
        if listener is not None:
            listener.attach(client)

    @property
    def accepted(self) -> bool:
        """Whether the broker has welcomed this client."""
        return self.ending.accepted

    def open(self, *, resume: bool = False) -> None:
        """Find, reach and greet the broker; its answer comes in `step`.

        With `resume`, the connection follows another one, whose will need not be sent. Blocks for
        the name service, and for up to ten seconds in each of the later stages.
        Raises BrokerError.
        """
        broker = self._broker
        try:
            connect(self._client, broker, resume=resume)
        except (OSError, ValueError) as error:
            text = reasons.of_connecting(error, timeout_s=self._timeout_s)
            raise BrokerError(f"{broker}: {text}") from error
        self._answer_due_s = time.monotonic() + self._timeout_s

    def fits(self, message: Message) -> bool:
        """Whether the broker accepts a packet of this size."""
        return (
            self.limit_bytes is None
            or publish_bytes(message, _publish_properties(message)) <= self.limit_bytes
        )

    def send(self, message: Message) -> int:
        """Queue a message for the next `step`; return the number of this delivery."""
        info = self._client.publish(
            message.topic,
            message.payload,
            qos=message.qos,
            retain=message.retain and self._may_retain,
            properties=_publish_properties(message) if self._broker.protocol == "5" else None,
        )
        if info.rc != MQTT_ERR_SUCCESS:
            raise BrokerError(f"{self._broker}: {reasons.CLOSED}")
        return info.mid

    def subscribe(self, topics: Sequence[str]) -> int | None:
        """Queue a request to hear these topics; return its number, which is no message's."""
        return self._listener.subscribe(self._client, topics) if self._listener else None

    def ping(self) -> None:
        """Queue a ping for the next `step`."""
        self._client._send_pingreq()

    @property
    def is_answered(self) -> bool:
        """Whether the last ping has been answered."""
        return self._client._ping_t == 0

    @property
    def is_sending(self) -> bool:
        """Whether there are messages that the network has not taken yet."""
        waiting = self._client._out_packet
        return any(packet["command"] & 0xF0 == PUBLISH for packet in waiting)

    def step(self, timeout_s: float) -> None:
        """Wait for the network or `wake` for at most `timeout_s`, then read and write.

        Raises BrokerError, or RefusedError, once there is no connection any more.
        """
        sock = self._client.socket()
        if sock is not None:
            try:
                self._exchange(sock, timeout_s)
            except GARBAGE:
                self.ending.note_garbage()
            except UnwantedError as error:
                self.ending.note(f"the broker sent {error}")
        ending = self.ending
        if not ending.accepted and time.monotonic() > self._answer_due_s:
            ending.note(reasons.NO_ANSWER.format(seconds=self._timeout_s))
        if self._client.socket() is None:
            ending.note(reasons.CLOSED)
        if ending.reason is not None:
            raise ending.error()

    def _exchange(self, sock: SocketLike, timeout_s: float) -> None:
        buffered = isinstance(sock, ssl.SSLSocket | WebSocket) and sock.pending() > 0
        broken = self._client.write_error is not None
        writing = self._client.want_write() and not broken
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if writing else 0))
        if self._wake is not None:
            poll.register(self._wake, select.POLLIN)
        ready = dict(poll.poll(0 if buffered or broken else timeout_s * 1000))
        if self._wake is not None and ready.get(self._wake.fileno()):
            self._wake.clear()
        # paho looks after errors itself and does nothing once its socket is closed.
        readable = buffered or ready.get(sock.fileno(), 0) & ~select.POLLOUT
        if readable:
            self._client.loop_read()
        elif broken:
            self.ending.note_error(str(self._client.write_error))
        if self._client.want_write() and not broken:
            self._client.loop_write()
        self._client.loop_misc()

    def close(self, *, politely: bool) -> None:
        """End the connection. Politely means that the broker does not send the will."""
        if politely:
            self._client.disconnect()
            self._client.loop_write()
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def _handle_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        limits: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.ending.note_refusal(reason)
            return
        self.ending.accepted = True
        self.window = min(_WINDOW, getattr(limits, "ReceiveMaximum", _WINDOW))
        self.limit_bytes = getattr(limits, "MaximumPacketSize", None)
        # Not every version of paho heeds it.
        self._client._keepalive = getattr(limits, "ServerKeepAlive", self._broker.keepalive_s)
        self._may_retain = getattr(limits, "RetainAvailable", 1) != 0

    def _handle_publish(
        self,
        _client: Client,
        _userdata: object,
        number: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._on_delivered is not None:
            refusal = (reason.value, str(reason).lower()) if reason.is_failure else None
            self._on_delivered(number, refusal)

    def _handle_log(self, _client: Client, _userdata: object, level: int, text: str) -> None:
        if level == MQTT_LOG_ERR and "socket" in text:
            self.ending.note_error(text)


def _ignore(*_args: object) -> None:
    return


def _publish_properties(message: Message) -> Properties:
    """Return the properties of MQTT 5 for a message. Not to be changed."""
    more = message.expiry_s, message.user_properties
    return _properties(message.content_type, message.correlation, *more)


class _Packed(Properties):
    """Properties that are packed once.

    paho looks for all the 27 that there are, by new names each time, for every message that is
    sent. Python remembers thousands of such names, and what they lie between cannot be freed.
    """

    packed: bytes
    text: str

    def __init__(self, **properties: Any) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # as paho has it
        for name, value in properties.items():
            setattr(self, name, list(value) if isinstance(value, tuple) else value)
        # Properties itself takes no other attributes.
        self.__dict__["packed"] = super().pack()  # type: ignore[no-untyped-call]
        self.__dict__["text"] = super().__str__()  # type: ignore[no-untyped-call]

    def pack(self) -> bytes:
        """Return the bytes that go into the packet."""
        return self.packed

    def __str__(self) -> str:
        return self.text


@functools.lru_cache(maxsize=8)
def _properties(*values: Any) -> Properties:
    names = ("ContentType", "CorrelationData", "MessageExpiryInterval", "UserProperty")
    given = zip(names, values, strict=True)
    return _Packed(**{name: value for name, value in given if value not in (None, 0, ())})
