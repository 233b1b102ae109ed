import argparse
import contextlib
import errno
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from edgeclassifier.commands import models as models_command
from edgeclassifier.errors import DownloadError, ModelError
from edgeclassifier.models import download
from edgeclassifier.models.catalogue import CATALOGUE, CatalogueModel, Digest
from edgeclassifier.models.download import fetch
from edgeclassifier.models.store import ModelStore

CONTENT = random.Random(1).randbytes(1_000_000)
HALF = len(CONTENT) // 2
OTHER = random.Random(2).randbytes(len(CONTENT))
WAIT_S = 20.0
FOREVER_S = 1000.0  # longer than a test may last

Behaviour = Callable[["Handler"], None]


class Asked(NamedTuple):
    path: str
    range: str | None


class Server(ThreadingHTTPServer):
    """A mirror on loopback that answers each request as planned, and well when nothing is."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.plan: list[Behaviour] = []
        self.asked: list[Asked] = []
        self.ended = threading.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(Asked(self.path, self.headers["Range"]))
        behaviour = self.server.plan.pop(0) if self.server.plan else serve
        with contextlib.suppress(ConnectionError):
            behaviour(self)

    def log_message(self, *_args: object) -> None:
        pass

    def head(self, status: int, *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def serve(handler: Handler, *, until: int | None = None) -> None:
    """Answer properly, ranges included; break off at byte `until` of the file."""
    content = handler.server.content
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
    start = int(asked[1]) if asked else 0
    if asked and start >= len(content):
        handler.head(416, length=0)
        return
    if asked:
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.head(206, length=len(content) - start, Content_Range=span)
    else:
        handler.head(200, length=len(content))
    handler.wfile.write(content[start:until])


def cut(handler: Handler) -> None:
    serve(handler, until=HALF)


def ignore_range(handler: Handler) -> None:
    handler.head(200, length=len(handler.server.content))
    handler.wfile.write(handler.server.content)


def wrong_part(handler: Handler) -> None:
    handler.head(206, length=4, Content_Range=f"bytes 7-10/{len(CONTENT)}")
    handler.wfile.write(b"oops")


def without_length(handler: Handler) -> None:
    handler.head(200)
    handler.wfile.write(handler.server.content)


def status(code: int) -> Behaviour:
    return lambda handler: handler.head(code, length=0)


def web_page(handler: Handler) -> None:
    page = b"<!DOCTYPE html><title>Please log in</title>"
    handler.head(200, length=len(page))
    handler.wfile.write(page)


def too_large(handler: Handler) -> None:
    handler.head(200, length=1 << 40)
    handler.wfile.write(b"x")


def stall(handler: Handler) -> None:
    handler.head(200, length=len(CONTENT))
    handler.wfile.write(CONTENT[:HALF])
    handler.server.ended.wait(FOREVER_S)


def never_answer(handler: Handler) -> None:
    handler.server.ended.wait(FOREVER_S)


def trickle(handler: Handler) -> None:
    handler.head(200, length=len(CONTENT))
    for byte in CONTENT:
        handler.wfile.write(bytes([byte]))
        if handler.server.ended.wait(0.02):
            return


def trickle_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
    while not handler.server.ended.wait(0.02):
        handler.wfile.write(b"x")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.ended.set()
        running.shutdown()
        thread.join(WAIT_S)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxies do not lead to loopback."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(root=tmp_path / "store")


@pytest.fixture
def rose(server: Server, tmp_path: Path) -> CatalogueModel:
    """A model of the catalogue that lives on the test's server."""
    original = tmp_path / "original"
    original.write_bytes(CONTENT)
    return CatalogueModel(
        name="rose",
        file_name="rose.tflite",
        digest=Digest("git-blob-sha1", "").measure(original),
        url=f"{server.base}/pinned/rose.tflite",
        license="CC0-1.0",
        origin="test",
        labels=None,
        input_size=8,
    )


def get(model: CatalogueModel, store: ModelStore, *, url: str | None = None) -> Path:
    return fetch(model, store, url=url, timeout_s=WAIT_S, retry_wait_s=0.01)


def assert_installed(path: Path, store: ModelStore) -> None:
    assert path == store.root / "rose.tflite"
    assert path.read_bytes() == CONTENT
    assert sorted(file.name for file in store.root.iterdir()) == [
        ".lock",
        "rose.json",
        "rose.tflite",
    ]


def assert_nothing_installed(store: ModelStore, *, kept: bool) -> None:
    assert store.installed() == ()
    assert store.part_path("rose").exists() == kept


def test_fetches_once(server: Server, rose: CatalogueModel, store: ModelStore) -> None:
    assert_installed(get(rose, store), store)
    get(rose, store)
    assert server.asked == [Asked("/pinned/rose.tflite", None)]
    fetch(rose, store, force=True)
    assert len(server.asked) == 2


def test_damaged_model_is_fetched_again(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    path = get(rose, store)
    path.write_bytes(OTHER)
    assert_installed(get(rose, store), store)
    assert len(server.asked) == 2


@pytest.mark.parametrize("fault", [cut, status(503), status(429), never_answer])
def test_passing_faults_are_retried(
    server: Server, rose: CatalogueModel, store: ModelStore, fault: Behaviour
) -> None:
    server.plan = [fault]
    path = fetch(rose, store, timeout_s=0.3, retry_wait_s=0.01)
    assert_installed(path, store)
    assert len(server.asked) == 2


def test_cut_connection_is_resumed(server: Server, rose: CatalogueModel, store: ModelStore) -> None:
    server.plan = [cut]
    assert_installed(get(rose, store), store)
    assert [asked.range for asked in server.asked] == [None, f"bytes={HALF}-"]


def test_earlier_part_is_resumed(server: Server, rose: CatalogueModel, store: ModelStore) -> None:
    store.root.mkdir()
    store.part_path("rose").write_bytes(CONTENT[:100])
    assert_installed(get(rose, store), store)
    assert server.asked == [Asked("/pinned/rose.tflite", "bytes=100-")]


def test_server_may_ignore_the_range(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    server.plan = [cut, ignore_range]
    assert_installed(get(rose, store), store)
    assert len(server.asked) == 2


def test_wrong_part_of_the_file_is_not_taken(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    server.plan = [cut, wrong_part]
    assert_installed(get(rose, store), store)
    assert [asked.range for asked in server.asked] == [None, f"bytes={HALF}-", None]


def test_unknown_length(server: Server, rose: CatalogueModel, store: ModelStore) -> None:
    server.plan = [without_length]
    assert_installed(get(rose, store), store)


def test_part_that_is_complete_already(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    """The power went after the last byte: the server has nothing more (416)."""
    store.root.mkdir()
    store.part_path("rose").write_bytes(CONTENT)
    assert_installed(get(rose, store), store)
    assert len(server.asked) == 1


@pytest.mark.parametrize("part", [OTHER[:HALF], OTHER, OTHER + b"more"])
def test_part_of_another_file_is_dropped_and_fetched_anew(
    server: Server, rose: CatalogueModel, store: ModelStore, part: bytes
) -> None:
    store.root.mkdir()
    store.part_path("rose").write_bytes(part)
    assert_installed(get(rose, store), store)
    assert [asked.range for asked in server.asked] == [f"bytes={len(part)}-", None]


def test_wrong_content_is_refused(server: Server, rose: CatalogueModel, store: ModelStore) -> None:
    server.content = OTHER
    with pytest.raises(
        DownloadError, match=f"expected {rose.digest}, found git-blob-sha1 [0-9a-f]{{40}}"
    ):
        get(rose, store)
    assert_nothing_installed(store, kept=False)


def test_wrong_content_leaves_the_installed_model(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    get(rose, store)
    server.content = OTHER
    with pytest.raises(DownloadError):
        fetch(rose, store, force=True)
    assert_installed(store.root / "rose.tflite", store)


def test_login_page_is_called_a_web_page(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    server.plan = [web_page]
    with pytest.raises(DownloadError, match="web page"):
        get(rose, store)
    assert_nothing_installed(store, kept=False)


@pytest.mark.parametrize("code", [404, 403, 401, 416])
def test_lasting_refusals_are_not_retried(
    server: Server, rose: CatalogueModel, store: ModelStore, code: int
) -> None:
    server.plan = [status(code)]
    with pytest.raises(DownloadError, match=r"rose\.tflite"):
        get(rose, store)
    assert len(server.asked) == 1
    assert store.installed() == ()


def test_gives_up_after_bounded_attempts_and_keeps_the_part(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    server.plan = [cut, *[status(500)] * 100]
    with pytest.raises(DownloadError, match=r"after 5 attempts: .*500.*0\.5 MB are kept"):
        get(rose, store)
    assert len(server.asked) == 5
    assert_nothing_installed(store, kept=True)
    server.plan = []
    assert_installed(get(rose, store), store)
    assert server.asked[-1].range == f"bytes={HALF}-"


def test_nobody_listens(rose: CatalogueModel, store: ModelStore) -> None:
    with pytest.raises(DownloadError, match="Connection refused"):
        get(rose, store, url="http://127.0.0.1:1/rose.tflite")


def test_too_large_a_file_is_refused(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    server.plan = [too_large]
    with pytest.raises(DownloadError, match="too large"):
        get(rose, store)
    assert_nothing_installed(store, kept=False)


def test_size_is_limited_where_no_length_is_told(
    server: Server, rose: CatalogueModel, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeclassifier.models.download.MAX_MODEL_BYTES", HALF)
    server.plan = [without_length]
    with pytest.raises(DownloadError, match="too large"):
        get(rose, store)
    assert_nothing_installed(store, kept=False)


@pytest.mark.parametrize("fault", [stall, never_answer, trickle, trickle_headers])
def test_total_timeout_bounds_every_kind_of_slowness(
    server: Server, rose: CatalogueModel, store: ModelStore, fault: Behaviour
) -> None:
    """No single silence is long enough for `timeout_s`, which is longer than this test may last."""
    server.plan = [fault] * 10
    with pytest.raises(DownloadError, match=r"not fetched within 0\.5 s"):
        fetch(rose, store, timeout_s=1000.0, total_timeout_s=0.5, retry_wait_s=0.01)
    assert len(server.asked) == 1
    assert store.installed() == ()


def test_total_timeout_bounds_the_retries(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    server.plan = [status(503)] * 10
    with pytest.raises(DownloadError, match=r"not fetched within 0\.5 s"):
        fetch(rose, store, timeout_s=1000.0, total_timeout_s=0.5, retry_wait_s=1000.0)


def test_total_timeout_bounds_the_resolving_of_a_name(
    rose: CatalogueModel, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def resolve(*_args: object, **_options: object) -> list[object]:
        asked.set()
        ended.wait(FOREVER_S)
        raise OSError(errno.EHOSTUNREACH, "the test is over")

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    with pytest.raises(DownloadError, match=r"not fetched within 0\.5 s"):
        fetch(rose, store, url="http://mirror.invalid/", timeout_s=1000.0, total_timeout_s=0.5)
    assert asked.is_set()
    ended.set()


@pytest.mark.parametrize("path", ["/mirror/of/models/", "/mirror/of/models/rose.tflite"])
def test_mirror_is_a_file_or_a_folder(
    server: Server, rose: CatalogueModel, store: ModelStore, path: str
) -> None:
    assert_installed(get(rose, store, url=server.base + path), store)
    assert [asked.path for asked in server.asked] == ["/mirror/of/models/rose.tflite"]


def test_secret_of_a_signed_url_is_not_repeated(
    server: Server, rose: CatalogueModel, store: ModelStore
) -> None:
    server.plan = [status(403)]
    with pytest.raises(DownloadError) as caught:
        get(rose, store, url=f"{server.base}/rose.tflite?signature=secret")
    assert "secret" not in str(caught.value)
    get(rose, store, url=f"{server.base}/rose.tflite?signature=secret")
    assert "secret" not in (store.root / "rose.json").read_text()


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/", "data:,x", "rose.tflite", "https://", "http://[::1/", "http://me:pw@x/"],
)
def test_other_urls_are_refused(rose: CatalogueModel, store: ModelStore, url: str) -> None:
    with pytest.raises(DownloadError, match="URL"):
        get(rose, store, url=url)


def test_file_url(rose: CatalogueModel, store: ModelStore, tmp_path: Path) -> None:
    folder = tmp_path / "usb stick"
    folder.mkdir()
    with pytest.raises(DownloadError, match="No such file"):
        get(rose, store, url=f"{folder.as_uri()}/")
    (folder / "rose.tflite").write_bytes(CONTENT)
    store.part_path("rose").write_bytes(CONTENT[:100])
    assert_installed(get(rose, store, url=f"{folder.as_uri()}/"), store)


def test_proxy_of_the_environment_is_used(
    server: Server, rose: CatalogueModel, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name cannot be resolved, only the proxy can have answered."""
    monkeypatch.setenv("http_proxy", server.base)
    server.plan = [cut]
    assert_installed(get(rose, store, url="http://mirror.invalid/rose.tflite"), store)
    assert [asked.path for asked in server.asked] == ["http://mirror.invalid/rose.tflite"] * 2


INTERRUPTED = """
import sys
from pathlib import Path
from edgeclassifier.models.catalogue import CatalogueModel, Digest
from edgeclassifier.models.download import fetch
from edgeclassifier.models.store import ModelStore
algorithm, value, url, root = sys.argv[1:]
model = CatalogueModel(
    name="rose", file_name="rose.tflite", digest=Digest(algorithm, value), url=url, license="",
    origin="", labels=None, input_size=8,
)
fetch(model, ModelStore(root=Path(root)))
"""


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_process_is_continued(
    server: Server, rose: CatalogueModel, store: ModelStore, signal_number: int
) -> None:
    server.plan = [stall]
    arguments = [rose.digest.algorithm, rose.digest.value, str(rose.url), str(store.root)]
    part = store.part_path("rose")
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *arguments], stderr=subprocess.PIPE
    ) as process:
        deadline_s = time.monotonic() + WAIT_S
        while not part.exists() or part.stat().st_size < HALF:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        with pytest.raises(ModelError, match="another process"):
            get(rose, store)
        process.send_signal(signal_number)
        process.communicate(timeout=WAIT_S)
    assert process.returncode != 0
    assert_nothing_installed(store, kept=True)
    assert_installed(get(rose, store), store)
    assert [asked.range for asked in server.asked] == [None, f"bytes={HALF}-"]


def test_full_disk_is_told_before_anything_is_written(
    rose: CatalogueModel, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(
        "edgeclassifier.models.download.shutil.disk_usage", lambda _path: Usage(free=1000)
    )
    with pytest.raises(DownloadError, match=r"it needs 1\.0 MB, 0\.0 MB are free"):
        get(rose, store)
    assert_nothing_installed(store, kept=False)


def test_disk_that_fills_up_is_an_error_of_the_store(
    rose: CatalogueModel, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full takes the place of the part file: each write says there is no space."""
    monkeypatch.setattr(
        download, "continue_file", lambda _: os.fdopen(os.open("/dev/full", os.O_WRONLY), "ab")
    )
    with pytest.raises(ModelError, match="No space left on device"):
        get(rose, store)
    assert store.installed() == ()


def test_store_that_is_no_folder(rose: CatalogueModel, store: ModelStore) -> None:
    store.root.write_text("in the way")
    with pytest.raises(ModelError, match=r"not a folder|Not a directory"):
        get(rose, store)


def test_bundled_model_is_not_fetched(store: ModelStore) -> None:
    bundled = CATALOGUE["efficientnet_lite2_260_int8"]
    assert fetch(bundled, store, url="http://127.0.0.1:1/") == bundled.bundled_path


def test_timeouts_must_be_positive(rose: CatalogueModel, store: ModelStore) -> None:
    with pytest.raises(ValueError, match="positive"):
        fetch(rose, store, total_timeout_s=0)


def test_command_prints_the_file_and_nothing_else_on_stdout(
    server: Server,
    rose: CatalogueModel,
    store: ModelStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgeclassifier.commands.models.CATALOGUE", {"rose": rose})
    parser = argparse.ArgumentParser()
    models_command.add_parser(parser.add_subparsers())
    args = parser.parse_args(
        ["models", "fetch", "rose", "--url", f"{server.base}/", "--store", str(store.root)]
    )
    assert args.run(args) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{store.root / 'rose.tflite'}\n"
