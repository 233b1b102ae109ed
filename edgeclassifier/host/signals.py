"""The wish to stop, or to read the configuration again, by a signal."""

import faulthandler
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from edgeclassifier.errors import EXIT_FAILURE
from edgeclassifier.host import threads

STOP_WITHIN_S = 4.5
"""After this the process ends, whatever hangs."""
_LAST_RESORT_S = 0.3


class StopSignal:
    """Is set by SIGTERM or SIGINT; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        # No locks: a signal's handler runs in the main thread, which may hold them just then.
        self._reload = False
        self.wanted = False
        """Whether to stop."""
        self._limit: Callable[[str], None] | None = None
        self.restart_wanted = False
        """Whether the daemon stops in order to be started again."""

    def install(self) -> None:
        """Take over the signals. Call it in the main thread, before anything that takes time."""
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGHUP, self._handle_reload)
        # Sent to processes of any kind, as a question or by mistake; by default they are deadly.
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def limit(self, on_overrun: Callable[[str], None]) -> None:
        """End the process STOP_WITHIN_S after a signal, even if it hangs.

        `on_overrun` is called just before, with the reason, if Python still runs.
        """
        self._limit = on_overrun

    def is_set(self) -> bool:
        """Tell whether to stop."""
        return self.wanted

    def set(self) -> None:
        """Stop for a reason that is no signal."""
        self.wanted = True

    def restart(self) -> None:
        """Stop, and leave with an exit code after which a service manager starts again."""
        self.restart_wanted = True
        self.wanted = True

    def take_reload(self) -> bool:
        """Tell whether SIGHUP came since the last call."""
        wanted = self._reload
        if wanted:
            # Not otherwise: a signal may come between the two lines.
            self._reload = False
        return wanted

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._limit is not None and not self.wanted:
            # A thread of C code, which needs no lock of Python's, in case that is stuck, too.
            faulthandler.dump_traceback_later(STOP_WITHIN_S + _LAST_RESORT_S, exit=True)
            threads.start(self._end_late, name="deadline")
        self.wanted = True

    def _handle_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True

    def _end_late(self) -> None:
        time.sleep(STOP_WITHIN_S)
        # Where it hangs is known now or never.
        faulthandler.dump_traceback(all_threads=True)
        if self._limit is not None:
            self._limit(f"did not end within {STOP_WITHIN_S:g} s of the signal: something hangs")
        os._exit(EXIT_FAILURE)
