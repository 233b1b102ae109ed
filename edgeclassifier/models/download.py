"""Fetches the catalogue's models: resumed, bounded, and checked before they get their name."""

import contextlib
import errno
import logging
import math
import shutil
import time
import urllib.parse
from pathlib import Path
from typing import BinaryIO

from edgeclassifier.errors import DownloadError
from edgeclassifier.host.files import continue_file
from edgeclassifier.host.progress import progress
from edgeclassifier.models.catalogue import CatalogueModel, DigestError
from edgeclassifier.models.soundness import MAX_MODEL_BYTES
from edgeclassifier.models.store import ModelStore
from edgeclassifier.models.transfer import RangeRefusedError, Transfer, TransferError

_LOG = logging.getLogger(__name__)

_MB = 1e6


def fetch(
    model: CatalogueModel,
    store: ModelStore,
    *,
    url: str | None = None,
    force: bool = False,
    timeout_s: float = 30.0,
    total_timeout_s: float | None = None,
    attempts: int = 5,
    retry_wait_s: float = 1.0,
    show_progress: bool = False,
) -> Path:
    """Install a model of the catalogue and return its file.

    What is installed and intact is not fetched again unless `force` is set. `url` names a mirror:
    the file, or with a slash at its end the folder that has it; https, http and file will do, as
    the content must have the catalogue's digest. `timeout_s` bounds each silence of the network,
    `total_timeout_s` everything, `attempts` the number of connections. The first retry waits
    `retry_wait_s`, each later one twice as long. An unfinished download stays in the store as
    `NAME.tflite.part` and is continued by the next call, also after a KeyboardInterrupt.

    Raises DownloadError if the file could not be downloaded or is another one, ModelError if the
    store cannot be written.
    """
    if (
        attempts < 1
        or timeout_s <= 0
        or retry_wait_s < 0
        or (total_timeout_s is not None and total_timeout_s <= 0)
    ):
        raise ValueError("timeouts and attempts must be positive")
    if model.bundled:
        return store.path(model.name)
    source = _source(model, url)
    if not force and store.intact(model):
        return store.path(model.name)
    with store.writing():
        part = store.part_path(model.name)
        download = _Download(
            url=source,
            name=model.name,
            part=part,
            timeout_s=timeout_s,
            total_timeout_s=total_timeout_s,
            attempts=attempts,
            retry_wait_s=retry_wait_s,
            show_progress=show_progress,
        )
        while True:
            continued = download.run()
            try:
                return store.adopt(part, model=model, source=_public(source))
            except DigestError as error:
                hint = _hint(part)
                part.unlink()
                if not continued:
                    raise DownloadError(
                        f"{_public(source)} is not {model.name}{hint}: "
                        f"expected {error.expected}, found {error.found}"
                    ) from error
            _LOG.warning("%s: what was kept does not fit what came now, starting over", model.name)


class _Download:
    """The attempts to complete one part file."""

    def __init__(
        self,
        *,
        url: str,
        name: str,
        part: Path,
        timeout_s: float,
        total_timeout_s: float | None,
        attempts: int,
        retry_wait_s: float,
        show_progress: bool,
    ) -> None:
        self._url = url
        self._name = name
        self._part = part
        self._timeout_s = timeout_s
        self._total_timeout_s = math.inf if total_timeout_s is None else total_timeout_s
        self._deadline_s = time.monotonic() + self._total_timeout_s
        self._attempts = attempts
        self._retry_wait_s = retry_wait_s
        self._show_progress = show_progress
        self._failures = 0

    def run(self) -> bool:
        """Complete the part file; return whether it was put together from several answers.

        Raises DownloadError if that did not succeed, OSError if it cannot be written.
        """
        while True:
            try:
                with continue_file(self._part) as part:
                    return self._attempt(part)
            except TransferError as error:
                self._retry_or_raise(error)
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    self._part.unlink(missing_ok=True)
                raise

    def _attempt(self, part: BinaryIO) -> bool:
        kept = part.tell()
        transfer = Transfer(url=self._url, start=kept, timeout_s=self._timeout_s)
        with contextlib.closing(transfer):
            try:
                head = transfer.head(within_s=self._remaining_s())
            except RangeRefusedError:
                return kept > 0
            if head.start != kept:
                part.truncate(0)
                kept = 0
                if head.start:
                    raise TransferError("the server sent another part of the file", retry=True)
            self._check_room(head.total, kept)
            done = kept
            with progress(
                head.total, label=self._name, unit="B", initial=kept, shown=self._show_progress
            ) as advance:
                while chunk := transfer.chunk(within_s=self._remaining_s()):
                    done += len(chunk)
                    self._check_size(done)
                    part.write(chunk)
                    part.flush()
                    advance(len(chunk))
        if head.total is not None and done < head.total:
            raise TransferError("the connection was cut", retry=True)
        return kept > 0

    def _remaining_s(self) -> float:
        remaining_s = self._deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise self._late()
        return remaining_s

    def _retry_or_raise(self, error: TransferError) -> None:
        self._remaining_s()
        self._failures += 1
        if not error.retry:
            raise DownloadError(f"cannot fetch {_public(self._url)}: {error}") from error
        if self._failures == self._attempts:
            raise DownloadError(
                f"gave up fetching {_public(self._url)} after {self._failures} attempts: "
                f"{error}{self._kept()}"
            ) from error
        if self._failures == 1:
            _LOG.warning("fetching %s was interrupted, trying again: %s", self._name, error)
        wait_s = self._retry_wait_s * 2.0 ** (self._failures - 1)
        time.sleep(min(wait_s, self._remaining_s()))
        self._remaining_s()

    def _late(self) -> DownloadError:
        return DownloadError(
            f"{_public(self._url)} was not fetched within {self._total_timeout_s:g} s{self._kept()}"
        )

    def _kept(self) -> str:
        kept = self._part.stat().st_size if self._part.exists() else 0
        return f"; {kept / _MB:.1f} MB are kept, fetch again to continue" if kept else ""

    def _check_room(self, total: int | None, kept: int) -> None:
        if total is None:
            return
        self._check_size(total)
        folder = self._part.parent
        free = shutil.disk_usage(folder).free
        if free < total - kept:
            self._part.unlink(missing_ok=True)
            raise DownloadError(
                f"no room for {self._name} in {folder}: it needs {(total - kept) / _MB:.1f} MB, "
                f"{free / _MB:.1f} MB are free"
            )

    def _check_size(self, size: int) -> None:
        if size > MAX_MODEL_BYTES:
            self._part.unlink(missing_ok=True)
            raise DownloadError(
                f"{_public(self._url)} is too large: over {MAX_MODEL_BYTES / _MB:.0f} MB"
            )


def _source(model: CatalogueModel, mirror: str | None) -> str:
    url = mirror or model.url
    if url is None:
        raise DownloadError(f"the catalogue has no address for {model.name}: give one (--url URL)")
    try:
        parts = urllib.parse.urlsplit(url)
        has_login = parts.username is not None or parts.password is not None
    except ValueError as error:
        raise DownloadError(f"{url!r} is not a URL: {error}") from error
    if has_login:
        raise DownloadError("the URL holds a user name or password, which is not supported")
    if parts.scheme not in {"https", "http", "file"} or not (parts.netloc or parts.path):
        raise DownloadError(f"{url!r} is not a URL of https, http or file")
    return url + model.file_name if url.endswith("/") else url


def _public(url: str) -> str:
    # The query of a signed URL is a secret.
    return urllib.parse.urlsplit(url)._replace(query="", fragment="").geturl()


def _hint(part: Path) -> str:
    with part.open("rb") as file:
        head = file.read(64)
    if not head:
        return " but an empty file"
    return " but a web page" if head.lstrip().startswith(b"<") else ""
