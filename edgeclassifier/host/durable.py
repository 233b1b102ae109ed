"""Files that are whole or not there, also after a power cut."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeclassifier.host.files import create, open_regular


def publish(part: Path, path: Path) -> None:
    """Give a finished file its final name. Both are in the same folder.

    Raises OSError.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Let what was made or renamed in a folder outlive a power cut. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_text(path: Path, text: str) -> None:
    """Write a small text file by way of `PATH.part`.

    Raises OSError.
    """
    with stage_text(path, text) as part:
        publish(part, path)


@contextmanager
def stage_text(path: Path, text: str) -> Iterator[Path]:
    """Write `PATH.part`, ready for publish() while the context lasts.

    Raises OSError.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with create(part) as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def copied(file: Path, part: Path) -> Iterator[Path]:
    """Copy `file` to `part`, which is gone after the context unless it was given a final name.

    Raises OSError.
    """
    try:
        with open_regular(file) as source, create(part) as target:
            shutil.copyfileobj(source, target)
        yield part
    finally:
        part.unlink(missing_ok=True)


def read_json(path: Path, *, largest_bytes: int = 64 << 10) -> Any:
    """Read back what was written with write_text() as JSON; what is larger counts as damaged.

    Raises OSError, and ValueError if it is damaged.
    """
    with open_regular(path) as file:
        content = file.read(largest_bytes)
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("lists lie too deep in it") from None


def reason(error: OSError) -> str:
    """Return what the system said and about which file, in one line."""
    said = error.strerror or str(error)
    return f"{said}: {error.filename}" if error.filename else said
