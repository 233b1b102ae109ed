"""With which configuration and which model the daemon starts, whatever was changed on request."""

import logging

from edgeclassifier.compose.clients import how_to_take_back
from edgeclassifier.compose.engine import build_inference
from edgeclassifier.compose.golden import try_model
from edgeclassifier.compose.model import ModelFile, find_model
from edgeclassifier.compose.names import check_names
from edgeclassifier.compose.ranbefore import note_that_it_ran, ran_before
from edgeclassifier.config import Config
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.status import Crash
from edgeclassifier.errors import ConfigError, ModelError, TrialError
from edgeclassifier.host.signals import StopSignal
from edgeclassifier.pipeline.modelslot import ModelSlot

log = logging.getLogger(__name__)


@plain_data
class Chosen(Plain):
    """What the daemon starts with."""

    configured: Config
    """What the files say."""
    config: Config
    """The same with what was changed on request."""
    model: ModelFile


def choose(configured: Config, overrides: Overrides) -> Chosen:
    """Apply what was changed on request, unless that would keep the daemon from starting.

    Raises ModelError if the configured model is not there.
    """
    try:
        config = overrides.apply(configured)
    except ConfigError as error:
        log.warning("what was changed on request is taken back: %s", error)
        overrides.clear()
        config = configured
    try:
        return Chosen(configured=configured, config=config, model=find_model(config.model))
    except ModelError as error:
        return _without_chosen_model(error, configured, config, overrides)


def load(
    models: ModelSlot,
    chosen: Chosen,
    overrides: Overrides,
    *,
    last_crash: Crash | None,
    stop: StopSignal,
) -> Config:
    """Load the model, or the configured one if the one that was chosen on request fails.

    Returns the configuration in use then. After `stop` there may be no model. Raises ModelError,
    or ConfigError if that names a class that the model does not have.
    """
    # Perhaps it was the model: a damaged one can take the process with it.
    unexplained = last_crash is not None and last_crash.exit_code is None
    why = "the last run ended without a reason" if unexplained else ""
    try:
        _load(models, chosen, doubt=why, stop=stop)
    except (ConfigError, ModelError) as error:
        chosen = _without_chosen_model(error, chosen.configured, chosen.config, overrides)
        _load(models, chosen, doubt="", stop=stop)
    if not stop.wanted:
        overrides.save()
        for change in overrides.changes:
            log.info("%s; %s", change, how_to_take_back(chosen.config, change))
    return chosen.config


def _load(models: ModelSlot, chosen: Chosen, *, doubt: str, stop: StopSignal) -> None:
    if not doubt and not ran_before(chosen.config.model, chosen.model):
        doubt = f"{chosen.model.path} has not run here before"
    if doubt:
        log.info("%s: the model is tried in another process first", doubt)
        _try(chosen, stop)
    if not stop.wanted:
        inference = build_inference(chosen.config, chosen.model)
        check_names(chosen.config.state, inference.classifier.names)
        models.load(inference)
        log.info("model %s: %s", chosen.model.name, chosen.model.reason)


def _try(chosen: Chosen, stop: StopSignal) -> None:
    """Raise ModelError if the model is known to be unusable."""
    try:
        try_model(chosen.config, chosen.model, stopped=stop.is_set)
        note_that_it_ran(chosen.config.model, chosen.model)
    except TrialError as error:
        # Memory may suffice for one process, time for another start: no reason to stay away.
        if not stop.wanted:
            log.warning("%s; it is used all the same", error)


def _without_chosen_model(
    error: ConfigError | ModelError, configured: Config, config: Config, overrides: Overrides
) -> Chosen:
    """Return to the configured model; to be saved once that is loaded.

    Raises `error` if that is the one in `config`, which failed.
    """
    if config.model.name == configured.model.name:
        raise error
    reason = "; ".join(str(error).splitlines())
    log.warning("the model that was chosen on request is taken back: %s", reason)
    overrides.set(configured, "model.name", None)
    config = overrides.apply(configured)
    return Chosen(configured=configured, config=config, model=find_model(config.model))
