"""A progress bar on a terminal, silence anywhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TextIO


class Progress(Protocol):
    """What the code that does the work sees."""

    def advance(self, n: int) -> None:
        """Count `n` more units as done."""


class ProgressFactory(Protocol):
    """What `progress` and `silent` have in common, for a function that takes either."""

    def __call__(
        self, total: int | None, *, label: str, unit: str, initial: int = 0
    ) -> AbstractContextManager[Progress]:
        """Start counting `total` units, None if it is not known how many there will be."""


class _Silent:
    def advance(self, n: int) -> None:
        pass


def silent(
    total: int | None,  # noqa: ARG001 - part of ProgressFactory
    *,
    label: str,  # noqa: ARG001 - part of ProgressFactory
    unit: str,  # noqa: ARG001 - part of ProgressFactory
    initial: int = 0,  # noqa: ARG001 - part of ProgressFactory
) -> AbstractContextManager[Progress]:
    """Show nothing."""
    return nullcontext(_Silent())


@contextmanager
def progress(
    total: int | None,
    *,
    label: str,
    unit: str,
    initial: int = 0,
    stream: TextIO | None = None,
) -> Iterator[Progress]:
    """Show how far something is while the context lasts.

    `total` and `initial` count units, "B" for bytes; `initial` units were done earlier and do not
    count for the rate. Writes to standard error unless told otherwise, and only to a terminal.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield _Silent()
        return
    from tqdm import tqdm

    with tqdm(
        total=total,
        desc=label,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        initial=initial,
        file=stream,
        dynamic_ncols=True,
    ) as bar:
        yield _Bar(bar.update)


class _Bar:
    def __init__(self, update: Callable[[float], object]) -> None:
        self._update = update

    def advance(self, n: int) -> None:
        self._update(n)
