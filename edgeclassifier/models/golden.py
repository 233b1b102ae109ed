"""Pictures that belong to a model, with what it has to find in them: kept by the model's hash."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import ModelError
from edgeclassifier.host.durable import read_json, reason, write_text

_FOLDER = "golden"
_LIST = "golden.json"


@plain_data
class GoldenPicture(Plain):
    """A picture that the model answered right before it had seen it."""

    path: Path
    label: str


def read_golden(root: Path, sha256: str) -> tuple[GoldenPicture, ...]:
    """Return the pictures of a model in the store at `root`; none if it has none, or damaged."""
    folder = root / _FOLDER / sha256
    try:
        listed = read_json(folder / _LIST, largest_bytes=1 << 20)
    except (OSError, ValueError):
        return ()
    pictures = [
        GoldenPicture(path=folder / Path(each["file"]).name, label=str(each["label"]))
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and isinstance(each.get("file"), str) and "label" in each
    ]
    return tuple(each for each in pictures if each.path.is_file())


def has_golden(root: Path) -> bool:
    """Tell whether any model of the store at `root` has such pictures, without hashing one."""
    return (root / _FOLDER).is_dir()


def write_golden(root: Path, sha256: str, pictures: Sequence[tuple[str, bytes]]) -> None:
    """Keep pictures, as label and JPEG, for the model of this hash. Raises ModelError."""
    folder = root / _FOLDER / sha256
    part = folder.with_name(f".{sha256}.{os.getpid()}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        listed = []
        for number, (label, content) in enumerate(pictures):
            name = f"{number}.jpg"
            (part / name).write_bytes(content)
            listed.append({"file": name, "label": label})
        write_text(part / _LIST, json.dumps(listed, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    except OSError as error:
        raise ModelError(f"cannot install in {root}: {reason(error)}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def forget_golden(root: Path, sha256: str) -> None:
    """Remove the pictures of a model that is gone; "" is none."""
    if sha256:
        shutil.rmtree(root / _FOLDER / sha256, ignore_errors=True)
