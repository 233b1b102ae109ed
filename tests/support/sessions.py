"""MQTT sessions for tests, that end with them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Literal

from edgeclassifier.buffer import MemoryBuffer
from edgeclassifier.mqtt.broker import Broker
from edgeclassifier.mqtt.session import Session

MakeSession = Callable[..., Session]
Protocol = Literal["5", "3.1.1"]

_OF_THE_BROKER = {field.name for field in fields(Broker)}


def access(port: int, **changes: Any) -> Broker:
    """Return a broker on this machine, which lets anybody in."""
    anybody: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "protocol": "5",
        "client_id": "device",
        "username": None,
        "password": None,
        "tls": None,
        "keepalive_s": 30,
    }
    return Broker(**{**anybody, **changes})


def settings(port: int, *, max_bytes: int = 10_000_000, **changes: Any) -> dict[str, Any]:
    """Return what a session is made of; `changes` are of the session or of its broker."""
    of_the_broker = {name: changes.pop(name) for name in _OF_THE_BROKER & changes.keys()}
    return {
        "broker": access(port, **of_the_broker),
        "buffer": MemoryBuffer(max_bytes=max_bytes),
        "reconnect_min_s": 0.02,
        "reconnect_max_s": 0.1,
        "max_queued": 1000,
        "will": None,
        **changes,
    }


@contextmanager
def sessions(*, start: bool = True, **defaults: Any) -> Iterator[MakeSession]:
    """Make sessions of settings(), and stop them in the end."""
    made = []

    def make(port: int, **changes: Any) -> Session:
        session = Session(**settings(port, **{**defaults, **changes}))
        made.append(session)
        if start:
            session.start()
        return session

    try:
        yield make
    finally:
        for session in made:
            session.stop(last=None, timeout_s=0.1)
