"""The model, loaded, with what prepares pictures for it."""

import logging
from typing import TYPE_CHECKING, cast

from edgeclassifier.compose.model import BUNDLED_MODEL, ModelFile, find_model
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import ModelError
from edgeclassifier.models.catalogue import CATALOGUE

if TYPE_CHECKING:
    from pathlib import Path

    from edgeclassifier.contract.frame import Pixels
    from edgeclassifier.contract.results import Prediction
    from edgeclassifier.engine.classifier import Classifier
    from edgeclassifier.engine.inference import Inference
    from edgeclassifier.engine.normalization import Choice
    from edgeclassifier.engine.outputs import OutputKind
    from edgeclassifier.engine.preprocess import Preprocessor
    from edgeclassifier.engine.runtime import LoadedModel
    from edgeclassifier.models.metadata import Metadata

log = logging.getLogger(__name__)


@plain_data
class Engine(Plain):
    """A model, loaded, and what prepares pictures for it."""

    model: ModelFile
    classifier: "Classifier"
    preprocessor: "Preprocessor"
    pixels: "Choice"
    """How the model's pixels are meant, and why."""

    def classify(self, pixels: "Pixels") -> "tuple[Prediction, ...]":
        """Return the best labels for a picture of H x W x 3 RGB."""
        _crop, tensor = self.preprocessor(pixels)
        return self.classifier.top(self.classifier.invoke(tensor))


def load_classifier(config: ModelConfig, path: "Path") -> "LoadedModel":
    """Load a model and make sure that it classifies pictures. Raises ModelError."""
    from edgeclassifier.engine.classifier import check_image_classifier
    from edgeclassifier.engine.runtime import load_model

    loaded = load_model(
        path, runtime=config.runtime, threads=config.threads, input_size=config.input_size
    )
    check_image_classifier(path, loaded.interpreter, output=config.output)
    return loaded


def build_engine(
    config: Config, model: ModelFile | None = None, *, loaded: "LoadedModel | None" = None
) -> Engine:
    """Load `model`, or the one that find_model() chooses, unless it is `loaded`.

    Raises ModelError if it, its labels or the runtime is not usable.
    """
    from edgeclassifier.compose.pixels import choose_pixels
    from edgeclassifier.engine.classifier import Classifier
    from edgeclassifier.engine.preprocess import Preprocessor
    from edgeclassifier.models.metadata import read_metadata

    model = model or find_model(config.model)
    # Before the labels: what is no classifier needs none.
    loaded = loaded or load_classifier(config.model, model.path)
    metadata = read_metadata(model.path, labels=model.labels is None)
    labels, source = _labels(model, metadata)
    classifier = Classifier(
        loaded,
        path=model.path,
        labels=labels,
        labels_source=source,
        output=cast("OutputKind", config.model.output),
        top_k=config.model.top_k,
        threshold=config.model.threshold,
    )
    wanted, taken = config.model.input_size, classifier.input
    if wanted and (taken.height, taken.width) != (wanted, wanted):
        raise ModelError(
            f"{model.path}: model.input_size = {wanted}, but the model takes "
            f"{taken.width}x{taken.height} pixels: remove model.input_size"
        )
    choice = choose_pixels(config.model, model, classifier, metadata)
    preprocessor = Preprocessor(
        spec=classifier.input,
        normalization=choice.normalization,
        crop_fraction=config.preprocess.crop_fraction,
        region=config.preprocess.region,
        bgr=config.model.channels == "bgr",
    )
    if metadata.score_threshold is not None and not config.model.threshold:
        log.info(
            "%s: its metadata asks for a score of at least %.2g, which is not applied: "
            "model.threshold leaves lower scores out",
            model.path,
            metadata.score_threshold,
        )
    return Engine(model=model, classifier=classifier, preprocessor=preprocessor, pixels=choice)


def build_inference(config: Config, model: ModelFile) -> "Inference":
    """Load `model` for the CPU, and prepare the accelerator, not yet started, if there is one.

    Raises ModelError if the model, its labels, the runtime or the accelerator's model is not
    usable.
    """
    from edgeclassifier.compose.accelerator import build_accelerator, find_accelerated_model
    from edgeclassifier.engine.inference import Inference

    identity = model.identity_later()
    accelerated = find_accelerated_model(config, model)
    engine = build_engine(config, model)
    if accelerated is None:
        return Inference(
            preprocessor=engine.preprocessor, classifier=engine.classifier, model=identity
        )
    return Inference(
        preprocessor=engine.preprocessor,
        classifier=engine.classifier,
        model=identity,
        accelerator=build_accelerator(config, accelerated, twin=engine.classifier),
        accelerated_model=accelerated.identity_later(),
    )


def _labels(model: ModelFile, metadata: "Metadata") -> tuple[tuple[str, ...], str]:
    if model.labels is not None:
        from edgeclassifier.engine.labels import read_labels

        return read_labels(model.labels), str(model.labels)
    if metadata.labels is not None:
        return metadata.labels, f"the labels in {model.path}"
    if model.known is not None and model.known.labels is not None:
        return imagenet_labels(), "the ImageNet labels"
    raise ModelError(
        f"{model.path}: no labels inside the model: name a file with one label a line, in "
        "model.labels or with `edgeclassifier models add FILE --labels LABELS`"
    )


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1000 labels that the bundled model carries."""
    from edgeclassifier.models.metadata import read_metadata

    labels = read_metadata(CATALOGUE[BUNDLED_MODEL].bundled_path).labels
    if labels is None:
        raise ModelError("the bundled model is damaged: install the package again")
    return labels


def around_interpreter_nice(config: ModelConfig) -> int:
    """Return the niceness of the threads that are not the interpreter's."""
    from edgeclassifier.engine.runtime import default_threads
    from edgeclassifier.host.priority import background_nice

    return background_nice(config.threads or default_threads())
