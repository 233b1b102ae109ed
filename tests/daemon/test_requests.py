"""Requests before they reach the daemon: read, refused, limited, answered."""

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.brokers import wait_until
from support.contract import SCHEMA, problems

from edgeclassifier.config import Config
from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.messages import Incoming, Message
from edgeclassifier.daemon.requests import (
    Request,
    RequestHandler,
    check_arguments,
    failure,
    matches,
    read_request,
    success,
)
from edgeclassifier.errors import ModelError, RequestError
from edgeclassifier.host.rates import TokenBucket

BASE = "home/porch"


def incoming(command: str, payload: object = b"", **more: Any) -> Incoming:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Incoming(topic=f"{BASE}/request/{command}", payload=content, **more)


def read(command: str, payload: object = b"", **more: Any) -> Request:
    request = read_request(incoming(command, payload, **more), base=BASE)
    assert request is not None
    return request


# Arguments


def test_the_configuration_allows_all_commands_but_those_that_need_to_be_named() -> None:
    assert set(COMMANDS) - set(Config().commands.allow) == {"label"}


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
NAMES = ("threshold", "model", "paused", "transaction", "label", "id", "limit", "kind", "")
ARGUMENTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)


def definition(command: str) -> str:
    own = f"request_{command}"
    return own if own in SCHEMA["$defs"] else "request"


@example("classify", {"transaction": 7.0})
@example("classify", {"transaction": 7.5})
@example("classify", {"transaction": 2.0**63})
@given(st.sampled_from(tuple(COMMANDS)), ARGUMENTS)
def test_what_is_accepted_is_what_the_contract_allows(
    command: str, payload: Mapping[str, Any]
) -> None:
    accepted = read(command, payload).refusal is None
    assert accepted == (problems(definition(command), payload) == [])


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("explode", {}, "'explode' is no command: there are classify, snapshot"),
        ("pause", {"now": True}, "pause takes no 'now': it takes paused"),
        ("resume", {"paused": False}, "resume takes no 'paused': it takes none"),
        ("pause", {"paused": 0}, "paused: expected true or false"),
        ("set_threshold", {}, "set_threshold needs 'threshold'"),
        ("set_threshold", {"threshold": "0.5"}, "threshold: expected a number from 0 to 1"),
        ("set_threshold", {"threshold": True}, "threshold: expected a number from 0 to 1"),
        ("set_model", {"model": ["a"]}, "model: expected the name of an installed model"),
    ],
)
def test_a_refusal_says_what_was_expected(
    command: str, arguments: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        check_arguments(command, arguments)


# Reading and answering


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"PRESS", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b"[" * 9000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"1", "not a JSON object"),
        (b" " * 20_000, "20000 bytes"),
        (b'{"transaction": {}}', "transaction: expected"),
        (b'{"transaction": true}', "transaction: expected"),
        (json.dumps({"transaction": "x" * 257}).encode(), "transaction: expected"),
    ],
)
def test_a_payload_that_is_no_request_is_refused(payload: bytes, said: str) -> None:
    refusal = read("pause", payload).refusal
    assert refusal is not None
    assert said in refusal


@pytest.mark.parametrize("payload", [b"", b"  \n", b"{}", {"transaction": None}])
def test_a_request_without_arguments_may_be_empty(payload: object) -> None:
    assert read("pause", payload).refusal is None


@pytest.mark.parametrize(
    "topic",
    [f"{BASE}/request", f"{BASE}/response/pause", "other/porch/request/pause"]
    + [f"{BASE}/request/{name}" for name in ("", "a/b", "pa use", "päuse", "../x", "$x")],
)
def test_what_is_on_another_topic_is_no_request(topic: str) -> None:
    assert read_request(Incoming(topic=topic, payload=b"{}"), base=BASE) is None


@pytest.mark.parametrize("transaction", ["", "a" * 256, 0, -(2**63), 2**63 - 1])
def test_the_answer_carries_the_transaction(transaction: str | int) -> None:
    request = read("pause", {"transaction": transaction})
    for message in (success(request, {"paused": True}), failure(request, "no")):
        payload = json.loads(message.payload)
        assert payload["transaction"] == transaction
        assert problems("response", payload) == []
    assert request.arguments == {}


def test_an_answer_without_transaction_has_none() -> None:
    payload = json.loads(success(read("pause"), {}).payload)
    assert payload == {"status": "ok", "data": {}}


@pytest.mark.parametrize(
    ("wanted", "topic"),
    [
        (None, f"{BASE}/response/pause"),
        (f"{BASE}/response/me", f"{BASE}/response/me"),
        (f"{BASE}/response/a/b/c", f"{BASE}/response/a/b/c"),
        ("answers/me", "answers/me"),
        *(
            (wanted, f"{BASE}/response/pause")
            for wanted in (
                "elsewhere/me",
                "answers/me/too",
                "homeassistant/status",
                f"{BASE}/availability",
                f"{BASE}/request/restart",
                f"{BASE}/response",
                f"{BASE}/response/" + "a/" * 250 + "x",
                f"{BASE}/response/" + "x" * 250,
                f"{BASE}/response//me",
                f"{BASE}/response/a\x07b",
                "answers/+",
                "answers//",
                "$SYS/broker/version",
                "$share/g/x",
                "",
                "#",
            )
        ),
    ],
)
def test_an_answer_goes_where_it_is_wanted_if_that_is_allowed(
    wanted: str | None, topic: str
) -> None:
    request = read_request(
        incoming("pause", response_topic=wanted, correlation=b"\0\1"),
        base=BASE,
        reply_topics=["answers/+", f"{BASE}/#"],
    )
    assert request is not None
    message = success(request, {})
    assert (message.topic, message.correlation, message.retain) == (topic, b"\0\1", False)


@pytest.mark.parametrize(
    ("topic", "pattern", "meant"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/+", True),
        ("a/b", "+/b", True),
        ("a/b", "#", True),
        ("a/b/c", "a/#", True),
        ("a", "a/#", True),
        ("a/b", "a", False),
        ("a", "a/+", False),
        ("ab/c", "a/#", False),
        ("a/b/c", "a/+", False),
    ],
)
def test_a_filter_means_what_it_means_to_a_broker(topic: str, pattern: str, meant: bool) -> None:
    assert matches(topic, pattern) is meant


def test_large_correlation_data_is_not_sent_back() -> None:
    request = read("pause", correlation=bytes(1025))
    assert request.correlation is None
    assert request.refusal == "correlation data of 1025 bytes: at most 1024 are sent back"
    assert read("pause", correlation=bytes(1024)).refusal is None


def test_an_answer_gets_one_try() -> None:
    assert success(read("pause"), {}).once


# Carrying out


class Device:
    """Carries out what it is asked, when it is let."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[Message] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def run(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        self.may_go_on.wait(10)
        self.asked.append((command, dict(arguments)))
        if command == "set_model":
            raise ModelError("no such model:\ntwo lines")
        if command == "reload":
            raise RuntimeError("a fault")
        return {"done": command}

    def publish(self, message: Message) -> bool:
        self.answers.append(message)
        return True

    def start(self, handler: RequestHandler) -> None:
        handler.start(run=self.run, publish=self.publish)

    def said(self, count: int) -> list[dict[str, Any]]:
        assert wait_until(lambda: len(self.answers) >= count), self.answers
        return [json.loads(each.payload) for each in self.answers]


def handler(
    *, allow: tuple[str, ...] = tuple(COMMANDS), max_rate_hz: float = 1000.0
) -> RequestHandler:
    return RequestHandler(base=BASE, allow=allow, max_rate_hz=max_rate_hz)


def test_requests_are_carried_out_in_turn_and_those_before_the_start_too() -> None:
    device, requests = Device(), handler()
    requests.receive(incoming("pause"))
    requests.receive(incoming("set_threshold", {"threshold": 0.5}))
    device.start(requests)
    requests.receive(incoming("resume"))
    said = device.said(3)
    requests.stop()
    assert [each["data"] for each in said] == [
        {"done": name} for name in ("pause", "set_threshold", "resume")
    ]
    assert device.asked[1] == ("set_threshold", {"threshold": 0.5})


def test_what_is_not_allowed_or_fails_is_answered_and_does_not_end_the_service() -> None:
    device, requests = Device(), handler(allow=("set_model", "pause"))
    device.start(requests)
    requests.receive(incoming("restart"))
    requests.receive(incoming("set_model", {"model": "x"}))
    requests.receive(incoming("pause", b"{"))
    requests.receive(incoming("pause"))
    said = device.said(4)
    requests.stop()
    assert [each["status"] for each in said] == ["error", "error", "error", "ok"]
    assert said[0]["error"] == "restart is not among commands.allow of this device"
    assert said[1]["error"] == "no such model:; two lines"
    assert device.asked == [("set_model", {"model": "x"}), ("pause", {})]


def test_a_fault_of_ours_is_answered_and_logged_and_the_next_request_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device, requests = Device(), handler()
    device.start(requests)
    requests.receive(incoming("reload"))
    requests.receive(incoming("pause"))
    said = device.said(2)
    requests.stop()
    assert [each["status"] for each in said] == ["error", "ok"]
    assert "RuntimeError: a fault" in caplog.text


def test_too_many_requests_are_refused_and_far_too_many_ignored() -> None:
    device, requests = Device(), handler(max_rate_hz=0.001)
    device.start(requests)
    for number in range(20):
        requests.receive(incoming("pause"))
        # Not faster than they are answered: how many may wait is another limit.
        device.said(number + 1)
    for _ in range(100):
        requests.receive(incoming("pause"))
    requests.stop()
    said = device.said(20)
    assert [each["status"] for each in said[:20]] == ["ok"] * 10 + ["error"] * 10
    assert "too many requests" in said[10]["error"]
    assert len(device.asked) == 10
    assert len(said) < 30


def test_a_command_that_takes_its_time_does_not_let_requests_pile_up() -> None:
    device, requests = Device(), handler(max_rate_hz=1e6)
    device.may_go_on.clear()
    device.start(requests)
    for _ in range(1000):
        requests.receive(incoming("pause"))
    device.may_go_on.set()
    requests.stop()
    assert wait_until(lambda: not any(t.name == "requests" for t in threading.enumerate()))
    assert len(device.asked) <= 12


def test_a_handler_that_was_not_started_can_be_stopped() -> None:
    requests = handler()
    for _ in range(20):
        requests.receive(incoming("pause"))
    requests.stop()


@given(st.lists(st.floats(0, 5), max_size=60))
def test_a_bucket_lets_through_a_burst_and_then_the_rate(pauses: list[float]) -> None:
    bucket = TokenBucket(rate_hz=2.0, burst=5)
    at_s, allowed = 1000.0, []
    for pause_s in pauses:
        at_s += pause_s
        if bucket.allows(at_s):
            allowed.append(at_s)
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            most = 5 + 2.0 * (allowed[last] - allowed[first])
            assert last - first + 1 <= most + 1e-6
