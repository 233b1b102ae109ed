"""Several views on the page, in a real Chromium: chosen, drawn, dragged, typed, taken back.

Not among the tests that are found by themselves, as page.py.
"""

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import ENTER, TAB, Browser, Starter, browsers, missing
from PIL import Image
from support.brokers import Mosquitto, free_port, wait_until
from support.daemon import SAMPLES, Daemon, isolated
from support.web_client import ask_port

pytestmark = pytest.mark.timeout(180)

WIDTH, HEIGHT, SIDE = 1600, 900, 600
CAT_AT, COFFEE_AT = (80, 150), (900, 150)
BOWL = [0.05, 0.1667, 0.375, 0.6667]
GATE = [0.5625, 0.1667, 0.375, 0.6667]
CONFIG = """
[device]
id = "porch"
state_directory = "{folder}/state"
[camera]
source = "replay"
[camera.replay]
path = "{folder}/scene.png"
rate_hz = 8
[mqtt]
port = {broker}
[web]
enabled = true
port = {port}
[views.bowl]
region = {bowl}
[views.gate]
region = {gate}
"""


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    if absent := missing():
        pytest.fail(f"needs a browser: sudo apt install {' '.join(absent)}")
    with browsers() as starter:
        yield opened(starter)


def opened(starter: Starter) -> Browser:
    window = starter.start()
    window.resize(1280, 1400)
    return window


@pytest.fixture
def page(window: Browser, broker: Mosquitto, tmp_path: Path) -> Iterator[Browser]:
    scene = Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 90))
    for name, at in (("chelsea.png", CAT_AT), ("coffee.png", COFFEE_AT)):
        with Image.open(SAMPLES / name) as picture:
            scene.paste(picture.convert("RGB").resize((SIDE, SIDE)), at)
    scene.save(tmp_path / "scene.png")
    port, config = free_port(), tmp_path / "config.toml"
    config.write_text(
        CONFIG.format(folder=tmp_path, broker=broker.port, port=port, bowl=BOWL, gate=GATE)
    )
    with Daemon(env=isolated(tmp_path), config=config) as daemon:

        def answers() -> bool:
            try:
                return ask_port(port, "GET", "/").status == 200
            except OSError:
                return False

        assert wait_until(answers, timeout_s=40), daemon.lines
        window.open(f"http://localhost:{port}/")
        assert window.wait_for_text("#stable", "Egyptian cat"), window.text("body")
        assert window.wait("return document.querySelectorAll('#outlines g').length === 1")
        yield window
        complaints = window.complaints()
        # Before the device goes, which the page would complain of.
        window.open("about:blank")
    assert not [each for each in complaints if "SEVERE" in each]


def numbers(page: Browser) -> list[float]:
    found: list[str] = page.run(
        "return ['left', 'top', 'across', 'down'].map((id) => document.getElementById(id).value)"
    )
    return [float(each) / 100 for each in found]


def place(page: Browser, x: float, y: float) -> tuple[float, float]:
    """Return where a point of the picture, in fractions of it, is in the window."""
    found: list[float] = page.run(
        """
        const svg = document.getElementById("drawing");
        const { width, height } = svg.viewBox.baseVal;
        const at = new DOMPoint(arguments[0] * width, arguments[1] * height);
        const { x, y } = at.matrixTransform(svg.getScreenCTM());
        return [x, y];
        """,
        x,
        y,
    )
    return found[0], found[1]


def drag(page: Browser, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x, y), (to_x, to_y) = place(page, *start), place(page, *end)
    mouse = {"button": "left", "buttons": 1, "clickCount": 1}
    page.cdp("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **mouse)
    for share in (0.5, 1.0):
        at = {"x": x + share * (to_x - x), "y": y + share * (to_y - y)}
        page.cdp("Input.dispatchMouseEvent", type="mouseMoved", **at, **mouse)
    page.cdp("Input.dispatchMouseEvent", type="mouseReleased", x=to_x, y=to_y, **mouse)


def swipe(page: Browser, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x, y), (to_x, to_y) = place(page, *start), place(page, *end)
    page.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    page.cdp("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": to_x, "y": to_y}])
    page.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


def about(*values: float) -> object:
    return pytest.approx(list(values), abs=0.006)


def test_a_view_is_chosen_in_the_list_and_on_the_picture(page: Browser, tmp_path: Path) -> None:
    assert page.text("#views").splitlines()[0] == "bowl"
    page.click("#views li:nth-child(2) button")
    assert page.wait_for_text("#stable", "espresso")
    assert page.wait_for_text("#labels", "espresso")
    # The outline of the other one is where it can be clicked.
    x, y = page.run(
        "const box = document.querySelector('#outlines g').getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]"
    )
    click = {"x": x, "y": y, "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        page.cdp("Input.dispatchMouseEvent", type=kind, **click)
    assert page.wait_for_text("#stable", "Egyptian cat")
    folder = Path(os.environ.get("EDGECLASSIFIER_SCREENSHOTS", tmp_path))
    page.click("#draw")
    page.screenshot(folder / "views.png", whole=True)


def test_a_rectangle_is_drawn_moved_and_pulled_with_the_mouse(page: Browser) -> None:
    page.click("#draw")
    assert numbers(page) == about(*BOWL)
    drag(page, (0.5, 0.1), (0.98, 0.9))
    assert numbers(page) == about(0.5, 0.1, 0.48, 0.8)
    drag(page, (0.7, 0.5), (0.6, 0.45))
    assert numbers(page) == about(0.4, 0.05, 0.48, 0.8)
    drag(page, (0.4, 0.05), (0.57, 0.17))
    assert numbers(page) == about(0.57, 0.17, 0.31, 0.68)
    drag(page, (0.7, 0.5), (1.5, 0.5))
    assert numbers(page) == about(0.69, 0.17, 0.31, 0.68)
    drag(page, (0.8, 0.5), (0.67, 0.5))
    page.click("#rectangle-save")
    assert page.wait_for_text("#message", "The rectangle is saved.")
    # The view of the cat looks at the cup now.
    assert page.wait_for_text("#stable", "espresso")


def test_a_rectangle_is_drawn_with_a_finger(page: Browser) -> None:
    page.click("#draw")
    swipe(page, (0.56, 0.16), (0.94, 0.84))
    assert numbers(page) == about(0.56, 0.16, 0.38, 0.68)
    page.click("#rectangle-cancel")
    assert page.text("#rectangle") == ""
    page.click("#draw")
    assert numbers(page) == about(*BOWL)


def test_a_rectangle_is_set_by_the_keyboard_alone_and_taken_back(page: Browser) -> None:
    page.run("document.getElementById('draw').focus()")
    page.press(ENTER)
    assert page.focus() == "left"
    for value in ("56.2", "16.7", "200", "1"):
        page.run("document.activeElement.select()")
        page.press(*value)
        page.press(TAB)
    # What does not fit is moved to where it does.
    assert numbers(page) == about(0, 0.167, 1, 0.02)
    for focus, value in (("across", "37.5"), ("down", "66.7"), ("left", "56.2")):
        page.run(f"document.getElementById('{focus}').select()")
        page.press(*value)
        page.press(TAB)
    page.run("document.getElementById('down').focus()")
    page.press(ENTER)
    assert page.wait_for_text("#message", "The rectangle is saved.")
    assert page.focus() == "draw"
    assert page.wait_for_text("#stable", "espresso")
    page.press(ENTER)
    page.click("#rectangle-copy")
    assert page.wait("return document.getElementById('rectangle-message').textContent !== ''")
    page.click("#rectangle-configured")
    assert page.wait_for_text("#message", "The rectangle is the configured one.")
    assert page.wait_for_text("#stable", "Egyptian cat")


def test_what_another_page_has_changed_is_said(page: Browser) -> None:
    page.click("#draw")
    request = json.dumps({"view": "bowl", "region": GATE})
    page.run("await fetch('api/request/set_region', {method: 'POST', body: arguments[0]})", request)
    assert page.wait_for_text("#rectangle-message", "It was changed elsewhere meanwhile")


def test_what_is_copied_is_a_table_of_the_configuration(page: Browser) -> None:
    page.run(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => "
        "{ window.copied = text; }}})"
    )
    page.click("#draw")
    page.click("#rectangle-copy")
    assert page.wait_for_text("#rectangle-message", "Copied.")
    copied = tomllib.loads(page.run("return window.copied"))
    assert copied["views"]["bowl"]["region"] == about(*BOWL)
