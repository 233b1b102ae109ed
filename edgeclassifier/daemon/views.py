"""The views of the camera: where the frames of each go, and what publishes its results."""

from collections.abc import Mapping
from typing import Any

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import Result
from edgeclassifier.contract.status import ViewProgress, ViewStatus
from edgeclassifier.daemon.publisher import Publisher
from edgeclassifier.errors import RequestError
from edgeclassifier.pipeline.intake import Lane
from edgeclassifier.pipeline.modelslot import ModelSlot

_MOST_NAMED = 10


@plain_data
class View(Plain):
    """One view while it runs."""

    lane: Lane
    publisher: Publisher

    @property
    def name(self) -> str:
        """What it is called in topics and payloads."""
        return self.publisher.settings.topics.view_name()

    @property
    def model(self) -> str | None:
        """What its model is called; None if it has none that works."""
        models = self.lane.models
        if models.empty:
            return None
        inference = models.current
        return inference.model(inference.backend).name

    def status(self, progress: ViewProgress) -> ViewStatus:
        """Say how it is."""
        models = self.lane.models
        return ViewStatus(
            view=self.name,
            progress=progress,
            model=self.model,
            backend=None if models.empty else models.current.backend,
            problem=models.problem,
        )


class Views:
    """The views by their ids, at least one; the daemon's thread alone changes them."""

    def __init__(self, views: Mapping[str, View]) -> None:
        self.by_id = views
        """Replaced as a whole, so that any thread may read it. The id of the only view of a
        configuration without [views] is ""."""

    @property
    def first(self) -> View:
        """The view that is meant if none is named."""
        return next(iter(self.by_id.values()))

    def find(self, name: str | None) -> tuple[str, View]:
        """Return a view by what it is called, and its id. Raises RequestError if there is none."""
        views = self.by_id
        for view_id, view in views.items():
            if name is None or view.name == name:
                return view_id, view
        names = [view.name for view in views.values()]
        more = ", …" if len(names) > _MOST_NAMED else ""
        raise RequestError(
            f"there is no view {name!r}: there are {', '.join(names[:_MOST_NAMED])}{more}"
        )

    def newest_prediction(self, result: Result) -> Mapping[str, Any] | None:
        """Return the payload that the newest result of its view was published with, if it was."""
        view = self.by_id.get(result.view)
        return None if view is None else view.publisher.newest_prediction

    def models(self) -> dict[ModelSlot, list[str]]:
        """Return the models in use, each with the ids of the views that share it."""
        found: dict[ModelSlot, list[str]] = {}
        for view_id, view in self.by_id.items():
            found.setdefault(view.lane.models, []).append(view_id)
        return found
