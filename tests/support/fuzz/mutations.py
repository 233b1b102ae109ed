"""Damage for bytes: what bad cards, cut downloads, wrong editors and attackers do to a file."""

import random
from collections.abc import Callable, Sequence

_TELLING_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF, ord("\n"), ord('"'), ord("["), ord("="))
_TELLING_WORDS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_MOST_CHANGES = 8
_LONGEST_PIECE = 64

Places = Sequence[range]
"""The offsets that may be damaged."""


def mutate(content: bytes, chance: random.Random, places: Places | None = None) -> bytes:
    """Return `content` with one to eight changes, all within `places` where these are given."""
    data = bytearray(content)
    kept = places is not None
    for _ in range(chance.randint(1, _MOST_CHANGES)):
        if not data:
            break
        change = chance.choice(_IN_PLACE if kept else _ANY)
        change(data, chance, _offset(len(data), chance, places))
    return bytes(data)


def truncate(content: bytes, chance: random.Random) -> bytes:
    """Cut `content` somewhere."""
    return content[: chance.randrange(len(content))]


def _offset(length: int, chance: random.Random, places: Places | None) -> int:
    if places is None:
        return chance.randrange(length)
    place = chance.choices(places, [len(each) for each in places])[0]
    return chance.choice(place)


def _flip(data: bytearray, chance: random.Random, at: int) -> None:
    data[at] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random, at: int) -> None:
    data[at] = chance.randrange(256)


def _overwrite_tellingly(data: bytearray, chance: random.Random, at: int) -> None:
    data[at] = chance.choice(_TELLING_BYTES)


def _overwrite_word(data: bytearray, chance: random.Random, at: int) -> None:
    at -= at % 4
    word = chance.choice(_TELLING_WORDS).to_bytes(4, "little")
    data[at : at + 4] = word[: len(data) - at]


def _count(data: bytearray, chance: random.Random, at: int) -> None:
    data[at] = (data[at] + chance.choice((-2, -1, 1, 2))) % 256


def _remove(data: bytearray, chance: random.Random, at: int) -> None:
    del data[at : at + chance.randint(1, _LONGEST_PIECE)]


def _repeat(data: bytearray, chance: random.Random, at: int) -> None:
    piece = data[at : at + chance.randint(1, _LONGEST_PIECE)]
    data[at:at] = piece * chance.choice((1, 1, 2, 100))


def _insert(data: bytearray, chance: random.Random, at: int) -> None:
    data[at:at] = chance.randbytes(chance.randint(1, _LONGEST_PIECE // 8))


_IN_PLACE: tuple[Callable[[bytearray, random.Random, int], None], ...] = (
    _flip,
    _overwrite,
    _overwrite_tellingly,
    _overwrite_word,
    _count,
)
_ANY = (*_IN_PLACE, _remove, _repeat, _insert)
