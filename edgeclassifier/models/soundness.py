"""Whether a file from outside is a whole TFLite model, or a label file."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from edgeclassifier.errors import ModelError

MAX_MODEL_BYTES = 512 << 20
_MAX_LABELS_BYTES = 4 << 20

_IDENTIFIER_AT = 4
_IDENTIFIER = b"TFL3"
_CHUNK_BYTES = 1 << 20
_TRIAL_TIMEOUT_S = 120.0

# The signature and the version of a zip entry: a model's metadata is a zip behind the model.
_ZIP_ENTRY = re.compile(rb"PK\x03\x04[\x0a\x14\x2d]\x00")

_TRIAL = Path(__file__).with_name("trial_run.py")


def check_regular(file: Path, *, limit_bytes: int = MAX_MODEL_BYTES) -> None:
    """Raise ModelError where `file` is not a regular file that is neither empty nor too large."""
    try:
        if not file.exists():
            raise ModelError(f"{file} does not exist")
        if not file.is_file():
            raise ModelError(f"{file} is not a file")
        size = file.stat().st_size
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error
    if size == 0:
        raise ModelError(f"{file} is empty")
    if size > limit_bytes:
        raise ModelError(f"{file} is too large: {size} bytes, at most {limit_bytes} are taken")


def check_model(path: Path, *, shown: Path) -> None:
    """Raise ModelError where a file is no TFLite model, not the whole of one, or does not run.

    It is loaded and run once, in a process of its own with limited memory and time. Messages call
    it `shown`. Raises OSError where it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_IDENTIFIER_AT + len(_IDENTIFIER))
    if head[_IDENTIFIER_AT:] != _IDENTIFIER:
        raise ModelError(f"{shown} is not a TFLite model: it lacks the identifier TFL3 at byte 4")
    if _has_zip_entry(path) and not _is_whole_zip(path):
        raise ModelError(f"{shown} is truncated: the metadata at its end is not whole")
    try:
        loaded = subprocess.run(  # noqa: S603  the program is this Python and our own code
            [sys.executable, "-P", _TRIAL, path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TRIAL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{shown} could not be loaded and run within {_TRIAL_TIMEOUT_S:.0f} s"
        ) from None
    if loaded.returncode < 0:
        raise ModelError(
            f"{shown} is truncated or damaged: it crashes the TFLite runtime, "
            "or needs too much memory"
        )
    if loaded.returncode > 0:
        reason = (loaded.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(f"{shown} cannot be loaded and run, it may be truncated: {reason}")


def read_labels(file: Path) -> str:
    """Return the text of a label file, raise ModelError where it holds none."""
    check_regular(file, limit_bytes=_MAX_LABELS_BYTES)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{file} is not a label file: {error}") from error
    if not text.strip():
        raise ModelError(f"{file} holds no labels")
    return text


def _is_whole_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False  # damaged where it counts its parts


def _has_zip_entry(path: Path) -> bool:
    overlap = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if _ZIP_ENTRY.search(overlap + chunk):
                return True
            overlap = chunk[-5:]
    return False
