"""A real broker, a subscriber and certificates, for tests."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_MOSQUITTO = shutil.which("mosquitto", path=_PATH)
_MOSQUITTO_PASSWD = shutil.which("mosquitto_passwd", path=_PATH)
_OPENSSL = shutil.which("openssl")
PATIENCE_S = 20.0
"""Upper bound of every wait; nothing takes nearly as long unless it is broken."""

needs_mosquitto = pytest.mark.skipif(
    _MOSQUITTO is None or _MOSQUITTO_PASSWD is None, reason="needs mosquitto (apt: mosquitto)"
)
needs_openssl = pytest.mark.skipif(_OPENSSL is None, reason="needs openssl (apt: openssl)")


def wait_until(condition: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> bool:
    """Wait for `condition` to hold; return whether it does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    ca: Path
    other_ca: Path
    server_cert: Path
    """For localhost and 127.0.0.1."""
    server_key: Path
    elsewhere_cert: Path
    """For broker.invalid, with `server_key`."""
    expired_cert: Path
    """For localhost, with `server_key`."""
    client_cert: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make two CAs, and certificates of the first one."""
    _make_ca(folder, "ca")
    _make_ca(folder, "other_ca")
    for name in ("server", "client"):
        _openssl("genpkey", "-quiet", *_KEY_KIND, "-out", folder / f"{name}.key")
    local = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    certificates = Certificates(
        ca=folder / "ca.pem",
        other_ca=folder / "other_ca.pem",
        server_key=folder / "server.key",
        server_cert=_sign(folder, "server", key="server", extension=local),
        elsewhere_cert=_sign(
            folder, "elsewhere", key="server", extension="subjectAltName=DNS:broker.invalid"
        ),
        expired_cert=_sign(folder, "expired", key="server", extension=local, days=0),
        client_key=folder / "client.key",
        client_cert=_sign(folder, "client", key="client", extension="extendedKeyUsage=clientAuth"),
    )
    # The expired one ends in the second it began: newer versions of openssl allow no earlier end.
    time.sleep(1.1)
    return certificates


_KEY_KIND = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def _openssl(*arguments: str | Path) -> None:
    assert _OPENSSL is not None, "openssl is not installed"
    done = subprocess.run(
        [_OPENSSL, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr


def _make_ca(folder: Path, name: str) -> None:
    key = folder / f"{name}.key"
    _openssl("genpkey", "-quiet", *_KEY_KIND, "-out", key)
    _openssl(
        *("req", "-x509", "-new", "-key", key, "-subj", f"/CN=test {name}", "-days", "2"),
        *("-out", folder / f"{name}.pem"),
    )


def _sign(folder: Path, name: str, *, key: str, extension: str, days: int = 2) -> Path:
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    cert = folder / f"{name}.pem"
    extensions.write_text(extension + "\n")
    _openssl(
        *("req", "-new", "-key", folder / f"{key}.key", "-subj", f"/CN=test {name}"),
        *("-out", request),
    )
    _openssl(
        *("x509", "-req", "-in", request, "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"),
        *("-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", cert),
    )
    return cert


class Mosquitto:
    """A mosquitto of one's own on a free port of the loopback interface.

    Without `passwords` everybody may connect. `lines` go into its configuration as they are;
    with `tls` (certificate and key of the server), the port speaks TLS only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lines: Sequence[str] = (),
        passwords: Mapping[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
        client_ca: Path | None = None,
        port: int | None = None,
    ) -> None:
        assert _MOSQUITTO is not None, "mosquitto is not installed"
        self.port = port or free_port()
        self._log = folder / f"mosquitto-{self.port}.log"
        self._config = folder / f"mosquitto-{self.port}.conf"
        config = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'true' if passwords is None else 'false'}",
            "persistence false",
            "log_type all",
            # Started by root, it would give up the right to read these files.
            f"user {pwd.getpwuid(os.getuid()).pw_name}",
            *lines,
        ]
        if passwords is not None:
            config.append(f"password_file {self._make_password_file(folder, passwords)}")
        if tls is not None:
            config += [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        if client_ca is not None:
            config += [f"cafile {client_ca}", "require_certificate true"]
        self._config.write_text("\n".join(config) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def _make_password_file(self, folder: Path, passwords: Mapping[str, str]) -> Path:
        assert _MOSQUITTO_PASSWD is not None, "mosquitto_passwd is not installed"
        path = folder / f"mosquitto-{self.port}.passwd"
        path.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
        path.chmod(0o600)
        subprocess.run([_MOSQUITTO_PASSWD, "-U", path], check=True, timeout=PATIENCE_S)
        return path

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start, or start again on the same port, and wait until it accepts connections."""
        assert self._process is None, "already running"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(_MOSQUITTO), "-c", self._config], stdout=log, stderr=log
            )
        if not wait_until(self._accepts):
            self.kill()
            raise AssertionError(f"mosquitto did not start:\n{self.log}")

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"mosquitto ended:\n{self.log}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self) -> None:
        """Shut down as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End at once, without a word to the clients. May be called twice."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        # A paused process hears SIGTERM only afterwards.
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freeze it: connections stay up, and nothing is answered any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    topic: str
    payload: bytes
    retain: bool
    qos: int
    properties: dict[str, Any]
    """MQTT 5 properties by their paho name, such as ContentType."""


class Subscriber:
    """Collects what is published, including what the broker has retained (`retain` tells)."""

    def __init__(
        self,
        port: int,
        topic: str = "#",
        *,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        self._port = port
        self._topic = topic
        self._messages: list[Received] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._handle_message

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        if not self._subscribed.wait(PATIENCE_S):
            self.close()
            raise AssertionError("the broker did not confirm the subscription")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(
        self,
        topic: str,
        payload: bytes | str = b"",
        *,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Publish with QoS 1, and wait until the broker has it."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # as paho has it
        if response_topic is not None:
            properties.ResponseTopic = response_topic
        if correlation is not None:
            properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        info.wait_for_publish(PATIENCE_S)

    def _handle_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        properties = message.properties
        received = Received(
            topic=message.topic,
            payload=bytes(message.payload),
            retain=message.retain,
            qos=message.qos,
            # paho leaves this method without types.
            properties=properties.json() if properties else {},  # type: ignore[no-untyped-call]
        )
        with self._changed:
            self._messages.append(received)
            self._changed.notify_all()

    @property
    def messages(self) -> list[Received]:
        """Everything received so far, in order."""
        with self._changed:
            return list(self._messages)

    def payloads(self, topic: str) -> list[bytes]:
        """The payloads received on one topic, in order."""
        return [message.payload for message in self.messages if message.topic == topic]

    def clear(self) -> None:
        with self._changed:
            self._messages.clear()

    def wait_for(
        self, predicate: Callable[[list[Received]], object], timeout_s: float = PATIENCE_S
    ) -> bool:
        """Wait until `predicate` holds for the messages so far; return whether it does."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: predicate(list(self._messages)), timeout_s))
