"""What is fed, and what holds for every message to a person."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A reader of files, and good files to begin with."""

    read: Callable[[bytes, Path], bool]
    """Feed it with bytes, in a folder of one's own; return whether it took them.

    Raises AssertionError where it broke a promise, and what it should not let out.
    """
    seeds: Callable[[], Sequence[bytes]]


def assert_one_line(message: str) -> None:
    assert len(message.splitlines()) <= 1, f"several lines: {message!r}"
    controls = [letter for letter in message if ord(letter) < ord(" ") or letter == "\x7f"]
    assert not controls, f"control characters: {message!r}"
