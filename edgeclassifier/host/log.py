"""Where log lines go: stderr, with the priorities that the journal understands."""

import logging
import os
import sys

from edgeclassifier.host.terminal import lines

_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class _Formatter(logging.Formatter):
    """Lets no label, file name or answer of a server command the terminal that shows the log."""

    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record))


class _JournalFormatter(_Formatter):
    """Begins each line with <priority>, as sd-daemon(3) describes."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelname, 6)}>"
        return prefix + super().format(record).replace("\n", f"\n{prefix}")


def set_up_logging(level: str) -> None:
    """Log to stderr from `level` (debug, info, warning or error) up."""
    handler = logging.StreamHandler(sys.stderr)
    if under_systemd():
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # At debug it describes every chunk of every picture.
    logging.getLogger("PIL").setLevel(max(root.level, logging.INFO))


def under_systemd() -> bool:
    """Tell whether stderr is the journal, by the device and inode that systemd announces."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
