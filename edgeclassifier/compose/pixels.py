"""How a model's pixels are normalized: asks all that may say so, and keeps what was found."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.compose.golden import SAMPLES
from edgeclassifier.compose.model import ModelFile, model_store
from edgeclassifier.config import ModelConfig
from edgeclassifier.host.durable import read_json, write_text

if TYPE_CHECKING:
    from edgeclassifier.engine.classifier import Classifier
    from edgeclassifier.engine.normalization import Choice
    from edgeclassifier.models.metadata import Metadata

log = logging.getLogger(__name__)

_KEPT = "checked"
"""The folder in the model store for results, by the model's SHA-256."""
_RULES = 1
"""Goes up if the rules by which models are examined change: older results count no more."""


def choose_pixels(
    config: ModelConfig, model: ModelFile, classifier: "Classifier", metadata: "Metadata"
) -> "Choice":
    """Decide how pixels are normalized, and log what is not expected of it.

    Raises ModelError if that is unclear, or if what is configured does not fit the model.
    """
    from edgeclassifier.engine.normalization import choose_normalization
    from edgeclassifier.engine.preprocess import Normalization

    configured = Normalization(mean=config.mean, std=config.std) if config.mean else None
    choice = choose_normalization(
        model.path,
        classifier.input,
        configured=configured,
        stated=metadata.normalization,
        examine=lambda: _examine_once(config, model, classifier),
    )
    if choice.doubt:
        log.warning("%s: %s", model.path, choice.doubt)
    elif choice.reason:
        log.info("%s: %s", model.path, choice.reason)
    return choice


def _examine_once(config: ModelConfig, model: ModelFile, classifier: "Classifier") -> "Choice":
    file = model_store(config.store).root / _KEPT / f"{model.sha256()}.json"
    kept = _read(file)
    if kept is not None:
        return kept
    from edgeclassifier.engine.evidence import examine
    from edgeclassifier.engine.pictures import load_picture

    # Those that can be recognized, and others: the more they differ, the more they show.
    paths = sorted(SAMPLES.glob("*.*g"))
    choice = examine(model.path, classifier, {path.name: load_picture(path) for path in paths})
    _keep(file, choice)
    return choice


def _read(file: Path) -> "Choice | None":
    """Return a kept result; None if there is none, or none that counts."""
    from edgeclassifier.config.options import finite
    from edgeclassifier.engine.normalization import Choice
    from edgeclassifier.engine.preprocess import Normalization

    try:
        found = read_json(file)
    except (OSError, ValueError):
        return None
    match found:
        case {
            "rules": rules,
            "mean": [float(mean)],
            "std": [float(std)],
            "reason": str(reason),
            "doubt": str(doubt),
        } if rules == _RULES and finite(mean) and finite(std) and std > 0:
            return Choice(
                normalization=Normalization(mean=(mean,), std=(std,)), reason=reason, doubt=doubt
            )
    return None


def _keep(file: Path, choice: "Choice") -> None:
    result = {
        "rules": _RULES,
        "mean": choice.normalization.mean,
        "std": choice.normalization.std,
        "reason": choice.reason,
        "doubt": choice.doubt,
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(result, indent=2) + "\n")
    except OSError as error:
        # The daemon's user may not write there: it is examined again at the next start.
        log.debug("%s cannot be written: %s", file, error.strerror)
