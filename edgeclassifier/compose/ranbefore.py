"""Remembers which model files have run here: one that has not may take its process with it."""

import json
import logging
from pathlib import Path

from edgeclassifier.compose.model import ModelFile, model_store
from edgeclassifier.config import ModelConfig
from edgeclassifier.host.durable import read_json, reason, write_text

log = logging.getLogger(__name__)

_RECORD = Path("checked", "ran.json")
_MOST = 64


def ran_before(config: ModelConfig, model: ModelFile) -> bool:
    """Tell whether a model needs no trial: it is a known one, was tried when added, or has run."""
    store = model_store(config.store)
    if model.known is not None:
        return True
    if model.path == store.root / f"{model.name}.tflite" and store.is_recorded(model.name):
        return True
    return _read(store.root / _RECORD).get(str(model.path.absolute())) == _version(model.path)


def note_that_it_ran(config: ModelConfig, model: ModelFile) -> None:
    """Spare a model file its trial from now on, until it changes."""
    version = _version(model.path)
    if version is None or ran_before(config, model):
        return
    file = model_store(config.store).root / _RECORD
    listed = _read(file)
    path = str(model.path.absolute())
    listed.pop(path, None)
    listed[path] = version
    newest = dict([*listed.items()][-_MOST:])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(newest, indent=1) + "\n")
    except OSError as error:
        # The daemon's user may not write there: it is tried again at the next start.
        log.debug("%s cannot be written: %s", file, reason(error))


def _read(file: Path) -> dict[str, object]:
    try:
        listed = read_json(file)
    except (OSError, ValueError):
        return {}
    return listed if isinstance(listed, dict) else {}


def _version(path: Path) -> list[int] | None:
    """Tell files of one name apart without reading them; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
