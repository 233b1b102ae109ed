"""The page in a real Chromium, with the real daemon behind it: pytest tests/browser/page.py.

Not among the tests that are found by themselves: it takes two minutes, and a browser.
"""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import ENTER, RIGHT, SPACE, TAB, Browser, Starter, browsers, missing
from page_host import MARKUP, OTHER_MODEL, Host
from support.brokers import Mosquitto, free_port
from support.daemon import SAMPLES
from support.mjpeg import MjpegServer, jpeg

pytestmark = pytest.mark.timeout(180)

CAT = "Egyptian cat"
LIVE = "return document.querySelector('#picture').src"
KEPT = "#kept > li"
SCREENSHOTS = "EDGECLASSIFIER_SCREENSHOTS"
"""Names the folder that the pictures of the page are written to."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Starter]:
    if absent := missing():
        pytest.fail(f"needs a browser: sudo apt install {' '.join(absent)}")
    with browsers() as starter:
        yield starter


@pytest.fixture(scope="module")
def host(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(folder=tmp_path_factory.mktemp("host"), broker=broker)
    host.start()
    yield host
    host.kill()


@pytest.fixture(scope="module")
def window(chromium: Starter) -> Browser:
    return chromium.start()


@pytest.fixture
def page(host: Host, window: Browser) -> Browser:
    """Open the page anew, as a desktop shows it, with pictures and labels there."""
    window.resize(1280, 900)
    window.prefer(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    window.open(host.url)
    assert window.wait_for_text("#link", "live"), window.text("body")
    assert window.wait("return document.querySelector('#picture').naturalWidth > 0")
    return window


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = os.environ.get(SCREENSHOTS)
    return Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")


def wait_for_kept(page: Browser, count: int) -> bool:
    return page.wait(
        "return document.querySelectorAll('#kept > li').length === arguments[0]", count
    )


def hand_over(
    page: Browser, kind: str, name: str, content: bytes, type_: str = "image/png"
) -> None:
    """Drop or paste a file, as the browser says it to the page."""
    page.run(
        """
        const [kind, name, content, type] = arguments;
        const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type }));
        const event = kind === "paste"
          ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
          : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
        """,
        *(kind, name, base64.b64encode(content).decode(), type_),
    )


def test_it_shows_what_the_camera_sees_and_goes_on(page: Browser) -> None:
    before = page.run(LIVE)
    assert page.wait(f"{LIVE} !== arguments[0]", before)
    assert page.run("return document.querySelector('#square').matches('.known')")
    assert page.count("#labels li") == 3
    assert page.wait_for_text("#stable", CAT)
    assert "%" in page.text("#labels li:first-child .score")
    width = "return document.querySelector('#labels .fill').getBoundingClientRect().width"
    assert page.run(width) > 100
    # The scene changes, and everything that says so with it.
    assert page.wait_for_text("#stable", "espresso")
    assert page.wait_for_text("#changes li:first-child", "espresso")
    assert page.wait_for_text("#labels li:first-child", "espresso")
    facts = page.text("#facts")
    assert "pictures/s" in facts
    assert "ms in the model" in facts
    assert "cpu" in facts
    assert "connected to 127.0.0.1" in facts
    assert page.text("#device") == "porch"


def test_a_label_is_text_whatever_is_in_it(page: Browser) -> None:
    assert page.wait_for_text("#labels li:first-child .name", MARKUP)
    assert page.wait_for_text("#stable", MARKUP)
    page.click("#take")
    assert wait_for_kept(page, 1)
    assert page.count("main i") == 0


def test_the_square_is_what_the_model_sees(page: Browser) -> None:
    box = page.run(
        """
        const image = document.querySelector('#picture');
        const place = image.getBoundingClientRect();
        const { naturalWidth: w, naturalHeight: h } = image;
        const scale = Math.min(place.width / w, place.height / h);
        const line = document.querySelector('#square .line').getBoundingClientRect();
        return { frame: [w * scale, h * scale],
                 line: [line.width, line.height],
                 middle: [line.x + line.width / 2 - place.x - place.width / 2,
                          line.y + line.height / 2 - place.y - place.height / 2] };
        """
    )
    assert box["line"][0] == pytest.approx(box["line"][1], rel=0.02)
    assert box["line"][1] / box["frame"][1] == pytest.approx(0.875, abs=0.02)
    assert box["middle"] == pytest.approx([0, 0], abs=1.5)


def test_classify_keeps_a_picture_with_its_result(page: Browser) -> None:
    for count in (1, 2):
        page.click("#take")
        assert wait_for_kept(page, count)
    assert page.run("return document.querySelector('#kept img').naturalWidth") > 100
    assert page.count("#kept > li:first-child .labels li") == 3
    kept = page.text(KEPT)
    assert CAT in kept or MARKUP in kept
    time.sleep(1)
    assert page.text(KEPT) == kept
    page.click("#kept button")
    assert wait_for_kept(page, 1)
    page.click("#kept button")
    assert wait_for_kept(page, 0)
    assert page.focus() == "take"
    assert not page.text("#kept-title")


def test_a_picture_of_ones_own_is_chosen_dropped_or_pasted(page: Browser) -> None:
    rocket, hopper = SAMPLES / "rocket.jpg", SAMPLES / "grace_hopper.jpg"
    page.type("#choose", str(rocket))
    assert wait_for_kept(page, 1)
    assert "rocket.jpg" in page.text(KEPT)
    assert "missile" in page.text(KEPT)
    hand_over(page, "dragover", hopper.name, b"")
    assert page.run("return getComputedStyle(document.querySelector('#drop')).display") == "grid"
    hand_over(page, "drop", "<b>hopper</b>.jpg", hopper.read_bytes())
    assert wait_for_kept(page, 2)
    assert page.run("return getComputedStyle(document.querySelector('#drop')).display") == "none"
    assert "<b>hopper</b>.jpg" in page.text(KEPT)
    hand_over(page, "paste", "image.png", (SAMPLES / "chelsea.png").read_bytes())
    assert wait_for_kept(page, 3)
    assert CAT in page.text(KEPT)
    squares = "return document.querySelectorAll('#kept .square.known').length"
    assert page.wait(f"{squares} === 3")


def test_what_is_no_picture_is_told_in_words(page: Browser) -> None:
    hand_over(page, "drop", "notes.txt", b"hello", "text/plain")
    assert page.wait_for_text("#message", "notes.txt: this picture: not a picture")
    assert page.count(KEPT) == 0


def test_pausing_is_shown_and_taken_back(page: Browser) -> None:
    page.click("#pause")
    assert page.wait_for_text("#link", "paused")
    assert page.text("#pause") == "Resume"
    assert page.wait_for_text("#stage-note", "Paused")
    page.click("#take")
    assert wait_for_kept(page, 1), page.text("#message")
    page.click("#pause")
    assert page.wait_for_text("#link", "live")
    assert page.text("#pause") == "Pause"
    before = page.run(LIVE)
    assert page.wait(f"{LIVE} !== arguments[0]", before)


def test_the_threshold_and_the_model_are_changed(page: Browser) -> None:
    assert page.wait_for_text("#threshold-value", "30 %")
    page.run("document.querySelector('#threshold').focus()")
    page.press(*[RIGHT] * 5)
    assert page.wait_for_text("#settings-message", "The threshold is 35 %.")
    assert page.count("#model option") == 2
    page.run("document.querySelector('#model').value = arguments[0]", OTHER_MODEL)
    page.click("#use-model")
    assert page.wait_for_text("#settings-message", f"{OTHER_MODEL} is in use.", timeout_s=90)
    # Its labels are its own.
    assert page.wait("return document.querySelector('#stable').innerText === 'espresso'")
    page.click("#as-configured")
    said = page.wait_for_text("#settings-message", "those of the configuration", timeout_s=90)
    assert said, page.text("#settings-message")
    assert page.wait_for_text("#threshold-value", "30 %")
    assert page.wait("return document.querySelector('#model').value !== arguments[0]", OTHER_MODEL)
    assert page.wait_for_text("#stable", MARKUP)


def test_everything_can_be_done_with_keys(page: Browser) -> None:
    reached = []
    for _ in range(10):
        page.press(TAB)
        reached.append(page.focus())
        if reached[-1] == "BODY":
            break
        outline = page.run(
            "const e = document.activeElement; const shown = e.closest('.button') ?? e;"
            "return getComputedStyle(shown).outlineStyle"
        )
        assert outline != "none", f"{reached[-1]} does not show that it has the focus"
    wanted = ["take", "pause", "choose", "draw", "model", "use-model", "threshold", "as-configured"]
    assert [each for each in reached if each in wanted] == wanted
    page.run("document.querySelector('#take').focus()")
    page.press(ENTER)
    assert wait_for_kept(page, 1)
    page.press(TAB, SPACE)
    assert page.wait_for_text("#link", "paused")
    page.press(SPACE)
    assert page.wait_for_text("#link", "live")
    page.press(TAB, TAB, TAB)
    assert page.focus().startswith("Remove the picture of")
    page.press(ENTER)
    assert wait_for_kept(page, 0)


def test_it_says_when_the_daemon_is_gone_and_goes_on_when_it_is_back(
    page: Browser, host: Host, screenshots: Path
) -> None:
    page.click("#take")
    assert wait_for_kept(page, 1)
    host.kill()
    assert page.wait_for_text("#link", "not connected")
    assert page.wait_for_text("#notice", "No connection since")
    page.screenshot(screenshots / "gone.png")
    page.click("#take")
    assert page.wait_for_text("#message", "The device does not answer.")
    host.start()
    assert page.wait_for_text("#link", "live")
    assert page.text("#notice") == ""
    before = page.run(LIVE)
    assert page.wait(f"{LIVE} !== arguments[0]", before)
    assert page.wait("return document.querySelector('#picture').naturalWidth > 0")
    assert page.count(KEPT) == 1, "what was kept is lost"
    page.click("#take")
    assert wait_for_kept(page, 2)


def test_a_hidden_page_asks_for_nothing(page: Browser) -> None:
    page.run(
        """
        Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
        await new Promise((resolve) => setTimeout(resolve, 500));
        performance.clearResourceTimings();
        """
    )
    time.sleep(2)
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    page.run(
        """
        Object.defineProperty(document, "visibilityState", { value: "visible" });
        document.dispatchEvent(new Event("visibilitychange"));
        """
    )
    assert page.wait("return performance.getEntriesByType('resource').length > 3")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width(page: Browser, width: int, scheme: str, screenshots: Path) -> None:
    """Nothing stands out to the side, whatever the names are."""
    page.resize(width, 844, mobile=width < 768, scale=2 if width < 768 else 1)
    page.prefer(prefers_color_scheme=scheme)
    page.click("#take")
    hand_over(page, "drop", "IMG" + "_2026" * 30 + ".png", (SAMPLES / "coffee.png").read_bytes())
    assert wait_for_kept(page, 2)
    assert page.wait("return document.querySelectorAll('#kept .square.known').length === 2")
    page.screenshot(screenshots / f"{scheme}-{width}.png", whole=True)
    assert page.run("return document.documentElement.scrollWidth") <= width
    outside = page.run(
        "return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()"
        " && !e.closest('.unseen, .drop')"
        " && e.getBoundingClientRect().right > arguments[0] + 0.5)"
        ".map((e) => e.outerHTML.slice(0, 80))",
        width,
    )
    assert outside == []
    small = page.run(
        "return [...document.querySelectorAll('button, select, .button, input[type=range]')]"
        ".filter((e) => e.offsetParent && e.offsetHeight < 32).map((e) => e.id || e.innerText)"
    )
    assert small == [], "too small for a finger"


@pytest.fixture(scope="module")
def unrelated(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(folder=tmp_path_factory.mktemp("unrelated"), broker=broker, unrelated=True)
    host.start()
    yield host
    host.kill()


SHIFTS = """
    const moved = [];
    const button = () => {
        const { x, y, width } = document.querySelector("#take").getBoundingClientRect();
        return [x, y + scrollY, width].join();
    };
    const places = new Set();
    const labels = new Set();
    const observer = new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            moved.push([entry.value, entry.sources.map((s) => s.node?.id || s.node?.className)]);
        }
    });
    observer.observe({ type: "layout-shift", buffered: true });
    const until = performance.now() + 10000;
    while (performance.now() < until) {
        places.add(button());
        labels.add(document.querySelector("#labels .name")?.innerText);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return { moved, places: [...places], labels: [...labels] };
"""


@pytest.mark.parametrize(("width", "height"), [(390, 844), (360, 640), (320, 568), (1280, 900)])
def test_nothing_moves_while_labels_and_shapes_change(
    window: Browser,
    unrelated: Host,
    screenshots: Path,
    figures: Callable[[str], None],
    *,
    width: int,
    height: int,
) -> None:
    window.resize(width, height, mobile=width < 768, scale=2 if width < 768 else 1)
    window.open(unrelated.url)
    seen = window.run(SHIFTS)
    shift = sum(value for value, _ in seen["moved"])
    figures(f"{width}x{height}: layout shift {shift:.4f}, {len(seen['labels'])} labels")
    for scheme in ("light", "dark"):
        window.prefer(prefers_color_scheme=scheme)
        window.screenshot(screenshots / f"unrelated-{width}-{scheme}.png")
    assert len(seen["labels"]) > 2
    assert shift < 0.05, seen["moved"]
    assert len(seen["places"]) == 1, seen["places"]
    # In sight without scrolling, also below a tall picture.
    bottom = "return document.querySelector('#take').getBoundingClientRect().bottom"
    assert window.run(bottom) < height
    assert "each picture may be another scene" in window.text("#holds")


def test_a_broker_that_is_not_there_is_said_at_the_top(
    window: Browser, broker: Mosquitto, tmp_path: Path, screenshots: Path
) -> None:
    host = Host(folder=tmp_path, broker=broker, broker_port=free_port())
    host.start()
    try:
        for width, height in ((390, 844), (1280, 900)):
            window.resize(width, height, mobile=width < 768)
            window.open(host.url)
            assert window.wait_for_text("#link", "live here, not sent")
            assert window.wait_for_text("#notice", "Nothing is sent: MQTT broker 127.0.0.1:")
            box = "return document.querySelector('#notice').getBoundingClientRect().bottom"
            assert window.run(box) < 200
            assert window.text("#delivery") == ""
            window.screenshot(screenshots / f"unsent-{width}.png")
    finally:
        host.kill()


def test_a_camera_that_is_lost_does_not_look_live(
    window: Browser, broker: Mosquitto, tmp_path: Path, screenshots: Path
) -> None:
    camera = MjpegServer()
    camera.picture = jpeg(120, (640, 480))
    host = Host(folder=tmp_path, broker=broker, stream_url=camera.url(user=""))
    try:
        host.start()
        window.resize(390, 844, mobile=True, scale=2)
        window.open(host.url)
        assert window.wait_for_text("#link", "live")
        camera.close()
        assert window.wait_for_text("#link", "no new picture")
        assert window.wait_for_text("#stage-note", "No new picture since")
        assert window.text("#answer-title") == "It saw"
        window.screenshot(screenshots / "lost.png")
        assert window.wait_for_text("#notice", "Camera: ", timeout_s=60)
    finally:
        host.kill()
        camera.close()


def test_a_name_from_right_to_left_keeps_its_beginning(window: Browser, unrelated: Host) -> None:
    window.resize(320, 568)
    window.open(unrelated.url)
    assert window.wait("return document.querySelector('#labels .name')?.innerText")
    for each in ("#stable", "#labels .name", "#changes li span"):
        assert window.run(f"return document.querySelector('{each}').dir") == "auto"


def test_the_name_of_a_class_is_large_and_its_other_names_are_small(
    window: Browser, unrelated: Host
) -> None:
    window.resize(390, 844)
    window.open(unrelated.url)
    assert window.wait("return document.querySelector('#labels .rest')?.innerText")
    name, rest, title = window.run(
        "const li = document.querySelector('#labels li:first-child');"
        "return [...['.name', '.rest'].map((e) => li.querySelector(e).innerText), li.title]"
    )
    assert "," not in name
    assert f"{name}, {rest}".removesuffix(", ") == title
    sizes = window.run(
        "return ['.name', '.rest'].map((e) =>"
        " document.querySelector('#labels li:first-child ' + e))"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert sizes[0] > sizes[1]


def test_nothing_moves_for_who_does_not_want_it(page: Browser) -> None:
    moving = "return getComputedStyle(document.querySelector('.fill')).transitionDuration"
    assert page.run(moving) != "0s"
    page.prefer(prefers_reduced_motion="reduce")
    assert page.run(moving) == "0s"


def test_a_screen_reader_is_told_names_and_not_too_much(page: Browser) -> None:
    tree = page.cdp("Accessibility.getFullAXTree")["nodes"]
    for node in tree:
        role = node.get("role", {}).get("value")
        if role in {"button", "combobox", "slider", "img", "image"} and not node["ignored"]:
            assert node["name"]["value"], f"a {role} without a name"
    said: list[str] = page.run(
        """
        const said = [];
        const say = document.querySelector("#say");
        new MutationObserver(() => said.push(say.innerText)).observe(say, { childList: true });
        await new Promise((resolve) => setTimeout(resolve, 11000));
        return said;
        """
    )
    assert 1 <= len(said) <= 3, said
    live = page.run(
        "const live = document.querySelectorAll('[aria-live], [role=status], [role=alert]');"
        "return [...live].map((e) => e.id)"
    )
    assert set(live) == {
        *("notice", "message", "settings-message", "rectangle-message", "say"),
    }


def test_without_the_password_nothing_is_shown(
    chromium: Starter, host: Host, tmp_path: Path
) -> None:
    protected = Host(folder=tmp_path, broker=host.broker, password="open sesame")
    protected.start()
    window = chromium.start()
    try:
        window.open(protected.url.replace("//", "//me:guess@"))
        # Without a screen, the dialog that asks again is not there either.
        assert window.text("body") == ""
        assert window.count("#picture") == 0
        window.open(protected.url.replace("//", "//me:open%20sesame@"))
        assert window.wait_for_text("#link", "live")
        assert window.wait("return document.querySelector('#picture').naturalWidth > 0")
        window.click("#take")
        assert wait_for_kept(window, 1)
    finally:
        protected.kill()


def test_the_console_has_nothing_to_complain_of(
    page: Browser, figures: Callable[[str], None]
) -> None:
    page.complaints()
    page.click("#take")
    assert wait_for_kept(page, 1)
    assert page.complaints() == []
    sizes = page.run(
        "return performance.getEntriesByType('resource').filter((e) => e.initiatorType !== 'fetch')"
        ".map((e) => [e.name.split('/').at(-1), e.encodedBodySize])"
    )
    figures(f"{sum(size for _, size in sizes)} bytes of page: {json.dumps(sizes)}")
