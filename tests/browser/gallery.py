"""The gallery of kept pictures in a real Chromium: pytest tests/browser/gallery.py.

Not among the tests that are found by themselves, as page.py.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import ENTER, RIGHT, TAB, Browser, browsers, missing
from page_host import MARKUP, Host
from support.brokers import Mosquitto, wait_until
from support.kept import picture
from support.web_client import ask_port

from edgeclassifier.keep.store import Store

pytestmark = pytest.mark.timeout(180)

CARDS = "#pictures > li"
DELETE = "\ue017"
SCREENSHOTS = "EDGECLASSIFIER_SCREENSHOTS"


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    if absent := missing():
        pytest.fail(f"needs a browser: sudo apt install {' '.join(absent)}")
    with browsers() as starter:
        yield starter.start()


@pytest.fixture(scope="module")
def host(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Keep some real pictures, then no more, so that a test knows which there are."""
    host = Host(folder=tmp_path_factory.mktemp("host"), broker=broker, keeps=True)
    host.start()
    store = Store(host.folder / "state" / "kept")
    assert wait_until(lambda: len([*store.pictures()]) >= 4)
    assert ask_port(host.port, "POST", "/api/request/pause").status == 200
    [first, *_] = store.pictures()
    jpeg = store.jpeg(first.number)
    for kind, view in (("uncertain", "door"), ("random", "yard"), ("uncertain", "door")):
        store.add(picture(kind=kind, view=view, name="house finch"), jpeg, max_bytes=1 << 28)
    yield host
    host.kill()


@pytest.fixture
def store(host: Host) -> Store:
    return Store(host.folder / "state" / "kept")


@pytest.fixture
def page(host: Host, window: Browser, store: Store) -> Browser:
    for each in store.pictures():
        store.label(each.number, None)
    window.resize(1280, 900)
    window.open(f"{host.url}gallery")
    assert window.wait(f"return document.querySelectorAll('{CARDS}').length >= 5")
    return window


def button(number: int, which: int) -> str:
    return f"{CARDS}:nth-child({number}) .choices button:nth-child({which})"


def labels(store: Store) -> list[str | None]:
    return [each.label for each in store.pictures()]


def count_is(page: Browser, count: int) -> bool:
    return page.wait(f"return document.querySelectorAll('{CARDS}').length === arguments[0]", count)


def test_the_camera_s_page_leads_there_and_back(page: Browser, host: Host) -> None:
    page.open(host.url)
    assert page.wait_for_text("#link", "paused")
    page.click("#to-gallery")
    assert page.wait_for_text("h1", "Pictures worth keeping")
    page.click("header a")
    assert page.wait_for_text("#device", "porch")


def test_it_shows_all_that_is_kept_with_its_picture(page: Browser, store: Store) -> None:
    assert count_is(page, len([*store.pictures()]))
    assert page.wait(
        f"return [...document.querySelectorAll('{CARDS} img')].every((i) => i.naturalWidth === 260)"
    )
    assert page.text(f"{CARDS}:first-child .taken").split("\n") == ["house finch", "50 %"]
    assert "uncertain · door" in page.text(f"{CARDS}:first-child .hint")


def test_a_label_is_text_whatever_is_in_it(page: Browser, store: Store) -> None:
    store.label(next(iter(store.pictures())).number, "<b id=bad>x</b>")
    page.run("location.reload()")
    assert page.wait_for_text(f"{CARDS}:first-child .said", "It is: <b id=bad>x</b>")
    assert MARKUP in page.text("#pictures")
    assert page.count("#bad, #pictures i") == 0


@pytest.mark.parametrize(
    ("field", "value", "count"),
    [("view", "door", 2), ("kind", "random", 1), ("label", "house finch", 3)],
)
def test_it_can_be_narrowed(page: Browser, field: str, value: str, count: int) -> None:
    page.run(
        """
        const field = document.getElementById(arguments[0]);
        field.value = arguments[1];
        field.dispatchEvent(new Event("change", { bubbles: true }));
        """,
        *(field, value),
    )
    assert count_is(page, count)


def test_with_the_mouse_right_it_is_and_throw_away(page: Browser, store: Store) -> None:
    before = [*store.pictures()]
    page.click(button(1, 1))
    assert page.wait_for_text(f"{CARDS}:first-child .said", "✓ right")
    page.click(button(2, 2))
    page.type(f"{CARDS}:nth-child(2) .naming input", "brambling")
    page.click(f"{CARDS}:nth-child(2) .naming button[type=submit]")
    assert page.wait_for_text(f"{CARDS}:nth-child(2) .said", "It is: brambling")
    assert labels(store)[:3] == ["house finch", "brambling", None]
    # The same again takes it back.
    page.click(button(1, 1))
    assert wait_until(lambda: labels(store)[0] is None)
    page.click(button(3, 3))
    assert page.wait_for_text(button(3, 3), "Sure?")
    assert len([*store.pictures()]) == len(before)
    page.click(button(3, 3))
    assert count_is(page, len(before) - 1)
    assert [each.id for each in store.pictures()] == [
        each.id for each in before if each is not before[2]
    ]


def test_with_the_keyboard_alone(page: Browser, store: Store) -> None:
    before = [*store.pictures()]
    page.press(RIGHT, "r")
    assert page.wait_for_text(f"{CARDS}:first-child .said", "✓ right")
    page.press(RIGHT, "i")
    page.press(*"greenfinch", ENTER)
    assert page.wait_for_text(f"{CARDS}:nth-child(2) .said", "It is: greenfinch")
    assert labels(store)[:2] == ["house finch", "greenfinch"]
    assert page.focus().startswith("It is something else")
    page.press(RIGHT, DELETE, DELETE)
    assert count_is(page, len(before) - 1)
    # Without any shortcut: every control can be reached.
    page.press(TAB)
    assert page.focus().startswith(("Right", "It is"))


def test_with_a_finger_nothing_is_too_small_or_out_of_the_window(
    page: Browser, screenshots: Path
) -> None:
    page.resize(320, 640, mobile=True)
    page.click(button(1, 2))
    small = page.run(
        """
        return [...document.querySelectorAll("button, select, input, .button")]
          .filter((e) => e.checkVisibility())
          .map((e) => [e.textContent, e.getBoundingClientRect()])
          .filter(([, r]) => r.height < 43 || r.left < 0 || r.right > innerWidth)
          .map(([text]) => text);
        """
    )
    assert small == []
    assert page.run("return document.documentElement.scrollWidth") == 320
    page.screenshot(screenshots / "gallery-phone.png")


def test_it_looks_right(page: Browser, screenshots: Path) -> None:
    page.click(button(1, 1))
    page.click(button(2, 2))
    assert page.wait_for_text(f"{CARDS}:first-child .said", "✓ right")
    page.screenshot(screenshots / "gallery.png")


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = os.environ.get(SCREENSHOTS)
    return Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")


def test_what_goes_wrong_is_said(page: Browser, store: Store) -> None:
    gone = next(iter(store.pictures()))
    store.throw_away(gone.number)
    page.click(button(1, 1))
    assert page.wait_for_text(f"{CARDS}:first-child .message", f"no picture {gone.id} is kept here")
