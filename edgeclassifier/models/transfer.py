"""One HTTP request for a part of a file, with deadlines that hold for all of it."""

import http.client
import queue
import re
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass

from edgeclassifier import __version__
from edgeclassifier.host import threads

_CHUNK_BYTES = 64 << 10
_QUEUED_CHUNKS = 8
_ABANDONED_CHECK_S = 0.2
# A name may stand for several addresses, and each is tried for the whole timeout.
_HEAD_TIMEOUTS = 4

_HTTP_RANGE_REFUSED = 416
_HTTP_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
_FILE_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class TransferError(Exception):
    """The transfer ended early. The message has no URL in it."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class RangeRefusedError(Exception):
    """The server has nothing behind the offset: the file is complete, or a different one."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where in the file the bytes that follow begin, and how long the whole file is."""

    start: int
    total: int | None


class Transfer:
    """Reads a URL from an offset on.

    The network is used on another thread and the caller waits on a queue: a socket's
    timeout bounds neither the resolving of a name nor a server that sends a byte now and then.
    """

    def __init__(self, *, url: str, start: int, timeout_s: float) -> None:
        headers = {"User-Agent": f"edgeclassifier/{__version__}"}
        if start:
            headers["Range"] = f"bytes={start}-"
        self._request = urllib.request.Request(url, headers=headers)  # noqa: S310  see fetch()
        self._timeout_s = timeout_s
        self._items: queue.Queue[Head | bytes | Exception] = queue.Queue(_QUEUED_CHUNKS)
        self._abandoned = threading.Event()
        threads.start(self._run, name="transfer", on_death=self._note_death)

    def head(self, *, within_s: float) -> Head:
        """Wait for the answer to begin. Raises TransferError and RangeRefusedError."""
        item = self._next(min(within_s, _HEAD_TIMEOUTS * self._timeout_s))
        if not isinstance(item, Head):
            raise TransferError("the answer has no beginning", retry=True)
        return item

    def chunk(self, *, within_s: float) -> bytes:
        """Wait for the next bytes, empty at the end. Raises TransferError."""
        item = self._next(min(within_s, self._timeout_s))
        if not isinstance(item, bytes):
            raise TransferError("the answer has two beginnings", retry=True)
        return item

    def close(self) -> None:
        """Leave the thread to itself: it ends by its own timeout."""
        self._abandoned.set()

    def _next(self, timeout_s: float) -> Head | bytes:
        try:
            item = self._items.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            raise TransferError(f"nothing came for {timeout_s:.1f} s", retry=True) from None
        if isinstance(item, Exception):
            raise _explained(item) from item
        return item

    def _note_death(self, _error: BaseException) -> None:
        self._put(TransferError("a fault in this program, see above", retry=False))

    def _run(self) -> None:
        # The opener takes the proxies from the environment.
        opener = urllib.request.build_opener()
        try:
            with opener.open(self._request, timeout=self._timeout_s) as response:
                alive = self._put(_head(response.status, response.headers))
                # read1 hands over what has come, read would wait for a full chunk.
                while alive and (chunk := response.read1(_CHUNK_BYTES)):
                    alive = self._put(chunk)
                self._put(b"")
        except urllib.error.HTTPError as error:
            error.close()
            self._put(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._put(error)

    def _put(self, item: Head | bytes | Exception) -> bool:
        while not self._abandoned.is_set():
            try:
                self._items.put(item, timeout=_ABANDONED_CHECK_S)
            except queue.Full:
                continue
            return True
        return False


def _head(status: int | None, headers: http.client.HTTPMessage) -> Head:
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if found is None:
            raise http.client.HTTPException("bad Content-Range")
        return Head(int(found[1]), None if found[2] == "*" else int(found[2]))
    length = headers.get("Content-Length", "")
    return Head(0, int(length) if length.isdecimal() else None)


def _explained(error: Exception) -> Exception:
    if isinstance(error, urllib.error.HTTPError):
        if error.code == _HTTP_RANGE_REFUSED:
            return RangeRefusedError()
        message = f"the server answered {error.code} {error.reason}"
        return TransferError(message, retry=error.code in _HTTP_WORTH_RETRYING)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        message = f"the server's certificate is refused: {cause.verify_message} (is the clock set?)"
        return TransferError(message, retry=False)
    if isinstance(cause, OSError):
        message = cause.strerror or str(cause) or type(cause).__name__
        return TransferError(message, retry=not isinstance(cause, _FILE_ERRORS))
    retry = isinstance(error, http.client.HTTPException)
    retry = retry and not isinstance(error, http.client.InvalidURL)
    return TransferError(str(cause) or type(cause).__name__, retry=retry)
