"""Hostile clients of a real broker: whoever may publish to a device's requests."""

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from support.brokers import Mosquitto
from support.brokers import Subscriber as Listener
from support.scripted_broker import prefixed, text, varint

from attack.report import Figures
from attack.victim import BASE, PATIENCE_S, Victim, base_settings, running
from attack.witness import Messages, Subscriber

_REQUEST = f"{BASE}/request"
_RESPONSE_TOPIC, _CORRELATION, _USER_PROPERTY = b"\x08", b"\x09", b"\x26\0\0\0\0"
_COMMANDS = ("health", "classify", "resume", "snapshot", "set_threshold", "set_model", "nosuch")
_PAYLOADS = (
    *(b"{}", b"", b"[]", b"null", b"\xff\xfe\0", b"[" * 8000, b'{"a":' * 3000, b"0" * 16000),
    *(b'{"threshold": NaN}', b'{"threshold": 1e999}', b'{"threshold": ' + b"9" * 5000 + b"}"),
    *(b'{"transaction": "\\ud800"}', b'{"transaction": [1]}', b'{"model": "../../etc/passwd"}'),
    *(b'{"model": "\\u0000"}', b'{"threshold": 0.3, "threshold": 9}', b"\xef\xbb\xbf{}"),
)
_POISON = ("a/" * 250 + "x", "$SYS/a", "x" * 65535, "a//b", "/", "#", "+/a", f"{BASE}/response/+")
_ELSEWHERE = (
    *("homeassistant/status", "homeassistant/device/x/config", "zigbee2mqtt/lock/set"),
    *("attacked/other/request/restart", f"{BASE}/availability", f"{_REQUEST}/restart"),
    *(f"{BASE}/cam0/predictions", f"{BASE}/response/../availability", "$share/g/x"),
)


class Client:
    """Sends packets as they are, which no well-behaved library would."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._socket.sendall(_packet(0x10, text("MQTT") + b"\5\2\0\0\0" + text("")))
        self._socket.recv(100)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send it; a broker that has had enough closes the connection."""
        with contextlib.suppress(OSError):
            self._socket.sendall(data)


def request(command: str, payload: bytes = b"{}", properties: bytes = b"") -> bytes:
    """Return the packet of a request with QoS 0."""
    return _packet(0x30, text(f"{_REQUEST}/{command}") + prefixed(properties) + payload)


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + varint(len(body)) + body


def attack(folder: Path, *, short: bool) -> Iterator[Figures]:
    """Let clients of a mosquitto do what they like."""
    messages = Messages(BASE)
    with Mosquitto(folder) as broker, contextlib.ExitStack() as stack:
        stack.callback(Subscriber(broker.port, BASE, messages).close)
        settings = base_settings(folder, broker.port)
        victim = stack.enter_context(running(folder, settings, messages, short=short))
        for act in (_poison, _elsewhere, _properties, _oversized, _flood):
            act(victim, broker.port)
            yield victim.figures[-1]


def _poison(victim: Victim, port: int) -> None:
    with victim.attacked("client: response topics that brokers refuse") as found:
        for topic in _POISON:
            with Client(port) as client:
                client.send(request("health", properties=_RESPONSE_TOPIC + text(topic)))
                time.sleep(victim.duration_s / len(_POISON))
            found.inputs += 1


def _elsewhere(victim: Victim, port: int) -> None:
    with (
        victim.attacked("client: answers wanted on others' topics") as found,
        Listener(port) as listener,
    ):
        for topic in _ELSEWHERE:
            with Client(port) as client:
                client.send(request("health", properties=_RESPONSE_TOPIC + text(topic)))
                time.sleep(victim.duration_s / len(_ELSEWHERE))
            found.inputs += 1
        written = [
            each.topic
            for each in listener.messages
            if b'"status"' in each.payload and not each.topic.startswith(f"{BASE}/response/")
        ]
        found.remarks += [f"wrote to {topic[:60]}" for topic in written]


def _properties(victim: Victim, port: int) -> None:
    with victim.attacked("client: bombs of user properties") as found, Client(port) as client:
        for count in (2_000, 10_000, 50_000):
            for filling in (_USER_PROPERTY, b"\x26" + 2 * text("x" * 100)):
                bomb = _RESPONSE_TOPIC + text(f"{BASE}/response/me") + count * filling
                client.send(request("health", properties=bomb))
                found.inputs += 1
                time.sleep(victim.duration_s / 6)


def _oversized(victim: Victim, port: int) -> None:
    with victim.attacked("client: messages of 20 MB") as found, Client(port) as client:
        for command in _COMMANDS:
            client.send(request(command, b" " * 20_000_000))
            found.inputs += 1
            time.sleep(victim.duration_s / len(_COMMANDS))


def _flood(victim: Victim, port: int) -> None:
    chance = random.Random(3)
    properties = (b"", _RESPONSE_TOPIC + text("answers/x"), _CORRELATION + text("\0" * 100))
    packets = [
        request(chance.choice(_COMMANDS), chance.choice(_PAYLOADS), chance.choice(properties))
        for _ in range(500)
    ]
    with (
        # How fast messages arrive is up to the broker, which has the flood to pass on.
        victim.attacked("client: a flood of requests", keeps="classifying") as found,
        Client(port) as client,
        Listener(port, f"{BASE}/response/health") as listener,
    ):
        blob = b"".join(packets)
        until_s = time.monotonic() + victim.duration_s
        while time.monotonic() < until_s:
            client.send(blob)
            found.inputs += len(packets)
        # It is answered, whoever asked before.
        until_s = time.monotonic() + PATIENCE_S
        answered = False
        while not answered and time.monotonic() < until_s:
            listener.publish(f"{_REQUEST}/health", b'{"transaction": "still there?"}')
            answered = listener.wait_for(lambda got: any(b"still" in m.payload for m in got), 1.0)
        found.hangs += not answered
