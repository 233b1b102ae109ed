"""Kept pictures as a folder for each label, with a file of labels that `evaluate` reads."""

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgeclassifier.contract.kept import KeptPicture
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import EdgeclassifierError, KeepError
from edgeclassifier.host.durable import reason, write_text
from edgeclassifier.host.files import create

LABELS_FILE = "labels.csv"
UNLABELLED = "_unlabelled"
_LONGEST_NAME = 60
_PLAIN = re.compile(r"\w(?:[\w -]*\w)?")
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)
"""What Windows has no files of."""


@plain_data
class Exported(Plain):
    """What an export has written."""

    pictures: int
    labels: int
    """How many different ones."""
    unlabelled: int
    problems: tuple[str, ...]
    """Of pictures that are left out: one line each."""


class Folders:
    """Names a folder for each label: safe on any disk, and never one for two labels."""

    def __init__(self) -> None:
        self._by_label: dict[str, str] = {}
        self._taken = {UNLABELLED.casefold()}

    def name(self, label: str) -> str:
        """Return the folder of a label; the same for the same label."""
        found = self._by_label.get(label)
        if found is None:
            found = safe_name(label)
            # Some disks do not tell upper from lower case.
            if found.casefold() in self._taken:
                found = _marked(found, label)
            self._taken.add(found.casefold())
            self._by_label[label] = found
        return found


def safe_name(label: str) -> str:
    """Return a label as the name of a file; one that cannot be that gets a mark of its own."""
    is_plain = (
        _PLAIN.fullmatch(label)
        and len(label) <= _LONGEST_NAME
        and len(label.encode()) <= 2 * _LONGEST_NAME
        and unicodedata.is_normalized("NFC", label)
        and not _RESERVED.fullmatch(label)
    )
    if is_plain:
        return label
    readable = re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", label)).strip("_-")
    return _marked(readable.encode()[:_LONGEST_NAME].decode(errors="ignore") or "label", label)


def _marked(name: str, label: str) -> str:
    return f"{name}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def export(
    pictures: Iterable[KeptPicture],
    folder: Path,
    *,
    read: Callable[[KeptPicture], bytes],
    unlabelled: bool,
) -> Exported:
    """Write the pictures that have a label, and with `unlabelled` the others, too.

    Those go to a folder of their own, and not into the file of labels. A picture that cannot be
    read, or is not what was kept, is left out and named. Raises KeepError if `folder` is there
    already and not empty, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise KeepError(f"{folder} is not empty: name a new folder")
        return _export(pictures, folder, read=read, unlabelled=unlabelled)
    except OSError as error:
        raise KeepError(f"{folder}: the export is not complete: {reason(error)}") from None


def _export(
    pictures: Iterable[KeptPicture],
    folder: Path,
    *,
    read: Callable[[KeptPicture], bytes],
    unlabelled: bool,
) -> Exported:
    folders = Folders()
    rows: list[tuple[str, str]] = []
    others = 0
    problems: list[str] = []
    for picture in pictures:
        if picture.label is None and not unlabelled:
            continue
        try:
            jpeg = _whole(picture, read)
        except EdgeclassifierError as error:
            problems.append(str(error))
            continue
        name = UNLABELLED if picture.label is None else folders.name(picture.label)
        (folder / name).mkdir(exist_ok=True)
        file = f"{name}/{picture.view}-{picture.id}.jpg"
        with create(folder / file) as opened:
            opened.write(jpeg)
        if picture.label is None:
            others += 1
        else:
            rows.append((file, picture.label))
    _write_labels(folder, rows)
    return Exported(
        pictures=len(rows),
        labels=len({label for _, label in rows}),
        unlabelled=others,
        problems=tuple(problems),
    )


def _whole(picture: KeptPicture, read: Callable[[KeptPicture], bytes]) -> bytes:
    jpeg = read(picture)
    if hashlib.sha256(jpeg).hexdigest() != picture.sha256:
        raise KeepError(f"picture {picture.id} is damaged: it is not what was kept")
    return jpeg


def _write_labels(folder: Path, rows: Sequence[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    # Python before 3.13 does not quote a carriage return, and then reads it as the end of a line.
    if any("\r" in label for _, label in rows):
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    else:
        writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "label"))
    writer.writerows(rows)
    write_text(folder / LABELS_FILE, text.getvalue())
