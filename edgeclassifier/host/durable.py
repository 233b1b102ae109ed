"""Files that are whole or not there, also after a power cut."""

import os
from pathlib import Path

from edgeclassifier.host.files import create


def publish(part: Path, path: Path) -> None:
    """Give a finished file its final name. Both are in the same folder.

    Raises OSError.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a small text file by way of `PATH.part`.

    Raises OSError.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with create(part) as file:
            file.write(text.encode())
        publish(part, path)
    finally:
        part.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """Return what the system said and about which file, in one line."""
    said = error.strerror or str(error)
    return f"{said}: {error.filename}" if error.filename else said
