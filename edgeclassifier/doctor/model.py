"""The model's file and its labels."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeclassifier.config.options import model_file
from edgeclassifier.doctor import pixels
from edgeclassifier.doctor.findings import NOT_TRIED, REINSTALL, Finding, Level, Problem, fine
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.errors import EXIT_CONFIG, ModelError, TrialError

if TYPE_CHECKING:
    from edgeclassifier.compose.model import ModelFile
    from edgeclassifier.config import Config

ABSENT = Problem(
    id="model.absent",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The model is not there",
    meaning="`model.name` names a model that is not installed, or a file that does not exist.",
    remedy="`edgeclassifier models fetch {name}` for one of the catalogue, `edgeclassifier models "
    "add FILE --labels LABELS --name {name}` for your own (the labels if they are not in it), "
    "on an installed device with `sudo`; `edgeclassifier models list` shows both",
)
CHANGED = Problem(
    id="model.changed",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The model is not the file that was installed",
    meaning="Its hash differs from the catalogue's or from the one noted at its installation: it "
    "was damaged, or replaced by hand.",
    remedy="`edgeclassifier models fetch --force {name}` for one of the catalogue, "
    "`edgeclassifier models add {file} --name {name}` for your own, on an installed device with "
    "`sudo`",
)
BUNDLED_CHANGED = Problem(
    id="model.bundled_changed",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The bundled model is damaged",
    meaning="The package is not as it was installed.",
    remedy="install the daemon again, from a fresh clone",
    remedy_of_release=REINSTALL,
)
UNREADABLE = Problem(
    id="model.unreadable",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The model, or the note of its hash, cannot be read",
    meaning="The file belongs to another user, or its storage fails.",
    remedy="`sudo chmod a+r {file} {record}`; if that does not help, install the model again",
)
UNRECORDED = Problem(
    id="model.unrecorded",
    level=Level.WARNING,
    title="The hash of the model is not known",
    meaning="It was put among the installed models by hand, so damage to it goes unnoticed.",
    remedy="`edgeclassifier models add {file} --name {name}`, on an installed device with `sudo`",
)
UNUSABLE = Problem(
    id="model.unusable",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The model does not run",
    meaning="It is no image classifier, is damaged, is compiled for an Edge TPU, or needs "
    "operations that the runtime does not have.",
    remedy="set `model.name` to another one: `edgeclassifier models list`",
)
CRASHES = Problem(
    id="model.crashes",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The model crashes or hangs the runtime",
    meaning="Its file is damaged, or too large for the memory of this device.",
    remedy="install it again, or set `model.name` to another one: `edgeclassifier models list`",
)
LABELS_UNFIT = Problem(
    id="labels.unfit",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The labels do not fit the model",
    meaning="There are none, their file cannot be read, or it has another number of labels than "
    "the model has classes.",
    remedy="set `model.labels` to the file that belongs to the model, one label a line; "
    "`edgeclassifier models add FILE --labels LABELS` installs both",
)
LABELS_DOUBTFUL = Problem(
    id="labels.doubtful",
    level=Level.WARNING,
    title="The model does not recognize the sample pictures",
    meaning="By its labels it knows a cat or a coffee, but does not find it, or gives all labels "
    "the same score: its labels are in another order or shifted by one, its input is normalized "
    "in another way, or it does not classify pictures.",
    remedy="set `model.labels` to the file that belongs to the model, and `model.mean` and "
    "`model.std` to what it was trained with",
)
CLASS_UNKNOWN = Problem(
    id="labels.class_unknown",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The configuration names a class that the model does not have",
    meaning="A word of `state.exclude` or `state.thresholds` is neither the name of a class nor "
    "one of its synonyms, or two words of `state.thresholds` are one class.",
    remedy="write the class as the model's labels do: `edgeclassifier classify PICTURE` shows "
    "names and synonyms",
)


def check_model(subject: Subject) -> Iterator[Finding]:
    """Whether it is there, is what was installed, runs, and says what its pixels mean."""
    yield from _check_shared(subject)
    yield from _check_views(subject.config)


def _check_views(config: "Config") -> Iterator[Finding]:
    """Try the models that views have of their own, each once, in a process of its own."""
    from edgeclassifier.compose.golden import try_model
    from edgeclassifier.compose.model import find_model
    from edgeclassifier.compose.views import grouped
    from edgeclassifier.config.views import views_of

    for source, sharing in grouped(views_of(config)):
        view = sharing[0]
        if not view or source.model == replace(config.model, deadline_s=0.0):
            continue
        named = f"views.{view}.model"
        own = views_of(config)[view]
        try:
            model = find_model(own.model)
            sha256 = model.sha256()
        except ModelError as error:
            yield ABSENT.found(f"{named}: {error}", name=[own.model.name])
            continue
        try:
            try_model(own, model)
        except ModelError as error:
            yield UNUSABLE.found(f"{named}: {error}")
        except TrialError as error:
            yield CRASHES.found(f"{named}: {error}")
        else:
            shared = f"view {', '.join(sharing)}"
            yield fine("model", f"{model.name} ({shared}): runs, sha256 {sha256[:12]}…")


def _check_shared(subject: Subject) -> Iterator[Finding]:
    from edgeclassifier.compose.model import find_model

    try:
        model = find_model(subject.config.model)
        sha256 = model.sha256()
    except ModelError as error:
        yield ABSENT.found(str(error), name=[subject.config.model.name, *_store(subject)])
        return
    differences = list(_compared(subject, model))
    yield from differences
    trial = subject.trial("model")
    if trial.results.get("loaded") is not True:
        reason = trial.results.get("error")
        if reason is not None:
            yield UNUSABLE.found(str(reason))
        else:
            yield CRASHES.found(f"{model.path}: {trial.outcome.last_words or 'no answer'}")
        return
    if "pixels_error" in trial.results:
        yield pixels.UNCLEAR.found(str(trial.results["pixels_error"]))
        return
    if trial.results.get("pixels_doubt"):
        yield pixels.GUESSED.found(str(trial.results["pixels_doubt"]))
    if differences:
        return
    form = trial.results.get("input", "loads and runs")
    yield fine("model", f"{model.name} ({model.reason}): {form}, sha256 {sha256[:12]}…")


def check_labels(subject: Subject) -> Iterator[Finding]:
    """Whether they fit the model, and seem to be in its order."""
    results = subject.trial("model").results
    count = results.get("labels")
    if results.get("loaded") is not True:
        yield NOT_TRIED.found("the model does not run", check="labels")
        return
    if "pixels_error" in results:
        yield NOT_TRIED.found("it is not clear what the model's pixels mean", check="labels")
        return
    if count is None:
        reason = results.get("error") or subject.trial("model").outcome.last_words
        yield LABELS_UNFIT.found(str(reason))
        return
    unknown = _listed(results.get("name_problems"))
    yield from (CLASS_UNKNOWN.found(str(each)) for each in unknown)
    if "doubt" in results:
        yield LABELS_DOUBTFUL.found(str(results["doubt"]))
    elif results.get("classified") is not True:
        reason = results.get("error") or subject.trial("model").outcome.last_words or "no answer"
        yield CRASHES.found(f"while it classified the sample pictures: {reason}")
    elif not unknown:
        first = map(str, _listed(results.get("first_names")))
        yield fine("labels", f"{count}, one for each class: {', '.join([*first, '…'])}")


def _listed(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def _compared(subject: Subject, model: "ModelFile") -> Iterator[Finding]:
    """Compare the file with what is known of it; says nothing if it agrees."""
    from edgeclassifier.models.catalogue import CATALOGUE
    from edgeclassifier.models.records import verify_model

    by_name = not model_file(subject.config.model.name)
    # By its name: what is known by its content cannot differ from it.
    known = CATALOGUE.get(model.name) if by_name else None
    record = model.path.with_suffix(".json")
    found = verify_model(
        model.name, path=model.path, record_path=record, pinned=known.digest if known else None
    )
    said = f"{model.path}: {found.detail}"
    name = [model.name, *_store(subject)]
    # Installed without them, the model would lose its labels.
    labels = [] if model.labels is None else ["--labels", model.labels]
    match found.status:
        case "changed" | "missing" if known and known.bundled:
            yield BUNDLED_CHANGED.found(said)
        case "changed" | "missing":
            yield CHANGED.found(said, file=["FILE", *labels], name=name)
        case "unreadable":
            yield UNREADABLE.found(said, file=model.path, record=record)
        case "unrecorded" if by_name:
            yield UNRECORDED.found(said, file=[model.path, *labels], name=name)


def _store(subject: Subject) -> list[str]:
    """Name the store to `models`, if it is not the one that it takes by itself."""
    configured = subject.config.model.store
    return ["--store", configured] if configured else []
