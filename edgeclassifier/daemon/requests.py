"""Carries out the requests that come in over MQTT."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from edgeclassifier.contract.message import Incoming, Message
from edgeclassifier.control.envelope import Request, failure, read_request, success
from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.host.rates import TokenBucket

_MAX_WAITING = 10
_BURST = 10
_REFUSALS_HZ = 10.0
"""Whoever sends faster than this is not even told that it is too fast."""

Run = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Carries out a command with its arguments and returns the answer.

Raises EdgeclassifierError, whose text is the answer then.
"""

log = logging.getLogger(__name__)


class RequestHandler:
    """Takes requests in the session's thread and carries them out, in turn, in one of its own."""

    def __init__(self, *, base: str, allow: Collection[str], max_rate_hz: float) -> None:
        """Take requests below the topic `base` from now on, and keep them until start()."""
        self.base = base
        self._allow = allow
        self._requests = TokenBucket(rate_hz=max_rate_hz, burst=_BURST)
        self._refusals = TokenBucket(rate_hz=_REFUSALS_HZ, burst=_BURST)
        self._waiting: queue.Queue[Request | None] = queue.Queue(_MAX_WAITING)

    def start(self, *, run: Run, publish: Callable[[Message], bool]) -> None:
        """Begin to carry them out."""
        threading.Thread(
            target=self._serve, args=(run, publish), name="requests", daemon=True
        ).start()

    def receive(self, incoming: Incoming) -> None:
        """Take a message, if it is a request. Neither waits nor raises."""
        request = read_request(incoming, base=self.base)
        if request is None:
            return
        now_s = time.monotonic()
        if not self._requests.allows(now_s):
            if not self._refusals.allows(now_s):
                return
            request = replace(request, refusal="too many requests: ask again in some seconds")
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            log.debug("request %s dropped: too many are waiting", request.command)

    def stop(self) -> None:
        """Carry out no more; a request that is under way is not waited for."""
        while True:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                self._waiting.get_nowait()
            else:
                return

    def _serve(self, run: Run, publish: Callable[[Message], bool]) -> None:
        while (request := self._waiting.get()) is not None:
            publish(self._answer(request, run))

    def _answer(self, request: Request, run: Run) -> Message:
        if request.refusal is not None:
            return failure(request, request.refusal)
        if request.command not in self._allow:
            return failure(request, f"{request.command} is not among commands.allow of this device")
        log.info("request: %s %s", request.command, dict(request.arguments) or "")
        try:
            return success(request, run(request.command, request.arguments))
        except EdgeclassifierError as error:
            return failure(request, "; ".join(str(error).splitlines()))
        except Exception:
            # Whoever asks next is to be answered all the same.
            log.exception("request: %s", request.command)
            return failure(request, "a fault in the daemon: see its log")
