"""Who gets a core when there are fewer than there is work."""

import os
import threading

LOWEST = 19


def background_nice(interpreter_threads: int) -> int:
    """Return the niceness for everything around the interpreter.

    Where the interpreter was given every core, the others must not interrupt it: its threads wait
    for each other after each layer, so one that is held up holds up all, while in between they
    leave a core idle for long enough. Where a core was left free, nobody is in anybody's way.
    """
    return LOWEST if interpreter_threads >= len(os.sched_getaffinity(0)) else 0


def be_nice(nice: int) -> None:
    """Set the niceness of the calling thread alone, as Linux has it; 0 changes nothing."""
    if nice:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
