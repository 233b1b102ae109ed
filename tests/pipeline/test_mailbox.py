"""The mailbox between two threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclassifier.pipeline.mailbox import Closed, Mailbox, Turns

PATIENCE_S = 20.0


def one() -> tuple[Turns[int], Mailbox[int]]:
    turns: Turns[int] = Turns()
    return turns, turns.mailbox()


def take_all(turns: Turns[int]) -> list[int]:
    taken = []
    try:
        while (item := turns.take(PATIENCE_S)) is not None:
            taken.append(item)
    except Closed:
        return taken
    pytest.fail("nothing was put and nobody closed")


@given(st.lists(st.sampled_from(["put", "take"])))
def test_the_newest_item_is_taken_and_every_other_is_counted(actions: list[str]) -> None:
    turns, mailbox = one()
    waiting: list[int] = []
    replaced = 0
    for number, action in enumerate(actions):
        if action == "put":
            mailbox.put(number)
            replaced += len(waiting)
            waiting = [number]
        else:
            assert turns.take(0) == (waiting.pop() if waiting else None)
        assert mailbox.replaced == replaced


def test_put_next_keeps_every_item_in_order() -> None:
    turns, mailbox = one()

    def put_all() -> None:
        for number in range(500):
            assert mailbox.put_next(number)
        turns.close()

    with ThreadPoolExecutor() as pool:
        done = pool.submit(put_all)
        taken = take_all(turns)
        done.result(PATIENCE_S)
    assert taken == list(range(500))
    assert mailbox.replaced == 0


def test_items_put_faster_than_taken_never_go_backwards_and_the_last_arrives() -> None:
    turns, mailbox = one()

    def put_all() -> None:
        for number in range(5000):
            mailbox.put(number)
        turns.close()

    with ThreadPoolExecutor() as pool:
        done = pool.submit(put_all)
        taken = take_all(turns)
        done.result(PATIENCE_S)
    assert taken == sorted(set(taken))
    assert taken[-1] == 4999
    assert len(taken) + mailbox.replaced == 5000


def test_what_was_put_before_closing_can_still_be_taken() -> None:
    turns, mailbox = one()
    mailbox.put(7)
    turns.close()
    assert turns.take(0) == 7
    with pytest.raises(Closed):
        turns.take(0)


def test_an_item_that_is_falsy_is_an_item() -> None:
    turns, mailbox = one()
    mailbox.put(0)
    assert turns.take(0) == 0


def test_closing_wakes_who_waits_for_an_item() -> None:
    turns, _ = one()
    with ThreadPoolExecutor() as pool:
        taking = pool.submit(turns.take, PATIENCE_S)
        turns.close()
        with pytest.raises(Closed):
            taking.result(PATIENCE_S)


def test_closing_wakes_who_waits_for_an_empty_place() -> None:
    turns, mailbox = one()
    assert mailbox.put_next(1)
    started = threading.Event()

    def put_second() -> bool:
        started.set()
        return mailbox.put_next(2)

    with ThreadPoolExecutor() as pool:
        putting = pool.submit(put_second)
        assert started.wait(PATIENCE_S)
        assert not putting.done()
        turns.close()
        assert putting.result(PATIENCE_S) is False
    assert turns.take(0) == 1


def test_taking_wakes_who_waits_for_an_empty_place() -> None:
    turns, mailbox = one()
    mailbox.put(1)
    with ThreadPoolExecutor() as pool:
        putting = pool.submit(mailbox.put_next, 2)
        assert turns.take(PATIENCE_S) == 1
        assert putting.result(PATIENCE_S) is True
    assert turns.take(0) == 2


def test_nothing_is_put_after_closing() -> None:
    turns, mailbox = one()
    turns.close()
    assert mailbox.put_next(1) is False
    with pytest.raises(Closed):
        turns.take(0)


def test_mailboxes_are_emptied_in_turn_however_fast_one_is_filled() -> None:
    turns: Turns[str] = Turns()
    busy, quiet = turns.mailbox(), turns.mailbox()
    busy.put("a")
    quiet.put("b")
    for _ in range(5):
        busy.put("newer")
    assert [turns.take(0), turns.take(0), turns.take(0)] == ["newer", "b", None]
    for _ in range(3):
        busy.put("c")
        quiet.put("d")
        busy.put("e")
        assert [turns.take(0), turns.take(0)] == ["e", "d"]
    assert (busy.replaced, quiet.replaced) == (8, 0)


def test_an_item_that_gave_way_leaves_its_room() -> None:
    """As when a live camera takes the place of files."""
    turns, mailbox = one()
    assert mailbox.put_next(1)
    mailbox.put(2)
    assert turns.take(0) == 2
    with ThreadPoolExecutor() as pool:
        assert pool.submit(mailbox.put_next, 3).result(PATIENCE_S) is True


def test_closing_wakes_who_waits_at_any_of_them() -> None:
    turns: Turns[int] = Turns()
    mailboxes = [turns.mailbox() for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        for each in mailboxes:
            assert each.put_next(0)
        putting = [pool.submit(each.put_next, 1) for each in mailboxes]
        turns.close()
        assert [each.result(PATIENCE_S) for each in putting] == [False] * 3


def test_nothing_is_lost_between_many_mailboxes_and_one_taker() -> None:
    turns: Turns[tuple[int, int]] = Turns()
    mailboxes = [turns.mailbox() for _ in range(8)]

    def put_all() -> None:
        for number in range(2000):
            for name, each in enumerate(mailboxes):
                each.put((name, number))
        turns.close()

    newest = dict.fromkeys(range(8), -1)
    with ThreadPoolExecutor() as pool:
        done = pool.submit(put_all)
        taken = 0
        try:
            while (item := turns.take(PATIENCE_S)) is not None:
                name, number = item
                assert number > newest[name]
                newest[name], taken = number, taken + 1
        except Closed:
            pass
        done.result(PATIENCE_S)
    assert set(newest.values()) == {1999}
    assert taken + sum(each.replaced for each in mailboxes) == 16_000
