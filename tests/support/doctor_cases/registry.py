"""Collects what may happen to a device, by the names of the functions that make it happen."""

from collections.abc import Callable
from dataclasses import dataclass

from edgeclassifier.doctor.findings import Level
from support.doctor_device import Device

Happening = Callable[[Device], object]


@dataclass(frozen=True, slots=True)
class Case:
    happens: Happening
    expected: frozenset[str]
    level: Level


CASES: dict[str, Case] = {}


def case(*expected: str, level: Level = Level.FAILURE) -> Callable[[Happening], Happening]:
    def register(happens: Happening) -> Happening:
        name = getattr(happens, "__name__", "")
        assert name not in CASES
        CASES[name] = Case(happens, frozenset(expected), level)
        return happens

    return register


warns = Level.WARNING


def fine(happens: Happening) -> Happening:
    return case(level=Level.OK)(happens)
