"""Brokers that do what no broker should."""

import contextlib
import random
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.scripted_broker import Answer, Link, Published, ScriptedBroker, text, varint

from attack.report import Figures
from attack.victim import BASE, Victim, base_settings, for_a_while, running
from attack.witness import Messages

_REQUEST = f"{BASE}/request/health"
_GIANT_BYTES = 200_000_000
_MAXIMUM_PACKET_SIZE = b"\x27"
_QUOTA = 0x97


def attack(folder: Path, *, short: bool) -> Iterator[Figures]:
    """Be a broker for a daemon that speaks MQTT 5, then for one that speaks 3.1.1."""
    for protocol in ("5", "3.1.1"):
        messages = Messages(BASE)
        with ScriptedBroker(take=_taking(messages)) as broker:
            (own := folder / protocol).mkdir()
            settings = base_settings(own, broker.port)
            settings["mqtt"]["protocol"] = protocol
            with running(own, settings, messages, short=short) as victim:
                for act in _V5 if protocol == "5" else _V311[: 1 if short else None]:
                    act(victim, broker)
                    broker.take = _taking(messages)
                    victim.figures[-1].name += f" ({protocol})"
                    yield victim.figures[-1]


def _taking(messages: Messages) -> Callable[[Link, Published], Answer]:
    def take(_link: Link, message: Published) -> Answer:
        messages.take(message.topic, message.payload)
        return "confirm"

    return take


def _cut(broker: ScriptedBroker) -> None:
    with contextlib.suppress(OSError):
        broker.links[-1].sock.shutdown(2)


def _no_puback(victim: Victim, broker: ScriptedBroker) -> None:
    with victim.attacked("broker: confirms nothing", keeps="classifying") as found:
        good = broker.take
        before = len(broker.messages)
        broker.take = lambda _link, _message: "ignore"
        time.sleep(victim.duration_s)
        broker.take = good
        found.inputs = len(broker.messages) - before


def _tiny_limit(victim: Victim, broker: ScriptedBroker) -> None:
    with victim.attacked("broker: takes 60 bytes in one of two", keeps="classifying") as found:
        count = 0

        def welcome(_link: Link) -> bytes:
            nonlocal count
            count += 1
            return _MAXIMUM_PACKET_SIZE + struct.pack("!I", 60) if count % 2 else b""

        broker.welcome = welcome
        until_s = time.monotonic() + victim.duration_s
        while time.monotonic() < until_s or not count % 2:
            _cut(broker)
            time.sleep(0.7)
        broker.welcome = lambda _link: b""
        _cut(broker)
        found.inputs = count


def _never_released(victim: Victim, broker: ScriptedBroker) -> None:
    with victim.attacked("broker: QoS 2, never released", keeps="classifying") as found:
        payload = bytes(100_000)

        def send() -> None:
            with contextlib.suppress(OSError):
                broker.links[-1].publish(_REQUEST, payload, qos=2, number=1 + found.inputs % 65000)
                found.inputs += 1
            time.sleep(0.02)

        for_a_while(victim.duration_s, send)


def _giant(victim: Victim, broker: ScriptedBroker) -> None:
    with victim.attacked("broker: messages of 200 MB", keeps="classifying") as found:
        chunk = bytes(1_000_000)

        def send() -> None:
            link = broker.links[-1]
            head = text(_REQUEST) + (b"\0" if link.v5 else b"")
            with contextlib.suppress(OSError):
                link.sock.sendall(b"\x30" + varint(len(head) + _GIANT_BYTES) + head)
                for _ in range(_GIANT_BYTES // len(chunk)):
                    link.sock.sendall(chunk)
                found.inputs += 1
            time.sleep(0.05)

        for_a_while(victim.duration_s, send)


def _garbage(victim: Victim, broker: ScriptedBroker) -> None:
    chance = random.Random(7)
    # What a broker may send, to be damaged.
    good = (
        *(b"\x40\2\0\1", b"\x40\4\0\1\x97\0", b"\x50\2\0\1", b"\x62\2\0\1", b"\x90\4\0\1\0\x87"),
        *(b"\x20\3\0\0\0", b"\xe0\2\x8b\0", b"\xd0\0", b"\xf0\2\x18\0", b"\xb0\4\0\1\0\0"),
        b"\x32" + varint(len(_REQUEST) + 7) + text(_REQUEST) + b"\0\1\0{}",
    )

    def send() -> None:
        packet = bytearray(chance.choice(good))
        for _ in range(chance.randrange(4)):
            packet[chance.randrange(len(packet))] = chance.randrange(256)
        data = bytes(packet) if chance.random() < 0.9 else chance.randbytes(50)
        with contextlib.suppress(OSError):
            broker.links[-1].sock.sendall(data)
        found.inputs += 1
        time.sleep(0.01)

    with victim.attacked("broker: damaged packets", keeps="classifying") as found:
        good_take = broker.take
        # A damaged packet may confirm what this broker has not taken: then it is gone by rights.
        broker.take = lambda link, message: (good_take(link, message), "ignore")[1]
        for_a_while(victim.duration_s, send)
        broker.take = good_take
        _cut(broker)


def _refusing(victim: Victim, broker: ScriptedBroker) -> None:
    with victim.attacked("broker: refuses every third for its quota", keeps="classifying") as found:
        good = broker.take

        def take(link: Link, message: Published) -> Answer:
            found.inputs += 1
            return good(link, message) if found.inputs % 3 else _QUOTA

        broker.take = take
        time.sleep(victim.duration_s)
        broker.take = good


def _closing(victim: Victim, broker: ScriptedBroker) -> None:
    with victim.attacked(
        "broker: closes for a topic it does not allow", keeps="classifying"
    ) as found:
        good = broker.take

        def take(link: Link, message: Published) -> Answer:
            if message.topic != f"{BASE}/health":
                return good(link, message)
            found.inputs += 1
            return "close"

        broker.take = take
        time.sleep(victim.duration_s)
        broker.take = good


_V5 = (_no_puback, _tiny_limit, _never_released, _giant, _garbage, _refusing, _closing)
_V311 = (_giant, _never_released, _garbage)
