"""Whether a model file may be installed: what `check` asks of the configured one."""

from pathlib import Path

from edgeclassifier.compose.golden import failed_trial
from edgeclassifier.config import Config
from edgeclassifier.doctor.machine import Machine
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.errors import ModelError


def examine(config: Config) -> str | None:
    """Try the configured model in a child process, with its labels, on the sample pictures.

    Returns doubts about its labels or its pixels, if there are any. Raises ModelError if it is no
    image classifier that runs here, and TrialError if that did not become clear.
    """
    path = Path(config.model.name)
    trial = Subject(machine=Machine(), config=config).trial("model")
    results = trial.results
    if results.get("classified") is True:
        doubts = [results.get("doubt"), _named(path, results.get("pixels_doubt"))]
        return "; ".join(str(each) for each in doubts if each) or None
    if "error" in results:
        raise ModelError(str(results["error"]))
    raise failed_trial(str(path), trial.outcome, late="it has not answered in time")


def _named(path: Path, doubt: object) -> str:
    return f"{path.stem}: {doubt}" if doubt else ""
