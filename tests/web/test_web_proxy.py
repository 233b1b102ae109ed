"""The page behind a proxy with TLS, as docs/pi.md has it."""

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from support.brokers import PATIENCE_S, free_port, needs_openssl, wait_until
from support.daemon import REPOSITORY, SAMPLES
from support.web_client import basic, get, post
from support.web_device import WebDevice, bundled_inference, sample_pictures, serving

from edgeclassifier.engine.inference import Inference
from edgeclassifier.web.server import WebServer

DOCUMENTED = (REPOSITORY / "docs" / "pi.md").read_text()
NAME = "porch.example.org"
OURS = f"https://{NAME}"
FOREIGN = ("https://evil.example", f"{OURS}.evil.example", f"http://{NAME}", "null")
REFUSAL = "cross-site request refused"
PASSWORD = "secret"
HASH = "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
"""Of the password, with few rounds."""
PAUSE = "/api/request/pause"

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
PROXIES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            shutil.which(name, path=_PATH) is None, reason=f"needs {name} (apt: {package})"
        ),
    )
    for name, package in (("caddy", "caddy"), ("nginx", "nginx-light"))
]
_NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""
_CADDY = """
{{
    admin off
    auto_https off
}}
{site}
"""


@pytest.fixture(scope="module")
def inference() -> Inference:
    return bundled_inference()


@pytest.fixture
def device(inference: Inference) -> WebDevice:
    device = WebDevice(inference, sample_pictures())
    device.step()
    return device


@pytest.fixture
def server(device: WebDevice) -> Iterator[WebServer]:
    server = serving(device)
    yield server
    server.stop()


class Proxy:
    """Caddy or nginx on a free port, with what the page says and a certificate of its own."""

    def __init__(self, folder: Path, kind: str, page_port: int, *, without: str = "") -> None:
        self._port = free_port()
        self._folder = folder
        self._cert, self._key = folder / "cert.pem", folder / "key.pem"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"),
            *("-keyout", str(self._key), "-out", str(self._cert)),
        )
        self._context = ssl.create_default_context(cafile=self._cert)
        (site,) = re.findall(rf"```{kind}\n(.*?)```", DOCUMENTED, re.DOTALL)
        assert without in site
        site = site.replace(without, "").replace("8080", str(page_port))
        config = folder / "config"
        config.write_text(self._for_nginx(site) if kind == "nginx" else self._for_caddy(site))
        command = {
            "nginx": ("nginx", "-p", folder, "-c", config, "-e", "stderr"),
            "caddy": ("caddy", "run", "--adapter", "caddyfile", "--config", config),
        }[kind]
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, env={"PATH": _PATH, "HOME": str(folder)}, stderr=log
            )

    def __enter__(self) -> Self:
        if not wait_until(self._listens_or_ended) or self._process.poll() is not None:
            self._process.kill()
            self._process.wait()
            raise AssertionError(self._log.read_text())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    @contextmanager
    def asked(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPSConnection(NAME)) as link:
            raw = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S)
            link.sock = self._context.wrap_socket(raw, server_hostname=NAME)
            link.request(method, path, body, named)
            yield link.getresponse()

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, str]:
        """Ask with the password."""
        headers["Authorization"] = basic(PASSWORD, "me")
        with self.asked(method, path, body, **headers) as answer:
            return answer.status, answer.read().decode().strip()

    def _listens_or_ended(self) -> bool:
        if self._process.poll() is not None:
            return True
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def _for_nginx(self, site: str) -> str:
        users = self._folder / "users"
        users.write_text(f"me:{_openssl('passwd', '-6', PASSWORD)}")
        for said, instead in {
            "listen 443 ssl": f"listen 127.0.0.1:{self._port} ssl",
            "/etc/ssl/porch.pem": str(self._cert),
            "/etc/ssl/porch.key": str(self._key),
            "/etc/nginx/edgeclassifier.users": str(users),
            "auth_delay 1s": "auth_delay 1ms",
        }.items():
            assert said in site
            site = site.replace(said, instead)
        return _NGINX.format(folder=self._folder, site=site)

    def _for_caddy(self, site: str) -> str:
        listen = f"{NAME}:{self._port} {{\n    bind 127.0.0.1\n    tls {self._cert} {self._key}"
        for said, instead in {f"{NAME} {{": listen, "$2a$14$…": HASH}.items():
            assert said in site
            site = site.replace(said, instead)
        return _CADDY.format(site=site)


def _openssl(*arguments: str) -> str:
    done = subprocess.run(
        ["openssl", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_openssl
@pytest.mark.parametrize("kind", PROXIES)
def test_the_page_works_behind_the_proxy_of_the_docs(
    tmp_path: Path, server: WebServer, device: WebDevice, kind: str
) -> None:
    with Proxy(tmp_path, kind, server.port) as proxy:
        with proxy.asked("GET", "/") as answer:
            assert answer.status == 401
        status, html = proxy.ask("GET", "/")
        assert status == 200
        assert html.endswith("</html>")
        asked = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors", "Origin": OURS}
        assert proxy.ask("POST", PAUSE, b"", **asked) == (200, '{"status":"ok","data":{}}')
        # More than nginx takes unless told.
        picture = (SAMPLES / "coffee.png").read_bytes() + bytes(2_000_000)
        status, text = proxy.ask("POST", "/api/classify", picture, **asked)
        assert (status, "espresso" in text) == (200, True)
        with proxy.asked("GET", "/live", Authorization=basic(PASSWORD, "me")) as stream:
            assert b"hello" in stream.readline()
            device.step()
            while b'{"seq":2,' not in stream.readline():
                pass


@needs_openssl
@pytest.mark.parametrize("kind", PROXIES[1:])
def test_a_proxy_that_collects_answers_hands_on_the_stream_at_once(
    tmp_path: Path, server: WebServer, device: WebDevice, kind: str
) -> None:
    without = "        proxy_buffering off;\n"
    with (
        Proxy(tmp_path, kind, server.port, without=without) as proxy,
        proxy.asked("GET", "/live", Authorization=basic(PASSWORD, "me")) as stream,
    ):
        # One event is much less than the 4 KiB that nginx collects.
        for seq in range(1, 4):
            while f'{{"seq":{seq},'.encode() not in stream.readline():
                pass
            device.step()


@needs_openssl
@pytest.mark.parametrize("kind", PROXIES)
def test_the_proxy_of_the_docs_lets_no_page_of_others_ask(
    tmp_path: Path, server: WebServer, device: WebDevice, kind: str
) -> None:
    with Proxy(tmp_path, kind, server.port) as proxy:
        for origin in FOREIGN:
            assert proxy.ask("POST", PAUSE, b"", Origin=origin) == (403, REFUSAL), origin
        asked = {"Sec_Fetch_Site": "cross-site", "Origin": OURS}
        assert proxy.ask("POST", PAUSE, b"", **asked) == (403, REFUSAL)
    assert device.requests == []


def test_the_page_takes_the_headers_that_the_proxy_sets(
    server: WebServer, device: WebDevice
) -> None:
    """Also if neither proxy is installed."""
    host = f"localhost:{server.port}"
    ours = {"Host": host, "Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
    assert get(server, "/", Host=host).status == 200
    assert post(server, PAUSE, **ours).status == 200
    assert len(device.requests) == 1
    for origin in (OURS, *FOREIGN):
        assert post(server, PAUSE, **{**ours, "Origin": origin}).status == 403, origin
    assert post(server, PAUSE, **{**ours, "Host": NAME}).status == 403
    assert len(device.requests) == 1
