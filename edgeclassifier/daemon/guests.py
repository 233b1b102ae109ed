"""TEMPORARY."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edgeclassifier.host.threads import OnDeath


class Guest(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Guests:
    def __init__(self, factories: Mapping[str, Callable[[OnDeath], Guest]]) -> None:
        self._f = factories
        self._g: list[Guest] = []
        self.status: tuple[Any, ...] = ()

    def start(self) -> None:
        for f in self._f.values():
            g = f(lambda e: None)
            g.start()
            self._g.append(g)

    def look_after(self) -> None: ...
    def stop(self) -> None:
        for g in reversed(self._g):
            g.stop()
