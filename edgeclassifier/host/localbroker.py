"""MQTT brokers on the loopback interface, for trying out and for measuring."""

import asyncio
import contextlib
import logging
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeclassifier.errors import BrokerError
from edgeclassifier.host import threads
from edgeclassifier.host.children import end

LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBroker:
    """A broker that runs."""

    name: str
    port: int
    protocol: str
    """The newest version it speaks, as the configuration spells it."""


def free_port() -> int:
    """Return a loopback TCP port that is free."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def find_mosquitto() -> str | None:
    """Return the mosquitto broker's file; Debian puts it where only root's PATH looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def mosquitto() -> Iterator[LocalBroker]:
    """Run mosquitto while the context lasts. Raises BrokerError."""
    program = find_mosquitto()
    if program is None:
        raise BrokerError("mosquitto is not installed: apt install mosquitto")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="edgeclassifier-") as folder:
        config = Path(folder, "mosquitto.conf")
        config.write_text(
            f"listener {port} {LOOPBACK}\nallow_anonymous true\npersistence false\nlog_type error\n"
        )
        # Without a log file it would write to our stderr, without the user it wants root's rights.
        process = subprocess.Popen(  # noqa: S603 - a fixed program with a file of our own
            [program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(port, gone=lambda: process.poll() is not None)
            yield LocalBroker(name="mosquitto", port=port, protocol="5")
        finally:
            end(process, timeout_s=_STOP_TIMEOUT_S)


@contextlib.contextmanager
def amqtt() -> Iterator[LocalBroker]:
    """Run the amqtt broker in a thread while the context lasts. Raises BrokerError."""
    try:
        from amqtt.broker import Broker
    except ImportError:
        raise BrokerError("amqtt is not installed: install the package amqtt") from None
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    port = free_port()
    loop = asyncio.new_event_loop()
    finished = asyncio.Event()

    async def serve() -> None:
        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}},
                "plugins": {
                    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
                },
            }
        )
        await broker.start()
        await finished.wait()
        await broker.shutdown()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()

    thread = threads.start(run, name="amqtt", on_death=lambda _error: None)
    try:
        _wait_for(port, gone=lambda: not thread.is_alive())
        yield LocalBroker(name="amqtt", port=port, protocol="3.1.1")
    finally:
        with contextlib.suppress(RuntimeError):  # the loop may have ended by itself
            loop.call_soon_threadsafe(finished.set)
        thread.join(_STOP_TIMEOUT_S)


@contextlib.contextmanager
def any_broker() -> Iterator[LocalBroker]:
    """Run mosquitto if it is installed, else amqtt. Raises BrokerError if neither is."""
    with mosquitto() if find_mosquitto() else amqtt() as broker:
        yield broker


def _wait_for(port: int, *, gone: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s and not gone():
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1.0):
            return
        time.sleep(0.02)
    raise BrokerError(f"the broker did not start on {LOOPBACK}:{port}")
