"""The views that the configuration means: their lanes, their models and their publishers."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeclassifier.compose.camera import area, idle_settings
from edgeclassifier.compose.engine import build_inference
from edgeclassifier.compose.files import Version, model_files, stamped
from edgeclassifier.compose.golden import judge, own_pictures, try_model
from edgeclassifier.compose.model import find_model
from edgeclassifier.compose.names import check_view, view_problems
from edgeclassifier.compose.publisher import publisher_settings, state_rules
from edgeclassifier.config import Config, ModelConfig
from edgeclassifier.config.schema import AcceleratorConfig
from edgeclassifier.config.views import views_of
from edgeclassifier.contract.messages import Message, Payloads
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.daemon.publisher import Publisher
from edgeclassifier.daemon.sightings import Sightings
from edgeclassifier.daemon.stable_label import StableLabel
from edgeclassifier.daemon.views import View, Views
from edgeclassifier.engine.names import Names
from edgeclassifier.host import threads
from edgeclassifier.pipeline.intake import Lane
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from edgeclassifier.engine.inference import Inference

Step = Callable[[], None]

log = logging.getLogger(__name__)


@plain_data
class Source(Plain):
    """What a model is built from. Views for which it is the same share an interpreter."""

    model: ModelConfig
    accelerator: AcceleratorConfig
    files: Mapping[str, Version]


def source_of(own: Config) -> Source:
    """Return it for the configuration of one view."""
    return Source(
        # A limit of the whole pipeline, which loads nothing again.
        model=replace(own.model, deadline_s=0.0),
        accelerator=own.accelerator,
        files=stamped(model_files(own)),
    )


def grouped(views: Mapping[str, Config]) -> list[tuple[Source, list[str]]]:
    """Return the models that the views need, each with the ids of those that share it."""
    groups: list[tuple[Source, list[str]]] = []
    for view, own in views.items():
        source = source_of(own)
        for known, sharing in groups:
            if known == source:
                sharing.append(view)
                break
        else:
            groups.append((source, [view]))
    return groups


def build_model(config: Config, view: str, source: Source) -> "Inference":
    """Load the model of a view, not yet started. Raises ModelError."""
    own = views_of(config)[view]
    model = find_model(own.model)
    inference = build_inference(own, model)
    inference.source = source
    log.info("model %s: %s", model.name, model.reason)
    return inference


def names_of(models: ModelSlot) -> Names:
    """Return the names of the classes that a model has; none of one that does not work."""
    return Names(()) if models.empty else models.current.classifier.names


@plain_data
class Outlet(Plain):
    """What all views publish with."""

    publish: Callable[[Message], bool]
    payloads: Payloads
    sightings: Sightings


def build_view(config: Config, view: str, models: ModelSlot, outlet: Outlet) -> View:
    """Build a view with what publishes its results."""
    own = views_of(config)[view]
    rules = state_rules(own.state, names_of(models))
    return View(
        lane=Lane(
            view=view,
            models=models,
            area=area(own),
            idle=idle_settings(own),
            max_rate_hz=_rate_hz(config, view),
        ),
        publisher=Publisher(
            publish=outlet.publish,
            payloads=outlet.payloads,
            label=StableLabel(rules),
            settings=publisher_settings(config, view),
            sightings=outlet.sightings,
        ),
    )


def _rate_hz(config: Config, view: str) -> float:
    """Return how often the view's frames are classified at most: as often as it asks for itself."""
    return (config.views[view].max_rate_hz or 0.0) if view else 0.0


@plain_data
class ViewChanges(Plain):
    """Takes the running views from one configuration to another."""

    views: Views
    pipeline: Pipeline
    outlet: Outlet

    def steps(self, new: Config) -> list[Step]:
        """Load and try the models that are new, and return the steps to the views of `new`.

        Raises ConfigError or ModelError, after which nothing has changed.
        """
        wanted = views_of(new)
        in_use = self.views.models()
        left = dict(in_use)
        places: dict[str, ModelSlot] = {}
        fresh: list[tuple[Source, list[str]]] = []
        for source, sharing in grouped(wanted):
            slot = next((each for each in left if each.source == source), None)
            if slot is None:
                fresh.append((source, sharing))
            else:
                del left[slot]
                self._check(new, sharing, names_of(slot))
                places |= dict.fromkeys(sharing, slot)
        steps: list[Step] = []
        for source, sharing in fresh:
            inference = self._new_model(new, sharing[0], source, known=list(in_use))
            self._check(new, sharing, inference.classifier.names)
            # In the place of one that it replaces, which returns if the new one fails at work.
            slot = next(
                (each for each, used in left.items() if {*used} & {*sharing} and not each.empty),
                None,
            )
            if slot is None:
                slot = ModelSlot()
                steps.append(lambda slot=slot, new=inference: slot.load(new))  # type: ignore[misc] # no lambda may have it
            else:
                del left[slot]
                steps.append(lambda slot=slot, new=inference: slot.swap(new))  # type: ignore[misc] # as above
            places |= dict.fromkeys(sharing, slot)
        renewed = {view for _, sharing in fresh for view in sharing}
        return [*steps, lambda: self._follow(new, places, renewed, left=list(left))]

    def returned(self, config: Config) -> None:
        """Follow the models that are in use again, with `config`."""
        for view, running in self.views.by_id.items():
            if names := names_of(running.lane.models).all:
                for problem in view_problems(config, view, Names(names)):
                    log.warning("%s", problem)
        self.follow_models(config)

    def follow_models(self, config: Config) -> None:
        """Let the labels go by the names of the models that are in use."""
        for view, own in views_of(config).items():
            if running := self.views.by_id.get(view):
                names = names_of(running.lane.models)
                running.publisher.follow(state_rules(own.state, names))

    def _check(self, config: Config, views: list[str], names: Names) -> None:
        if names.all:
            for view in views:
                check_view(config, view, names)

    def _new_model(
        self, config: Config, view: str, source: Source, *, known: list[ModelSlot]
    ) -> "Inference":
        own = views_of(config)[view]
        model = find_model(own.model)
        sources = [slot.source for slot in known if not slot.empty]
        tried = any(
            isinstance(each, Source)
            and each.model == source.model
            and each.files.get("model.name") == source.files.get("model.name")
            for each in sources
        )
        answers = None if tried else try_model(own, model)
        inference = build_model(config, view, source)
        if answers is not None:
            own_golden = own_pictures(own.model, model)
            judge(model.name, answers, labels=inference.classifier.labels, own=own_golden)
        return inference

    def _follow(
        self,
        config: Config,
        places: Mapping[str, ModelSlot],
        renewed: Collection[str],
        left: list[ModelSlot],
    ) -> None:
        running = self.views.by_id
        following: dict[str, View] = {}
        for view, own in views_of(config).items():
            slot = places[view]
            known = running.get(view)
            if known is None:
                following[view] = build_view(config, view, slot, self.outlet)
                continue
            lane = known.lane
            # Frames that are under way still get answers of the model before.
            other = view in renewed or lane.models is not slot
            lane.models = slot
            lane.configure(
                area=area(own),
                idle=idle_settings(own),
                max_rate_hz=_rate_hz(config, view),
            )
            known.publisher.follow(
                state_rules(own.state, names_of(slot)), from_s=time.monotonic() if other else None
            )
            following[view] = known
        self.pipeline.follow([each.lane for each in following.values()])
        self.views.by_id = following
        if left:
            # Releasing a device takes a moment.
            threads.start(_close, args=(left,), name="swap")


def _close(slots: list[ModelSlot]) -> None:
    for each in slots:
        each.close()
