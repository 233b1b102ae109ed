"""A Home Assistant of one's own, asked and told over its HTTP interface."""

import json
import os
import re
import signal
import subprocess
import time
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from support.brokers import free_port, wait_until

from home_assistant.automation import CONFIGURATION, automation

_START_S = 600.0
"""The first start installs what the integrations need."""
_STOP_S = 60.0
_CALL_S = 60.0
_CLIENT = "http://127.0.0.1/"
_USER, _PASSWORD = "test", "only-on-loopback"
_CONFIGURATION = """
homeassistant:
  name: test{more}http:
  server_host: 127.0.0.1
  server_port: {port}
api:
config:
onboarding:
logger:
  default: warning
  logs:
    homeassistant.components.mqtt: info
"""
_TROUBLE = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")
_OF_THE_MACHINE = ("[aiohttp_fast_zlib]", "libturbojpeg")
"""Libraries that would make Home Assistant faster, and are not there."""

State = dict[str, Any]


def without_our_paths() -> dict[str, str]:
    """Return the environment for programs of Home Assistant's, which has modules of its own."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


class HomeAssistant:
    """One instance with a folder of its own, from entering the context until leaving it."""

    def __init__(self, program: Path, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        self._command = [str(program), "--config", str(folder)]
        self._log = folder / "home-assistant.log"
        self._output = folder / "output"
        self._token = ""
        self._log_of_before = ""
        self._process: subprocess.Popen[bytes] | None = None
        media = folder / "media"
        media.mkdir()
        configuration = _CONFIGURATION.format(
            port=self.port, more=CONFIGURATION.format(media=media)
        )
        (folder / "configuration.yaml").write_text(configuration)
        (folder / "automations.yaml").write_text(automation(media))

    def __enter__(self) -> Self:
        self.start()
        try:
            self._create_owner()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, env=without_our_paths()
            )
        if not wait_until(self._answers, timeout_s=_START_S):
            self.stop()
            raise AssertionError(f"Home Assistant did not start:\n{self._output.read_text()}")

    def stop(self) -> None:
        """End in order, as for a restart."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None
            # The next start begins a new one.
            self._log_of_before += self._log.read_text(errors="replace")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Home Assistant ended:\n{self._output.read_text()}")
        try:
            # Only once all integrations are set up does it say that it runs.
            if not self._token:
                return bool(self._call("GET", "/api/onboarding"))
            return bool(self._call("GET", "/api/config")["state"] == "RUNNING")
        except (OSError, HTTPException):
            time.sleep(0.2)
            return False

    def _create_owner(self) -> None:
        user = {"client_id": _CLIENT, "language": "en", "name": _USER}
        user |= {"username": _USER, "password": _PASSWORD}
        code = self._call("POST", "/api/onboarding/users", user)["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": _CLIENT}
        answer = self._request("POST", "/auth/token", urlencode(grant).encode())
        self._token = json.loads(answer)["access_token"]

    def connect_to_broker(self, port: int) -> None:
        """Set the MQTT integration up, as a person would in the browser."""
        flows = "/api/config/config_entries/flow"
        flow = self._call("POST", flows, {"handler": "mqtt"})["flow_id"]
        done = self._call("POST", f"{flows}/{flow}", {"broker": "127.0.0.1", "port": port})
        assert done["type"] == "create_entry", done

    def states(self) -> dict[str, State]:
        """Return all entities by their id."""
        return {each["entity_id"]: each for each in self._call("GET", "/api/states")}

    def state(self, entity: str) -> State | None:
        """Return one entity, None where there is none."""
        try:
            found: State = self._call("GET", f"/api/states/{entity}")
        except HTTPError as error:
            if error.code == 404:
                return None
            raise
        return found

    def act(self, domain: str, service: str, entity: str, **more: object) -> None:
        """Use an entity, as a button in the browser does."""
        self._call("POST", f"/api/services/{domain}/{service}", {"entity_id": entity, **more})

    def picture(self, entity: str) -> bytes:
        """Return what an image entity shows."""
        return self._request("GET", f"/api/image_proxy/{entity}")

    def render(self, template: str) -> str:
        """Render a template, which knows more than the states: devices, for one."""
        body = json.dumps({"template": template}).encode()
        return self._request("POST", "/api/template", body).decode()

    def trouble(self) -> list[str]:
        """Return the warnings and errors of the log, from the first start on."""
        text = self._log_of_before
        if self._process is not None:
            text += self._log.read_text(errors="replace")
        return [
            line
            for line in text.splitlines()
            if _TROUBLE.search(line) and not any(part in line for part in _OF_THE_MACHINE)
        ]

    def _call(self, method: str, path: str, body: object = None) -> Any:
        return json.loads(
            self._request(method, path, None if body is None else json.dumps(body).encode())
        )

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = Request(f"http://127.0.0.1:{self.port}{path}", data=body, method=method)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        if path != "/auth/token":
            request.add_header("Content-Type", "application/json")
        try:
            with urlopen(request, timeout=_CALL_S) as answer:
                found: bytes = answer.read()
        except HTTPError:
            raise
        except URLError as error:
            raise OSError(str(error.reason)) from None
        return found
