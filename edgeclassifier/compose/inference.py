"""The model with its fail-over, as the daemon runs it."""

from edgeclassifier.compose.accelerator import build_accelerator, find_accelerated_model
from edgeclassifier.compose.engine import build_engine
from edgeclassifier.compose.model import ModelFile
from edgeclassifier.config import Config
from edgeclassifier.engine.inference import Inference


def build_inference(config: Config, model: ModelFile) -> Inference:
    """Load `model` for the CPU, and prepare the accelerator, not yet started, if there is one.

    Raises ModelError where the model, its labels, the runtime or the accelerator's model is not
    usable.
    """
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
