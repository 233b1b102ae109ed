"""With which configuration and which model the daemon starts, whatever was changed on request."""

import logging
from collections.abc import Mapping

from edgeclassifier.compose.clients import how_to_take_back
from edgeclassifier.compose.golden import try_model
from edgeclassifier.compose.model import ModelFile, find_model
from edgeclassifier.compose.names import check_view
from edgeclassifier.compose.ranbefore import note_that_it_ran, ran_before
from edgeclassifier.compose.views import Source, build_model, grouped
from edgeclassifier.config import Config
from edgeclassifier.config.changeable import override_key, value_of
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.config.views import views_of
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.status import Crash
from edgeclassifier.daemon.views import Views
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


def choose(configured: Config, overrides: Overrides) -> Chosen:
    """Apply what was changed on request, unless that would keep the daemon from starting.

    Raises ModelError if the configured model is not there, and no view has another one.
    """
    try:
        config = overrides.apply(configured)
    except ConfigError as error:
        log.warning("what was changed on request is taken back: %s", error)
        overrides.clear()
        config = configured
    chosen = Chosen(configured=configured, config=config)
    if not config.views:
        try:
            find_model(config.model)
        except ModelError as error:
            again = _without_chosen_models(chosen, overrides, {"": error})
            if again is None:
                raise
            return again
    return chosen


def load(
    views: Views,
    chosen: Chosen,
    overrides: Overrides,
    *,
    last_crash: Crash | None,
    stop: StopSignal,
) -> Config:
    """Load the models, or the configured one if one that was chosen on request fails.

    A view whose model does not work is left without one, unless that goes for all. Returns the
    configuration in use then. After `stop` there may be no model. Raises ModelError, or ConfigError
    if that names a class that a model does not have.
    """
    # Perhaps it was the model: a damaged one can take the process with it.
    unexplained = last_crash is not None and last_crash.exit_code is None
    doubt = "the last run ended without a reason" if unexplained else ""
    # Frames wait for these, so the others take their places when all is decided.
    awaited = views.models()
    try:
        config, places = _load_all(chosen, overrides, doubt=doubt, stop=stop)
        for view, slot in places.items():
            views.by_id[view].lane.models = slot
    finally:
        for slot in awaited:
            slot.decided.set()
    if not stop.wanted:
        overrides.save()
        for change in overrides.changes:
            log.info("%s; %s", change, how_to_take_back(config, change))
    return config


def _load_all(
    chosen: Chosen, overrides: Overrides, *, doubt: str, stop: StopSignal
) -> tuple[Config, dict[str, ModelSlot]]:
    loaded: list[ModelSlot] = []
    while True:
        config, places = chosen.config, dict[str, ModelSlot]()
        failed = _load_each(config, loaded, places, doubt=doubt, stop=stop)
        if not failed or stop.wanted:
            return config, places
        again = _without_chosen_models(chosen, overrides, failed)
        if again is None:
            if not loaded:
                raise next(iter(failed.values()))
            return config, places
        chosen, doubt = again, ""


def _load_each(
    config: Config,
    loaded: list[ModelSlot],
    places: dict[str, ModelSlot],
    *,
    doubt: str,
    stop: StopSignal,
) -> dict[str, ConfigError | ModelError]:
    """Load what is not `loaded` yet, into `places` by view; return what went wrong, by view."""
    failed: dict[str, ConfigError | ModelError] = {}
    for source, sharing in grouped(views_of(config)):
        slot = next((each for each in loaded if each.source == source), None) or ModelSlot()
        try:
            if slot.empty and not stop.wanted:
                _load(slot, config, sharing, source, doubt=doubt, stop=stop)
                loaded += [slot] if not slot.empty else []
        except (ConfigError, ModelError) as error:
            problem = "; ".join(str(error).splitlines())
            slot.fail(problem, source=source)
            failed |= dict.fromkeys(sharing, error)
            if config.views:
                log.warning("view %s has no model that works: %s", ", ".join(sharing), problem)
        places |= dict.fromkeys(sharing, slot)
    return failed


def _load(
    slot: ModelSlot,
    config: Config,
    sharing: list[str],
    source: Source,
    *,
    doubt: str,
    stop: StopSignal,
) -> None:
    own = views_of(config)[sharing[0]]
    model = find_model(own.model)
    if not doubt and not ran_before(own.model, model):
        doubt = f"{model.path} has not run here before"
    if doubt:
        log.info("%s: the model is tried in another process first", doubt)
        _try(own, model, stop)
    if not stop.wanted:
        inference = build_model(config, sharing[0], source)
        for view in sharing:
            check_view(config, view, inference.classifier.names)
        slot.load(inference)


def _try(own: Config, model: ModelFile, stop: StopSignal) -> None:
    """Raise ModelError if the model is known to be unusable."""
    try:
        try_model(own, model, stopped=stop.is_set)
        note_that_it_ran(own.model, model)
    except TrialError as error:
        # Memory may suffice for one process, time for another start: no reason to stay away.
        if not stop.wanted:
            log.warning("%s; it is used all the same", error)


def _without_chosen_models(
    chosen: Chosen, overrides: Overrides, failed: Mapping[str, ConfigError | ModelError]
) -> Chosen | None:
    """Return to the configured models of those views; to be saved once they are loaded.

    None if theirs are the configured ones.
    """
    configured, config = chosen.configured, chosen.config
    changed = False
    for view, error in failed.items():
        key = override_key(configured, view, "model.name")
        if value_of(config, key) != value_of(configured, key):
            reason = "; ".join(str(error).splitlines())
            log.warning("the model that was chosen on request is taken back: %s", reason)
            overrides.set(configured, key, None)
            changed = True
    return Chosen(configured=configured, config=overrides.apply(configured)) if changed else None
