"""The accelerator that the configuration names, if there is one."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.compose.model import ModelFile, find_model
from edgeclassifier.config import Config
from edgeclassifier.config.options import model_file
from edgeclassifier.errors import ModelError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from edgeclassifier.accelerator.supervisor import Accelerator
    from edgeclassifier.contract.status import AcceleratorStatus
    from edgeclassifier.engine.classifier import Classifier

_EDGE_TPU = "edgetpu"

log = logging.getLogger(__name__)


def find_accelerated_model(config: Config, model: ModelFile) -> ModelFile | None:
    """Return the file of `model` that is compiled for the accelerator, None to use the CPU alone.

    Raises ModelError if an accelerator is configured and its file of the model is missing.
    """
    delegate = config.accelerator.delegate
    if delegate == "none":
        return None
    if delegate != "auto":
        return compiled_model(config, model)
    from edgeclassifier.accelerator.devices import find_edge_tpus

    if not find_edge_tpus():
        return None
    try:
        return compiled_model(config, model)
    except ModelError as error:
        log.warning("there is an Edge TPU, but no model for it: %s", error)
        return None


def compiled_model(config: Config, model: ModelFile) -> ModelFile:
    """Return the file of `model` that is compiled for the accelerator. Raises ModelError."""
    name = config.accelerator.model
    if not name:
        beside = model.path.with_name(f"{model.path.stem}_{_EDGE_TPU}.tflite")
        name = str(beside) if model_file(config.model.name) else f"{model.name}_{_EDGE_TPU}"
    try:
        found = find_model(dataclasses.replace(config.model, name=name))
    except ModelError as error:
        raise ModelError(f"accelerator.model: {error}") from None
    if not found.path.exists():
        raise ModelError(
            f"accelerator.model: {found.path} is not there: it is {model.name}, compiled for the "
            "accelerator; name it, or set accelerator.delegate to none"
        )
    return found


def build_accelerator(
    config: Config,
    model: ModelFile,
    *,
    twin: "Classifier",
    on_change: "Callable[[AcceleratorStatus], None] | None" = None,
) -> "Accelerator":
    """Build what runs `model`, not yet started; `twin` is the same network for the CPU."""
    from edgeclassifier.accelerator.devices import library_of
    from edgeclassifier.accelerator.link import Job
    from edgeclassifier.accelerator.supervisor import Accelerator

    wanted = config.accelerator
    name = _EDGE_TPU if wanted.delegate == "auto" else wanted.delegate
    return Accelerator(
        name=Path(name).name.removeprefix("lib").partition(".")[0],
        job=Job(
            model=model.path,
            delegate=library_of(name),
            options=wanted.options,
            runtime=twin.runtime.name,
            threads=1,
            layout=twin.layout,
            slow_s=wanted.slow_s,
        ),
        deadline_s=wanted.deadline_s,
        load_deadline_s=wanted.load_deadline_s,
        retry_min_s=wanted.retry_min_s,
        retry_max_s=wanted.retry_max_s,
        on_change=on_change,
    )


def first_status(
    config: Config, model: ModelFile, *, twin: "Classifier"
) -> "AbstractContextManager[tuple[Accelerator, AcceleratorStatus]]":
    """Start the accelerator for as long as the context lasts, and give its first status."""
    from edgeclassifier.accelerator.supervisor import attempt

    return attempt(
        lambda on_change: build_accelerator(config, model, twin=twin, on_change=on_change)
    )
