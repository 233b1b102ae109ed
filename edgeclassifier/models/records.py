"""What is written down about an installed model, and whether its file still agrees with it."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.host.durable import read_json, reason
from edgeclassifier.models.catalogue import Digest, DigestError

_SHA256 = re.compile("[0-9a-f]{64}")

Status = Literal["ok", "changed", "missing", "unreadable", "unrecorded", "unusable"]


@plain_data
class Teaching(Plain):
    """How a model was taught here."""

    base: str
    """Name of the model whose network it has."""
    base_sha256: str
    taught: str
    """UTC, ISO 8601; as wrong as the clock was."""
    classes: int
    examples: int
    judged: int
    """Examples that cross-validation answered."""
    accuracy: float
    """Top-1 of these."""
    interval: tuple[float, float]
    """In which the accuracy is with 95 %."""
    calibration_error: float


@plain_data
class Record(Plain):
    """What was known about a model file when it was installed."""

    sha256: str
    size_bytes: int
    source: str
    """The file or URL it came from."""
    added: str
    """UTC, ISO 8601; as wrong as the clock was."""
    settings: tuple[str, ...] = ()
    """Keys of the configuration that it was tried with."""
    taught: Teaching | None = None


@plain_data
class Verification(Plain):
    """Whether a model file is still the one that was installed."""

    name: str
    path: Path
    status: Status
    """`unrecorded`: the file was put there by hand, there is nothing to compare it with.

    `unusable`: it is the file that was installed, but is no image classifier that runs here.
    """
    detail: str = ""


def make_record(
    path: Path, *, source: str, settings: Sequence[str] = (), taught: Teaching | None = None
) -> Record:
    """Describe a model file. Raises OSError if it cannot be read."""
    return Record(
        sha256=Digest("sha256", "").measure(path).value,
        size_bytes=path.stat().st_size,
        source=source,
        added=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=tuple(settings),
        taught=taught,
    )


def record_text(record: Record) -> str:
    """Return what is written beside a model."""
    fields = asdict(record)
    if record.taught is None:
        del fields["taught"]
    return json.dumps(fields, indent=2) + "\n"


def verify_model(
    name: str, *, path: Path, record_path: Path, pinned: Digest | None
) -> Verification:
    """Compare a model file with its pinned digest or else with its record. Raises nothing."""
    status, detail = _compare(path, record_path, pinned)
    return Verification(name=name, path=path, status=status, detail=detail)


def _compare(path: Path, record_path: Path, pinned: Digest | None) -> tuple[Status, str]:
    try:
        expected = pinned or _recorded(record_path)
        if expected is None:
            return "unrecorded", "no record: install it with `edgeclassifier models add`"
        expected.verify(path)
    except FileNotFoundError:
        return "missing", "the file is gone"
    except DigestError as error:
        return "changed", f"expected {error.expected}, found {error.found}"
    except OSError as error:
        return "unreadable", reason(error)
    except ValueError as error:
        return "unreadable", f"{record_path} is damaged: {error}"
    return "ok", ""


def agrees(record_path: Path, path: Path) -> bool:
    """Tell without a look at the content whether a model file seems to be the recorded one.

    It was not written after its record, and has its size.
    """
    try:
        record = read_json(record_path)
        status = path.stat()
        older = status.st_mtime_ns <= record_path.stat().st_mtime_ns
    except (OSError, ValueError):
        return False
    return older and isinstance(record, dict) and record.get("size_bytes") == status.st_size


def recorded_settings(record_path: Path) -> tuple[str, ...]:
    """Return the keys that a model was tried with when it was installed; none if that is gone."""
    try:
        record = read_json(record_path)
    except (OSError, ValueError):
        return ()
    listed = record.get("settings") if isinstance(record, dict) else None
    return tuple(each for each in listed if isinstance(each, str)) if listed else ()


def recorded_teaching(record_path: Path) -> dict[str, Any] | None:
    """Return the fields of Teaching if a model was taught here, as far as they are legible."""
    try:
        record = read_json(record_path)
    except (OSError, ValueError):
        return None
    taught = record.get("taught") if isinstance(record, dict) else None
    return taught if isinstance(taught, dict) else None


def recorded_sha256(record_path: Path) -> str:
    """Return the hash in a record; "" if that is gone or damaged."""
    try:
        found = _recorded(record_path)
    except (OSError, ValueError):
        return ""
    return found.value if found else ""


def _recorded(path: Path) -> Digest | None:
    try:
        record = read_json(path)
    except FileNotFoundError:
        return None
    match record:
        case {"sha256": str(value)} if _SHA256.fullmatch(value):
            return Digest("sha256", value)
    raise ValueError("it holds no sha256")
