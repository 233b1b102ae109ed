"""One start of an accelerator, to see what comes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from edgeclassifier.accelerator.supervisor import Accelerator
from edgeclassifier.contract.status import AcceleratorStatus

_STOP_S = 5.0


@contextmanager
def attempt(
    build: Callable[[Callable[[AcceleratorStatus], None]], Accelerator],
) -> Iterator[tuple[Accelerator, AcceleratorStatus]]:
    """Start what `build` returns, wait for its first status, and let go of it in the end.

    `build` gets what the accelerator has to call on a change. The status comes by itself, within
    the time that loading may take.
    """
    outcome: SimpleQueue[AcceleratorStatus] = SimpleQueue()
    accelerator = build(outcome.put)
    accelerator.start()
    try:
        yield accelerator, outcome.get()
    finally:
        accelerator.stop(timeout_s=_STOP_S)
