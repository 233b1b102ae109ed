"""Requests as they come in over MQTT, and the answers to them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from edgeclassifier.contract.commands import check_arguments
from edgeclassifier.contract.message import Incoming, Message
from edgeclassifier.contract.payloads import JSON, encode
from edgeclassifier.errors import RequestError

_LARGEST_BYTES = 16 * 1024
_LONGEST_TRANSACTION = 256
_TRANSACTION = "transaction"


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


def read_request(incoming: Incoming, *, base: str) -> Request | None:
    """Read a message on `<base>/request/<command>`; None where it is no request at all.

    What is wrong with a request is its refusal: whoever asked is told.
    """
    command = incoming.topic.removeprefix(f"{base}/request/")
    if command == incoming.topic or not command.isidentifier() or not command.isascii():
        return None
    arguments: Mapping[str, Any] = {}
    transaction = refusal = None
    try:
        arguments, transaction = _read_payload(incoming.payload)
        check_arguments(command, arguments)
    except RequestError as error:
        refusal = str(error)
    return Request(
        command=command,
        arguments=arguments,
        transaction=transaction,
        reply_topic=_reply_topic(incoming.response_topic, f"{base}/response/{command}"),
        correlation=incoming.correlation,
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


def _reply_topic(wanted: str | None, usual: str) -> str:
    if wanted is None:
        return usual
    try:
        return Message(topic=wanted, payload=b"").topic
    except ValueError:
        return usual
