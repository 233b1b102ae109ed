"""Requests that come in over MQTT: read, carried out one after the other, and answered."""

import json
import logging
import queue
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.messages import JSON, Incoming, Message, encode
from edgeclassifier.errors import EdgeclassifierError, RequestError
from edgeclassifier.host import threads
from edgeclassifier.host.rates import TokenBucket

_LARGEST_BYTES = 16 * 1024
_LONGEST_TRANSACTION = 256
_LARGEST_CORRELATION_BYTES = 1024
_LONGEST_TOPIC = 256
_MOST_LEVELS = 8
"""What AWS IoT allows; it closes the connection for more."""
_TRANSACTION = "transaction"
_MOST_COMPLAINTS = 20
_MAX_WAITING = 10
_BURST = 10
_REFUSALS_HZ = 10.0
"""Above this rate a sender is not even told that it is too fast."""

Run = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Carries out a command with its arguments and returns the answer.

Raises EdgeclassifierError, whose text is the answer then.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked, and where the answer goes."""

    command: str
    reply_topic: str
    correlation: bytes | None
    arguments: Mapping[str, Any]
    transaction: str | int | None = None
    """Whatever the sender told its requests apart by."""
    refusal: str | None = None
    """Why it is not carried out."""
    elsewhere: str | None = None
    """Where the answer is wanted, but may not go."""


def check_arguments(command: str, arguments: Mapping[str, Any]) -> None:
    """Raise RequestError unless `arguments` are all that the command needs, and no more."""
    row = COMMANDS.get(command)
    if row is None:
        raise RequestError(f"{command[:40]!r} is no command: there are {', '.join(COMMANDS)}")
    if (problem := row.problem(arguments)) is not None:
        raise RequestError(problem)


def read_request(
    incoming: Incoming, *, base: str, reply_topics: Collection[str] = ()
) -> Request | None:
    """Read a message on `<base>/request/<command>`; None if it is no request at all.

    What is wrong with a request is its refusal, which the sender is told. An answer that is wanted
    elsewhere than below `<base>/response/`, or on a topic of the filters in `reply_topics`, goes to
    the usual topic.
    """
    command = incoming.topic.removeprefix(f"{base}/request/")
    if command == incoming.topic or not command.isidentifier() or not command.isascii():
        return None
    arguments: Mapping[str, Any] = {}
    transaction = refusal = None
    try:
        _check_correlation(incoming.correlation)
        arguments, transaction = _read_payload(incoming.payload)
        check_arguments(command, arguments)
    except RequestError as error:
        refusal = str(error)
    wanted, usual = incoming.response_topic, f"{base}/response/{command}"
    reply_topic = _reply_topic(wanted, usual=usual, base=base, filters=reply_topics)
    return Request(
        command=command,
        arguments=arguments,
        transaction=transaction,
        reply_topic=reply_topic,
        elsewhere=None if wanted in (None, reply_topic) else wanted,
        correlation=incoming.correlation if _fits(incoming.correlation) else None,
        refusal=refusal,
    )


def success(request: Request, data: Mapping[str, Any]) -> Message:
    """Answer that it is done."""
    return _answer(request, {"status": "ok", "data": data})


def failure(request: Request, why: str) -> Message:
    """Answer that it is not done."""
    return _answer(request, {"status": "error", "data": {}, "error": why})


def _answer(request: Request, fields: dict[str, Any]) -> Message:
    if request.transaction is not None:
        fields[_TRANSACTION] = request.transaction
    return Message(
        topic=request.reply_topic,
        payload=encode(fields),
        content_type=JSON,
        correlation=request.correlation,
        once=True,
    )


def _fits(correlation: bytes | None) -> bool:
    return correlation is None or len(correlation) <= _LARGEST_CORRELATION_BYTES


def _check_correlation(correlation: bytes | None) -> None:
    if correlation is not None and not _fits(correlation):
        raise RequestError(
            f"correlation data of {len(correlation)} bytes: at most "
            f"{_LARGEST_CORRELATION_BYTES} are sent back"
        )


def _read_payload(payload: bytes) -> tuple[Mapping[str, Any], str | int | None]:
    if len(payload) > _LARGEST_BYTES:
        raise RequestError(f"a request of {len(payload)} bytes: at most {_LARGEST_BYTES} are read")
    try:
        fields = json.loads(payload.strip() or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RequestError("the request is not JSON: send an object, or nothing") from None
    if not isinstance(fields, dict):
        raise RequestError('the request is not a JSON object: send {"name": value}, or nothing')
    return fields, _transaction(fields.pop(_TRANSACTION, None))


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)


def _transaction(value: Any) -> str | int | None:
    if value is None or (isinstance(value, str) and len(value) <= _LONGEST_TRANSACTION):
        return value
    # JSON has one kind of number: 7.0 is as whole as 7.
    whole = type(value) is int or (type(value) is float and value.is_integer())
    if whole and -(2**63) <= value < 2**63:
        return int(value)
    raise RequestError(
        f"transaction: expected a string of at most {_LONGEST_TRANSACTION} characters, or a "
        "whole number"
    )


def _reply_topic(wanted: str | None, *, usual: str, base: str, filters: Collection[str]) -> str:
    """Return where the answer goes: the device writes with its own rights, not the sender's."""
    if wanted is None or wanted == usual:
        return usual
    if _is_plain_topic(wanted, most_levels=max(_MOST_LEVELS, base.count("/") + 3)):
        if wanted.startswith(f"{base}/response/"):
            return wanted
        # Its other topics mean something to those who listen to the device.
        if not wanted.startswith(f"{base}/") and any(matches(wanted, each) for each in filters):
            return wanted
    return usual


def _is_plain_topic(topic: str, *, most_levels: int) -> bool:
    """Tell whether brokers in use take a topic: some close the connection for others."""
    levels = topic.split("/")
    return (
        len(topic.encode(errors="replace")) <= _LONGEST_TOPIC
        and len(levels) <= most_levels
        and all(levels)
        and not topic.startswith("$")
        and not any(each in "+#" for each in topic)
        and topic.isprintable()
    )


def matches(topic: str, pattern: str) -> bool:
    """Tell whether a topic is one of those that a filter of MQTT means."""
    levels, wanted = topic.split("/"), pattern.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(levels) == len(wanted) and all(
        want in ("+", level) for level, want in zip(levels, wanted, strict=True)
    )


class RequestHandler:
    """Takes requests in the session's thread and carries them out, in turn, in one of its own."""

    def __init__(
        self,
        *,
        base: str,
        allow: Collection[str],
        max_rate_hz: float,
        reply_topics: Collection[str] = (),
    ) -> None:
        """Take requests below the topic `base` from now on, and keep them until start().

        Answers go below `<base>/response/`, or to topics of the filters in `reply_topics`.
        """
        self.base = base
        self._reply_topics = reply_topics
        self._allow = allow
        self._requests = TokenBucket(rate_hz=max_rate_hz, burst=_BURST)
        self._refusals = TokenBucket(rate_hz=_REFUSALS_HZ, burst=_BURST)
        self._complaints: set[str] = set()
        self._waiting: queue.Queue[Request | None] = queue.Queue(_MAX_WAITING)

    def start(self, *, run: Run, publish: Callable[[Message], bool]) -> None:
        """Begin to carry them out."""
        threads.start(self._serve, args=(run, publish), name="requests")

    def receive(self, incoming: Incoming) -> None:
        """Take a message, if it is a request. Neither waits nor raises."""
        request = read_request(incoming, base=self.base, reply_topics=self._reply_topics)
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
            if request.elsewhere is not None:
                self._complain(request.elsewhere[:_LONGEST_TOPIC], request.reply_topic)
            publish(self._answer(request, run))

    def _complain(self, wanted: str, topic: str) -> None:
        level = logging.DEBUG if wanted in self._complaints else logging.WARNING
        if len(self._complaints) < _MOST_COMPLAINTS:
            self._complaints.add(wanted)
        log.log(
            level,
            "an answer is wanted on %r, but goes to %s: commands.reply_topics allows other topics",
            wanted,
            topic,
        )

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
            # The next request is to be answered all the same.
            log.exception("request: %s", request.command)
            return failure(request, "a fault in the daemon: see its log")
