"""Opening files that a user has named."""

import errno
from io import BufferedReader
from pathlib import Path


def open_named(path: Path) -> BufferedReader:
    """Open a file for reading. Raises OSError.

    A pipe in a folder is refused, since opening it waits for somebody to write into it; those below
    /dev have a writer, the shell.
    """
    if path.is_fifo() and not path.is_relative_to("/dev"):
        raise OSError(errno.ESPIPE, "It is a pipe, not a file", str(path))
    return path.open("rb")
