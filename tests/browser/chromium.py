"""Chromium, driven through chromedriver with W3C WebDriver: Debian packages both."""

import base64
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.brokers import free_port, wait_until

CHROMEDRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium")
PATIENCE_S = 30.0

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""What WebDriver calls the number of an element."""
TAB, ENTER, SPACE, LEFT, RIGHT, DOWN = "\ue004", "\ue007", " ", "\ue012", "\ue014", "\ue015"
SHIFT = "\ue008"


class Browser:
    """One window of a real browser."""

    def __init__(self, address: str) -> None:
        self._base = address
        options = {
            "binary": CHROMIUM,
            "args": [
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *(
                    "--no-first-run",
                    "--disable-background-networking",
                    "--force-color-profile=srgb",
                ),
                "--window-size=1280,900",
            ],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            # A dialog for a password would wait for somebody.
            "unhandledPromptBehavior": "dismiss",
        }
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._base = f"{address}/session/{session['sessionId']}"
        self.do("POST", "/timeouts", {"script": PATIENCE_S * 1000, "pageLoad": PATIENCE_S * 1000})

    def do(self, method: str, path: str, body: object = None) -> Any:
        return self._call(method, path, body)

    def open(self, url: str) -> None:
        self.do("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page: a function's body, with `arguments`; await works."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"(async function () {{ {script} }}).apply(null, arguments)"
            ".then((value) => done({value}), (error) => done({error: String(error)}));"
        )
        answer = self.do("POST", "/execute/async", {"script": wrapped, "args": arguments})
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def text(self, selector: str) -> str:
        """Return what can be read there; nothing where it is absent or hidden."""
        text: str = self.run(
            "const e = document.querySelector(arguments[0]);"
            "return e?.checkVisibility() ? e.innerText : ''",
            selector,
        )
        return text.strip()

    def count(self, selector: str) -> int:
        number: int = self.run("return document.querySelectorAll(arguments[0]).length", selector)
        return number

    def click(self, selector: str) -> None:
        """Click as a person does: where something covers it, or it is not there, this fails."""
        self.do("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into an element; into a file input, the file's path."""
        self.do("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def press(self, *keys: str, holding: str = "") -> None:
        """Press keys where the focus is."""
        presses: list[dict[str, str]] = []
        for key in keys:
            presses += ({"type": "keyDown", "value": key}, {"type": "keyUp", "value": key})
        if holding:
            presses.insert(0, {"type": "keyDown", "value": holding})
            presses.append({"type": "keyUp", "value": holding})
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": presses}]})

    def focus(self) -> str:
        """Return the id of what has the focus, or its tag's name."""
        found: str = self.run(
            "const e = document.activeElement;"
            "return e.id || e.getAttribute('aria-label') || e.tagName"
        )
        return found

    def cdp(self, command: str, **parameters: object) -> Any:
        """Say something in Chromium's own protocol."""
        return self.do("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def resize(self, width: int, height: int, *, mobile: bool = False, scale: float = 1) -> None:
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    def prefer(self, **features: str) -> None:
        """Prefer what CSS can ask for, such as prefers_color_scheme="dark"."""
        wanted = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.cdp("Emulation.setEmulatedMedia", features=wanted)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        if whole:
            height = self.run("return document.documentElement.scrollHeight")
            width = self.run("return window.innerWidth")
            size = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            shot = self.cdp("Page.captureScreenshot", clip=size, captureBeyondViewport=True)["data"]
        else:
            shot = self.do("GET", "/screenshot")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot))

    def complaints(self) -> list[str]:
        """Return what the console has said since the last call."""
        log = self.do("POST", "/se/log", {"type": "browser"})
        return [f"{line['level']}: {line['message']}" for line in log]

    def wait(self, script: str, *arguments: object, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until the script returns something true; return whether it does."""
        return wait_until(lambda: self.run(script, *arguments), timeout_s=timeout_s)

    def wait_for_text(self, selector: str, *texts: str, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until one of the texts is in what can be read there."""
        return wait_until(
            lambda: any(text in self.text(selector) for text in texts), timeout_s=timeout_s
        )

    def _find(self, selector: str) -> str:
        found = self.do("POST", "/element", {"using": "css selector", "value": selector})
        number: str = found[_ELEMENT]
        return number

    def _call(self, method: str, path: str, body: object) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S * 2) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"]) from None


@contextmanager
def browsers() -> Iterator["Starter"]:
    """Run chromedriver while the context lasts."""
    assert CHROMEDRIVER is not None
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [CHROMEDRIVER, f"--port={port}", "--log-level=SEVERE"], stdout=log, stderr=log
        )
        starter = Starter(f"http://127.0.0.1:{port}")
        try:
            assert wait_until(starter.ready, timeout_s=PATIENCE_S), "chromedriver does not start"
            yield starter
        finally:
            starter.close()
            process.terminate()
            process.wait(PATIENCE_S)


class Starter:
    """Starts browsers, each with a profile of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._started: list[Browser] = []

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._address}/status", timeout=5) as answer:
                return bool(json.load(answer)["value"]["ready"])
        except OSError:
            return False

    def start(self) -> Browser:
        browser = Browser(self._address)
        self._started.append(browser)
        return browser

    def close(self) -> None:
        for browser in self._started:
            browser.do("DELETE", "")


def missing() -> Sequence[str]:
    """Return the Debian packages that are not there."""
    programs = {"chromium": CHROMIUM, "chromium-driver": CHROMEDRIVER}
    return [package for package, program in programs.items() if program is None]
