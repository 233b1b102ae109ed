"""Programs that do as they are told, and programs that do not: each comes to an end."""

import sys
import time

import pytest

from edgeclassifier.host import children

SPEAK = "import os, sys, time; print('so far', flush=True); "


@pytest.mark.parametrize(
    ("program", "end", "code", "output"),
    [
        (SPEAK + "print(sys.stdin.read())", "answered", 0, "so far\ngiven\n"),
        (SPEAK + "sys.exit(3)", "answered", 3, "so far\n"),
        (SPEAK + "os.abort()", "crashed", 6, "so far\n"),
        (SPEAK + "os.kill(os.getpid(), 9)", "killed", 9, "so far\n"),
        (SPEAK + "time.sleep(60)", "late", None, "so far\n"),
        (SPEAK + "os.close(1); os.close(2); time.sleep(60)", "late", None, "so far\n"),
        (SPEAK + "os.fork() or time.sleep(60)", "late", None, "so far\n"),
        ("while True: print('x' * 1000)", "late", None, None),
    ],
    ids=[
        "talks",
        "fails",
        "crashes",
        "is killed",
        "hangs",
        "falls silent",
        "leaves a child",
        "never ends",
    ],
)
def test_a_program_comes_to_an_end(
    program: str, end: str, code: int | None, output: str | None
) -> None:
    started_s = time.monotonic()
    hangs = end == "late"
    command = [sys.executable, "-c", program]
    outcome = children.run(command, timeout_s=1.0 if hangs else 30.0, given="given")
    assert time.monotonic() - started_s < 30
    assert outcome.end == end
    assert code is None or code in {outcome.code, outcome.signal}
    # On a busy machine it may not have come to say anything.
    assert output is None or outcome.output == output or (hangs and not outcome.output)
    assert len(outcome.output) < 2_000_000


@pytest.mark.parametrize("command", [["/none"], ["/"], ["\0"], [""]])
def test_a_program_that_is_not_there(command: list[str]) -> None:
    assert children.run(command, timeout_s=1.0).end == "absent"


@pytest.mark.parametrize("program", ["time.sleep(60)", "os.close(1); os.close(2); time.sleep(60)"])
def test_a_program_that_is_no_longer_wanted(program: str) -> None:
    asked: list[None] = []

    def stopped() -> bool:
        asked.append(None)
        return len(asked) > 3

    command = [sys.executable, "-c", SPEAK + program]
    assert children.run(command, timeout_s=30.0, stopped=stopped).end == "stopped"
