"""A progress bar on a terminal, silence anywhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def progress(
    total: int | None,
    *,
    label: str,
    unit: str,
    initial: int = 0,
    shown: bool = True,
    stream: TextIO | None = None,
) -> Iterator[Callable[[int], object]]:
    """Show how far something is while the context lasts, which gives what counts units as done.

    `total`, None if it is not known, and `initial` count units, "B" for bytes; `initial` units were
    done earlier and do not count for the rate. Writes to standard error unless told otherwise, and
    only to a terminal.
    """
    stream = sys.stderr if stream is None else stream
    if not (shown and stream.isatty()):
        yield lambda _units: None
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
        yield bar.update
