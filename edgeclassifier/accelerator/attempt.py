"""One start of an accelerator, to see what comes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from edgeclassifier.accelerator.faults import Status
from edgeclassifier.accelerator.supervisor import Accelerator

_STOP_S = 5.0


@contextmanager
def attempt(
    build: Callable[[Callable[[Status], None]], Accelerator],
) -> Iterator[tuple[Accelerator, Status]]:
    """Start what `build` returns, wait for its first status, and let go of it in the end.

    `build` gets what the accelerator has to call on a change. The status comes by itself, within
    the time that loading may take.
    """
    outcome: SimpleQueue[Status] = SimpleQueue()
    accelerator = build(outcome.put)
    accelerator.start()
    try:
        yield accelerator, outcome.get()
    finally:
        accelerator.stop(timeout_s=_STOP_S)
