"""Whether a model file may be installed: what `check` asks of the configured one."""

from pathlib import Path

from edgeclassifier.config import Config
from edgeclassifier.doctor.machine import Machine
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.errors import ModelError, TrialError


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
    match trial.outcome.end:
        case "crashed":
            raise ModelError(f"{path}: crashes the TFLite runtime: it is damaged, copy it again")
        case "late":
            reason = "it has not answered in time"
        case "killed":
            reason = "its process was killed, for lack of memory or by another program"
        case _:
            reason = trial.outcome.last_words or "no reason given"
    raise TrialError(f"{path}: could not be tried: {reason}")


def _named(path: Path, doubt: object) -> str:
    return f"{path.stem}: {doubt}" if doubt else ""
