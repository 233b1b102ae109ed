"""What each command does to the running daemon."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from edgeclassifier.config.changeable import override_key
from edgeclassifier.config.views import views_of
from edgeclassifier.contract.commands import COMMANDS
from edgeclassifier.contract.kept import Wanted
from edgeclassifier.contract.messages import Payloads
from edgeclassifier.contract.results import Result
from edgeclassifier.contract.status import ReloadStatus
from edgeclassifier.daemon.reload import Reload
from edgeclassifier.daemon.requests import check_arguments
from edgeclassifier.daemon.shelf import Shelf
from edgeclassifier.daemon.views import View, Views
from edgeclassifier.errors import RequestError
from edgeclassifier.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from edgeclassifier.config import Config
    from edgeclassifier.config.overrides import Overrides

Answer = Mapping[str, Any]


class Actions:
    """Carries out commands, from any thread: one method for each row of COMMANDS.

    Each raises EdgeclassifierError if it cannot.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        views: Views,
        payloads: Payloads,
        reload: Reload,
        overrides: "Overrides",
        configured: Callable[[], "Config"],
        models: "Callable[[Config], Sequence[str]]",
        model: "Callable[[Config], str]",
        changed: Callable[[], None],
        health: Callable[[], Answer],
        restart: Callable[[], None],
        shelf: Shelf,
    ) -> None:
        """Take `configured`, which reads the files, without what was changed on request.

        `models` and `model` name the models of a configuration, and the one that it means.
        `changed` is called for what health or info have to show at once.
        """
        self._pipeline = pipeline
        self._views = views
        self._payloads = payloads
        self._reload = reload
        self._overrides = overrides
        self._configured = configured
        self._models = models
        self._model = model
        self._changed = changed
        self._health = health
        self._restart = restart
        self._shelf = shelf
        self._changing = threading.Lock()
        self._by_name: Mapping[str, Callable[..., Answer]] = {
            name: getattr(self, name) for name in COMMANDS
        }

    def run(self, command: str, arguments: Mapping[str, Any]) -> Answer:
        """Check the arguments and do what the command says."""
        check_arguments(command, arguments)
        return self._by_name[command](**arguments)

    def classify(self, picture: BinaryIO | None = None, *, view: str | None = None) -> Answer:
        """Classify the next frame of a view, or the picture in a file that a stranger sent."""
        _, asked = self._views.find(view)
        if picture is None:
            return self._payloads.classification(self._take(asked))
        from edgeclassifier.engine.pictures import decode_untrusted

        timeout_s = COMMANDS["classify"].within_s
        pixels = decode_untrusted(picture)
        result = self._pipeline.classify(pixels, timeout_s=timeout_s, lane=asked.lane)
        return self._payloads.classification(result)

    def take(self, view: str | None = None) -> Result:
        """Classify the next frame of a view; None: of the first one."""
        return self._take(self._views.find(view)[1])

    def _take(self, view: View) -> Result:
        within_s = COMMANDS["classify"].within_s
        return self._pipeline.classify(None, timeout_s=within_s, lane=view.lane)

    def snapshot(self, view: str | None = None) -> Answer:
        """Publish the crop of the next frame as a JPEG, if that is allowed; say what it shows."""
        image = self._reload.config.image
        if not (image.enabled or image.on_request):
            raise RequestError(
                "no picture leaves this device: set image.enabled, or image.on_request for those "
                "that are asked for"
            )
        _, asked = self._views.find(view)
        result = self._take(asked)
        message = asked.publisher.picture(result)
        asked.publisher.publish(message)
        height, width = result.crop.shape[:2]
        return {
            "topic": message.topic,
            "bytes": len(message.payload),
            "width": width,
            "height": height,
            **self._payloads.classification(result),
        }

    def pause(self, *, paused: bool = True) -> Answer:
        """Let no more frames through; or again, for switches that know a single command."""
        if paused:
            self._pipeline.pause()
        else:
            self._pipeline.resume()
        self._changed()
        return {"paused": paused}

    def resume(self) -> Answer:
        """Let frames through again."""
        return self.pause(paused=False)

    def set_threshold(self, threshold: float | None, view: str | None = None) -> Answer:
        """Change the threshold with which a label enters, in one view."""
        value = None if threshold is None else float(threshold)
        now = self._change(view, "state.threshold", value)
        return {"threshold": now.state.threshold, **self._named(view)}

    def set_model(self, model: str | None, view: str | None = None) -> Answer:
        """Change the model of a view to another one that is installed."""
        view_id, _ = self._views.find(view)
        configured = self._configured()
        own = views_of(configured).get(view_id, configured)
        if model is not None and model == self._model(own):
            model = None
        if model is not None and model not in (names := self._models(own)):
            raise RequestError(f"no model {model!r} is installed: there are {', '.join(names)}")
        return {
            "model": self._model(self._change(view, "model.name", model)),
            **self._named(view),
        }

    def set_region(self, region: Sequence[float] | None, view: str | None = None) -> Answer:
        """Change the part of the frame that a view looks at."""
        value = None if region is None else tuple(map(float, region))
        now = self._change(view, "preprocess.region", value)
        return {"region": list(now.preprocess.region), **self._named(view)}

    def _named(self, view: str | None) -> Answer:
        """Say which view it was, where there are several to choose from."""
        view_id, _ = self._views.find(view)
        return {"view": view_id} if view_id else {}

    def reload(self) -> Answer:
        """Read the configuration again."""
        return asdict(self._reread())

    def kept(
        self,
        view: str | None = None,
        kind: str | None = None,
        label: str | None = None,
        labelled: bool | None = None,
        **more: Any,
    ) -> Answer:
        """List kept pictures: `more` may have `limit` and `before`."""
        wanted = Wanted(view=view, kind=kind, label=label, labelled=labelled)
        return self._shelf.rows(wanted=wanted, **more)

    def label(self, id: str, label: str | None) -> Answer:  # noqa: A002 - as the request has it
        """Note what a kept picture shows."""
        return self._shelf.label(id, label)

    def restart(self) -> Answer:
        """End, so that the service manager starts the daemon again."""
        self._restart()
        return {}

    def health(self) -> Answer:
        """Say how the device is."""
        return self._health()

    def _change(self, view: str | None, key: str, value: Any) -> "Config":
        """Change a key of a view, and return the configuration as it is for that then."""
        view_id, _ = self._views.find(view)
        with self._changing:
            configured = self._configured()
            self._overrides.set(configured, override_key(configured, view_id, key), value)
            try:
                self._reread()
            except RequestError:
                self._overrides.undo()
                raise
            self._overrides.save()
        # What is in force on request is in info.
        self._changed()
        own = views_of(self._reload.config).get(view_id)
        if own is None:
            raise RequestError("the view was removed meanwhile")
        return own

    def _reread(self) -> ReloadStatus:
        from concurrent.futures import CancelledError

        future = self._reload.request()
        within_s = COMMANDS["reload"].within_s
        try:
            outcome = future.result(within_s)
        except TimeoutError:
            raise RequestError(f"nothing came of it within {within_s:g} s") from None
        except CancelledError:
            raise RequestError("the daemon ends") from None
        if outcome.status == "refused":
            raise RequestError(outcome.problem or "refused")
        return outcome
