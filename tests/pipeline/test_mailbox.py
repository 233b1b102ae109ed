"""The mailbox between two threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclassifier.pipeline.mailbox import Closed, Mailbox

PATIENCE_S = 20.0


def take_all(mailbox: Mailbox[int]) -> list[int]:
    taken = []
    try:
        while (item := mailbox.take(PATIENCE_S)) is not None:
            taken.append(item)
    except Closed:
        return taken
    pytest.fail("nothing was put and nobody closed")


@given(st.lists(st.sampled_from(["put", "take"])))
def test_the_newest_item_is_taken_and_every_other_is_counted(actions: list[str]) -> None:
    mailbox: Mailbox[int] = Mailbox()
    waiting: list[int] = []
    replaced = 0
    for number, action in enumerate(actions):
        if action == "put":
            mailbox.put(number)
            replaced += len(waiting)
            waiting = [number]
        else:
            assert mailbox.take(0) == (waiting.pop() if waiting else None)
        assert mailbox.replaced == replaced


def test_put_next_keeps_every_item_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox()

    def put_all() -> None:
        for number in range(500):
            assert mailbox.put_next(number)
        mailbox.close()

    with ThreadPoolExecutor() as pool:
        done = pool.submit(put_all)
        taken = take_all(mailbox)
        done.result(PATIENCE_S)
    assert taken == list(range(500))
    assert mailbox.replaced == 0


def test_items_put_faster_than_taken_never_go_backwards_and_the_last_arrives() -> None:
    mailbox: Mailbox[int] = Mailbox()

    def put_all() -> None:
        for number in range(5000):
            mailbox.put(number)
        mailbox.close()

    with ThreadPoolExecutor() as pool:
        done = pool.submit(put_all)
        taken = take_all(mailbox)
        done.result(PATIENCE_S)
    assert taken == sorted(set(taken))
    assert taken[-1] == 4999
    assert len(taken) + mailbox.replaced == 5000


def test_what_was_put_before_closing_can_still_be_taken() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put("last")
    mailbox.close()
    assert mailbox.take(0) == "last"
    with pytest.raises(Closed):
        mailbox.take(0)


def test_an_item_that_is_falsy_is_an_item() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(0)
    assert mailbox.take(0) == 0


def test_closing_wakes_who_waits_for_an_item() -> None:
    mailbox: Mailbox[int] = Mailbox()
    with ThreadPoolExecutor() as pool:
        taking = pool.submit(mailbox.take, PATIENCE_S)
        mailbox.close()
        with pytest.raises(Closed):
            taking.result(PATIENCE_S)


def test_closing_wakes_who_waits_for_an_empty_place() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.put_next(1)
    started = threading.Event()

    def put_second() -> bool:
        started.set()
        return mailbox.put_next(2)

    with ThreadPoolExecutor() as pool:
        putting = pool.submit(put_second)
        assert started.wait(PATIENCE_S)
        assert not putting.done()
        mailbox.close()
        assert putting.result(PATIENCE_S) is False
    assert mailbox.take(0) == 1


def test_taking_wakes_who_waits_for_an_empty_place() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    with ThreadPoolExecutor() as pool:
        putting = pool.submit(mailbox.put_next, 2)
        assert mailbox.take(PATIENCE_S) == 1
        assert putting.result(PATIENCE_S) is True
    assert mailbox.take(0) == 2


def test_nothing_is_put_after_closing() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.close()
    assert mailbox.put_next(1) is False
    with pytest.raises(Closed):
        mailbox.take(0)
