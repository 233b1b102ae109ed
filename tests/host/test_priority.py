"""The interpreter's threads come first if they were given every core."""

import os
import threading
from collections.abc import Callable

import pytest

from edgeclassifier.host.priority import LOWEST, background_nice, be_nice


@pytest.mark.parametrize(("threads", "cores", "nice"), [(4, 4, LOWEST), (3, 4, 0), (1, 1, LOWEST)])
def test_only_an_interpreter_with_every_core_is_not_to_be_interrupted(
    monkeypatch: pytest.MonkeyPatch, threads: int, cores: int, nice: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    assert background_nice(threads) == nice


def in_a_thread(act: Callable[[], int]) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join()
    return found[0]


def test_niceness_is_the_threads_own() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def after(nice: int) -> int:
        be_nice(nice)
        return niceness()

    before = niceness()
    assert in_a_thread(lambda: after(LOWEST)) == LOWEST
    assert in_a_thread(lambda: after(0)) == before
    assert niceness() == before
