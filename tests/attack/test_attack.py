"""The verdict on an attack: every bound counts, and so does each message that is missing."""

from typing import Any

import pytest

from attack.report import LEAST_RATE, Figures, table
from attack.witness import MIB, Messages


def test_figures_within_their_bounds_break_none() -> None:
    good = Figures(name="a", inputs=5, peak_bytes=149 * MIB, after_bytes=4 * MIB, rate=0.9)
    assert good.broken(least_rate=LEAST_RATE) == []
    assert Figures(name="b").broken(least_rate=LEAST_RATE) == []


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"crashes": 1}, "1 crashes"),
        ({"hangs": 2}, "2 hangs"),
        ({"tracebacks": 1}, "1 tracebacks"),
        ({"lost": 3}, "3 lost"),
        ({"peak_bytes": 151 * MIB}, "memory at the peak"),
        ({"after_bytes": 6 * MIB}, "memory after"),
        ({"rate": 0.5}, "rate 0.50"),
        ({"remarks": ["wrote to a/b"]}, "wrote to a/b"),
    ],
)
def test_each_bound_is_judged(figures: dict[str, Any], said: str) -> None:
    row = Figures(name="a", **figures)
    assert row.broken(least_rate=LEAST_RATE) == [said]
    assert len({len(line.rstrip()) > 0 for line in table([row], least_rate=LEAST_RATE)}) == 1


def test_a_message_that_does_not_come_is_lost_and_those_of_others_do_not_count() -> None:
    messages = Messages("root/porch")
    payload = '{"boot_id": "a", "seq": %d, "timestamp": "2026-01-01T00:00:0%dZ"}'
    for number in (0, 1, 3):
        messages.take("root/porch/cam0/predictions", (payload % (number, number)).encode())
    messages.take("root/other/cam0/predictions", (payload % (9, 9)).encode())
    assert (messages.predictions, messages.lost) == (3, 1)
    made_s = messages.newest_s
    assert messages.made(made_s - 2, made_s) == 2
