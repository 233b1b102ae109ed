"""Which threads get a core if there is more work than cores."""

import os
import threading

LOWEST = 19


def background_nice(interpreter_threads: int) -> int:
    """Return the niceness for everything around the interpreter.

    If the interpreter has every core, other threads must not interrupt it: its threads wait for
    each other after each layer, so that one that is held up holds up all; in between they leave a
    core idle for long enough. If a core is left free, no thread is in the way of another.
    """
    return LOWEST if interpreter_threads >= len(os.sched_getaffinity(0)) else 0


def be_nice(nice: int) -> None:
    """Set the niceness of the calling thread alone, as Linux has it; 0 changes nothing."""
    if nice:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
