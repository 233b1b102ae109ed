"""Secrets stay where they belong: nothing the daemon says, publishes or leaves has one in it."""

import base64
import contextlib
import dataclasses
import io
import re
import signal
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.brokers import (
    PATIENCE_S,
    Certificates,
    Mosquitto,
    Subscriber,
    free_port,
    make_certificates,
    needs_mosquitto,
    needs_openssl,
    wait_until,
)
from support.daemon import Daemon, isolated, run_cli
from support.tiny_models import LABELS, classifier, normalization_metadata, with_files

from edgeclassifier.compose.broker import broker_access
from edgeclassifier.config import Config, MqttConfig
from edgeclassifier.mqtt.tls import make_tls_context

# Each has a core that survives quoting, and letters that do not.
CORES = {
    "MQTT password": "Zq7mqttpassZq7",
    "wrong MQTT password": "Zq7wrongpassZq7",
    "stream password": "Zq7streampassZq7",
    "query token": "Zq7querytokenZq7",
    "header": "Zq7headertokenZq7",
}
SECRETS = {name: f"{core}/ä@% {core}" for name, core in CORES.items()}
PLAIN = {"query token", "header"}
"""Have to be valid in a URL and in a header."""
MQTT_USER, STREAM_USER = "device", "viewer"


def secret(name: str) -> str:
    return CORES[name] if name in PLAIN else SECRETS[name]


def forms(core: str) -> list[bytes]:
    """How a secret may be written: as it is, and in base64 wherever it begins within it."""
    shapes = [core.encode(), core.encode().hex().encode()]
    for skipped in range(3):
        encoded = base64.b64encode(b"\0" * skipped + core.encode() + b"\0" * 3)
        # The first and the last letters depend on what is around.
        shapes.append(encoded[4 if skipped else 0 : -8])
    return shapes


def leaks(text: bytes) -> list[str]:
    return [name for name, core in CORES.items() if any(form in text for form in forms(core))]


def test_the_search_finds_every_form() -> None:
    for name in CORES:
        whole = SECRETS[name]
        for text in (
            whole,
            urllib.parse.quote(whole, safe=""),
            urllib.parse.quote_plus(whole),
            base64.b64encode(whole.encode()).decode(),
            base64.b64encode(f"{MQTT_USER}:{whole}".encode()).decode(),
            base64.b64encode(f"x{MQTT_USER}:{whole}".encode()).decode(),
            repr(whole),
        ):
            assert leaks(f"before {text} after".encode()) == [name]


class Camera:
    """An IP camera with a password, a token in its URL and one in a header."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        buffer = io.BytesIO()
        Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG")
        picture, camera, self.over = buffer.getvalue(), self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
                del format, args

            def do_GET(self) -> None:
                camera.requests.append(f"{self.path}\n{self.headers}")
                if self.path.startswith("/refused") or not self.headers["Authorization"]:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                with contextlib.suppress(OSError):
                    while not camera.over.wait(0.02):
                        self.wfile.write(head.encode() + b"\r\n\r\n" + picture + b"\r\n")

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.port = self._http.server_port

    def __enter__(self) -> "Camera":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._http.shutdown()
        self._thread.join(PATIENCE_S)
        self._http.server_close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """A device with its configuration, and everything that is seen of it."""

    home: Path
    env: Mapping[str, str]
    config: Path
    kept: tuple[Path, ...]
    """The files that hold the secrets, where the user put them."""

    def search_files(self) -> None:
        for path in self.home.rglob("*"):
            if path.is_file() and path not in self.kept:
                assert not leaks(path.read_bytes()), path
                assert not leaks(str(path).encode())


def make_site(
    folder: Path, *, camera: str, broker_port: int, tls: Path | None, password: str
) -> Site:
    home = folder / "home"
    home.mkdir()
    model = home / "tiny.tflite"
    content = classifier(last="SOFTMAX", metadata=normalization_metadata([127.5], [127.5]))
    model.write_bytes(with_files(content, {"labels.txt": "\n".join(LABELS).encode()}))
    files = {"mqtt.password": password, "stream.password": "stream password"}
    for file, name in files.items():
        (home / file).touch(mode=0o600)
        (home / file).write_text(secret(name))
    config = home / "config.toml"
    config.touch(mode=0o600)
    config.write_text(
        f"""
        device.id = "device"
        log.level = "debug"
        model.name = "{model}"
        [camera]
        source = "stream"
        deadline_s = 5
        max_recoveries = 1
        [camera.stream]
        url = "{camera}?t={secret("query token")}"
        username = "{STREAM_USER}"
        password_file = "stream.password"
        timeout_s = 2
        [camera.stream.options]
        headers = "X-Token: {secret("header")}\\r\\n"
        [mqtt]
        host = "localhost"
        port = {broker_port}
        username = "{MQTT_USER}"
        password_file = "mqtt.password"
        reconnect_min_s = 0.05
        reconnect_max_s = 0.1
        health_interval_s = 1
        tls.enabled = {"true" if tls else "false"}
        tls.ca_file = "{tls or ""}"
        """
    )
    kept = (config, *(home / file for file in files))
    return Site(home=home, env=isolated(home), config=config, kept=kept)


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def search_processes(pid: int) -> None:
    for each in family(pid):
        for name in ("cmdline", "environ", "comm"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                assert not leaks(Path(f"/proc/{each}/{name}").read_bytes()), name


def search_lines(lines: list[str]) -> None:
    for line in lines:
        assert not leaks(line.encode(errors="surrogateescape")), line


def search_messages(subscriber: Subscriber) -> None:
    for message in subscriber.messages:
        seen = message.topic.encode() + message.payload + repr(message.properties).encode()
        assert not leaks(seen), message


BAD_RELOADS = (
    '[camera.stream]\nurl = "http://{token}@h/v?t={token}"\n[mqtt]\nport = "x"\n',
    '[camera.stream.options]\nheaders = "{token}\n',
    "not TOML at all\n",
)


def refusals(daemon: Daemon, wanted: int) -> bool:
    return sum("config.toml" in line and "WARNING" in line for line in daemon.lines) >= wanted


def reload_badly(daemon: Daemon, site: Site) -> None:
    """Make the configuration a wrong one, with a secret in it, and have it read again."""
    if not daemon.handles(signal.SIGHUP):
        pytest.skip("the daemon does not read its configuration again on SIGHUP")
    good = site.config.read_text()
    for number, text in enumerate(BAD_RELOADS, 1):
        site.config.write_text(text.replace("{token}", secret("query token")))
        daemon.stop(signal.SIGHUP)
        # Each is refused in words of its own, before the next one.
        assert wait_until(partial(refusals, daemon, number)), daemon.lines
    site.config.write_text(good)


@needs_mosquitto
@pytest.mark.timeout(180)
@pytest.mark.parametrize("end", ["SIGTERM", "SIGABRT", "bad reload"])
def test_nothing_shows_while_all_is_well(tmp_path: Path, end: str) -> None:
    """Both passwords, the token and the header reach their servers, and nobody else."""
    pytest.importorskip("av", reason="needs PyAV (the extra 'stream')")
    passwords = {MQTT_USER: secret("MQTT password"), "watcher": "watching"}
    with (
        Mosquitto(tmp_path, passwords=passwords) as broker,
        Subscriber(broker.port, username="watcher", password="watching") as subscriber,
        Camera() as camera,
    ):
        site = make_site(
            tmp_path,
            camera=f"http://127.0.0.1:{camera.port}/stream",
            broker_port=broker.port,
            tls=None,
            password="MQTT password",
        )
        with Daemon(config=site.config, env=site.env) as daemon:
            assert subscriber.wait_for(
                lambda messages: {"info", "health"} <= {m.topic.split("/")[-1] for m in messages}
            ), daemon.lines
            assert subscriber.wait_for(
                lambda messages: any(m.topic.endswith("predictions") for m in messages)
            ), daemon.lines
            search_processes(daemon.pid)
            if end == "bad reload":
                reload_badly(daemon, site)
            daemon.stop(signal.SIGABRT if end == "SIGABRT" else signal.SIGTERM)
            assert daemon.wait() == (-signal.SIGABRT if end == "SIGABRT" else 0)
        search_lines(daemon.lines)
        search_messages(subscriber)
        site.search_files()
        for arguments in (("config",), ("config", "--json"), ("check", "--online")):
            done = run_cli(*arguments, "--config", site.config, env=site.env)
            assert done.returncode == 0, done.stdout + done.stderr
            assert not leaks((done.stdout + done.stderr).encode()), arguments
        asked = "\n".join(camera.requests)
        login = f"{STREAM_USER}:{secret('stream password')}"
        assert base64.b64encode(login.encode()).decode() in asked
        assert secret("query token") in asked
        assert secret("header") in asked


FAILURES = {
    "refused credentials": "user name",
    "wrong TLS": "not signed by a trusted CA",
    "camera unreachable": "connection refused",
    "camera refuses": "401",
}


@needs_mosquitto
@needs_openssl
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", FAILURES)
def test_nothing_shows_when_something_fails(
    tmp_path: Path, certificates: Certificates, kind: str
) -> None:
    """Nor in the words on why the daemon ended, which the next run publishes."""
    pytest.importorskip("av", reason="needs PyAV (the extra 'stream')")
    tls = certificates.server_cert, certificates.server_key
    passwords = {MQTT_USER: secret("MQTT password"), "watcher": "watching"}
    wrong_tls = kind == "wrong TLS"
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(
            Mosquitto(tmp_path, passwords=passwords, tls=tls if wrong_tls else None)
        )
        camera = stack.enter_context(Camera())
        port = free_port() if kind == "camera unreachable" else camera.port
        path = "refused" if kind == "camera refuses" else "stream"
        refused = kind == "refused credentials"
        site = make_site(
            tmp_path,
            camera=f"http://127.0.0.1:{port}/{path}",
            broker_port=broker.port,
            tls=certificates.other_ca if wrong_tls else None,
            password="wrong MQTT password" if refused else "MQTT password",
        )
        seen = None
        if not wrong_tls:
            watcher = Subscriber(broker.port, username="watcher", password="watching")
            seen = stack.enter_context(watcher)
        for _ in range(2):
            with Daemon(config=site.config, env=site.env) as daemon:
                assert daemon.wait_for_line(FAILURES[kind]), daemon.lines
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    search_processes(daemon.pid)
                daemon.stop()
                daemon.wait()
            search_lines(daemon.lines)
            assert not any("Traceback" in line for line in daemon.lines)
        if seen is not None:
            search_messages(seen)
        site.search_files()
        done = run_cli("check", "--online", "--config", site.config, env=site.env)
        assert done.returncode
        assert FAILURES[kind] in done.stdout
        assert not leaks((done.stdout + done.stderr).encode())


def test_a_password_is_not_part_of_what_describes_the_broker(tmp_path: Path) -> None:
    """As it would be in the message of an assertion, or in a debugger's log."""
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(secret("MQTT password"))
    config = MqttConfig(username=MQTT_USER, password_file=str(file))
    access = broker_access(config, device="device")
    assert access.password == secret("MQTT password")
    assert not leaks(f"{access!r} {access}".encode())


def test_no_key_of_the_configuration_turns_verification_off() -> None:
    words = re.compile(r"insecure|verif|check|trust|unsafe|skip|allow|ignore|hostname")

    def keys(table: Mapping[str, Any]) -> Iterator[str]:
        for key, value in table.items():
            yield key
            if isinstance(value, Mapping):
                yield from keys(value)

    found = {key for key in keys(dataclasses.asdict(Config())) if words.search(key)}
    # The first is about scenes that stand still, the second names the commands that are taken.
    assert found == {"skip_unchanged", "allow"}


@needs_openssl
@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_tls_is_1_2_at_least(
    certificates: Certificates, version: ssl.TLSVersion, accepted: bool
) -> None:
    """A server that offers nothing newer is refused, whatever the system's policy would allow."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.server_cert, certificates.server_key)
    with (
        pytest.warns(DeprecationWarning, match="TLSv1")
        if not accepted
        else contextlib.nullcontext()
    ):
        server.set_ciphers("ALL:@SECLEVEL=0")
        server.minimum_version = server.maximum_version = version
    client = make_tls_context(ca_file=certificates.ca, cert_file=None, key_file=None)
    willing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    willing.load_verify_locations(certificates.ca)
    with (
        pytest.warns(DeprecationWarning, match="TLSv1")
        if not accepted
        else contextlib.nullcontext()
    ):
        willing.set_ciphers("ALL:@SECLEVEL=0")
        willing.minimum_version = version
    if handshake(server, willing) is None:
        pytest.skip(f"this OpenSSL cannot serve {version.name}")
    agreed = handshake(server, client)
    assert (agreed is not None) == accepted, agreed


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """Return the version that both agree on, None where they do not."""
    near, far = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError), server.wrap_socket(near, server_side=True) as wrapped:
            wrapped.recv(1)

    with near, far:
        for end in (near, far):
            end.settimeout(PATIENCE_S)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with client.wrap_socket(far, server_hostname="localhost") as wrapped:
                return wrapped.version()
        except OSError:
            return None
        finally:
            far.close()
            thread.join(PATIENCE_S)
